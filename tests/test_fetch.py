"""A store kept up to date: joined as one history, or taken again."""

import logging
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

from tests import yahoo_server
from tests.conftest import make_bars
from trm_bt.errors import FetchError
from trm_bt.feeds.fetch import fetch_all, update
from trm_bt.feeds.store import BarStore
from trm_bt.feeds.yahoo import Patience, download
from trm_bt.market.adjustment import adjust

QUICK = Patience(
    attempts=2, first_wait=0.01, max_wait=0.01, total_seconds=5, request_timeout=5
)
NOW = pd.Timestamp("2026-11-23 12:00", tz="UTC")


def sent(raw):
    """Return raw bars as Yahoo sends them that day: in shares of the last row."""
    vendor = raw.copy()
    for row in np.flatnonzero(raw["splits"] > 0):
        ratio = raw["splits"].iloc[row]
        vendor.iloc[:row, [0, 1, 2, 3]] /= ratio
        vendor.iloc[:row, 4] *= ratio
        vendor.iloc[:row, vendor.columns.get_loc("dividends")] /= ratio
    vendor["volume"] = vendor["volume"].round()
    return vendor.assign(**{"adj close": adjust(raw)["close"]})


def history():
    """300 sessions; a dividend and a 2-for-1 split lie in the last fifty."""
    raw = make_bars(300, seed=8).equity
    raw["volume"] = raw["volume"].round()
    raw.iloc[270:, :4] /= 2
    raw = raw.assign(dividends=0.0, splits=0.0)
    for row in (50, 110, 170, 230, 255, 280):
        raw.iloc[row, raw.columns.get_loc("dividends")] = 1.0
    raw.iloc[270, raw.columns.get_loc("splits")] = 2.0
    return raw.assign(capital_gains=0.0)


@pytest.fixture(scope="module", autouse=True)
def own_caches(tmp_path_factory):
    import yfinance

    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))
    logger = logging.getLogger("yfinance")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.fixture
def vendor():
    return yahoo_server.Vendor({"SPY": sent(history().iloc[:250])})


@pytest.fixture
def ask(vendor):
    """The real download, from the local server."""
    with yahoo_server.serving(vendor) as port:
        session = yahoo_server.LocalSession(port)
        yield partial(download, session=session, patience=QUICK)
        session.close()


@pytest.fixture
def store(tmp_path):
    return BarStore(tmp_path / "store")


def test_two_fetches_with_a_dividend_and_a_split_between_are_one_history(
    store, vendor, ask
):
    assert update(store, "SPY", download=ask, now=NOW).action == "new"
    appended = adjust(store.read("SPY"))["close"]
    vendor.frames["SPY"] = sent(history())
    outcome = update(store, "SPY", download=ask, now=NOW)
    assert (outcome.action, outcome.n_new) == ("extended", 50)
    joined = adjust(store.read("SPY"))["close"]
    truth = adjust(history())["close"]
    np.testing.assert_allclose(joined, truth, rtol=1e-6)

    # what appending adjusted to older adjusted closes would have given
    naive = pd.concat([appended, truth.iloc[250:]])
    seam = naive.iloc[250] / naive.iloc[249] / (truth.iloc[250] / truth.iloc[249]) - 1
    assert abs(seam) > 0.01


def test_nothing_new_leaves_the_file(store, ask):
    update(store, "SPY", download=ask, now=NOW)
    before = store.entry("SPY")
    assert update(store, "SPY", download=ask, now=NOW).action == "unchanged"
    assert store.entry("SPY") == before


def test_a_changed_history_is_taken_again(store, vendor, ask):
    update(store, "SPY", download=ask, now=NOW)
    frame = sent(history().iloc[:260])
    frame[["high", "close"]] *= 1.0001
    vendor.frames["SPY"] = frame
    outcome = update(store, "SPY", download=ask, now=NOW)
    assert (outcome.action, outcome.n_new) == ("rebuilt", 10)
    first = history().index[235].date()
    assert f"history has changed: 'high' on {first} was " in outcome.messages[0]
    expected = history()["close"][:260] * 1.0001
    np.testing.assert_allclose(store.read("SPY")["close"], expected, rtol=1e-9)


def test_a_history_that_lost_a_session_does_not_replace_a_longer_one(
    store, vendor, ask
):
    update(store, "SPY", download=ask, now=NOW)
    frame = sent(history().iloc[:260])
    vendor.frames["SPY"] = frame.drop(index=frame.index[240])
    outcome = update(store, "SPY", download=ask, now=NOW)
    assert outcome.action == "kept"
    assert "is only in what was kept) and is shorter: 249 " in outcome.messages[0]
    assert len(store.read("SPY")) == 250


def test_a_refusal_leaves_the_copy_and_says_its_age(store, vendor, ask):
    update(store, "SPY", download=ask, now=NOW)
    vendor.last_fault = yahoo_server.status(429)
    last = history().index[249]
    now = pd.Timestamp(last.date(), tz="America/New_York") + pd.Timedelta(days=7)
    outcome = update(store, "SPY", download=ask, now=now)
    assert outcome.action == "kept"
    assert "HTTP 429" in outcome.messages[0]
    assert f"ends on {last.date()}, 5 sessions ago" in outcome.messages[1]


def test_without_a_copy_a_refusal_is_an_error(store, vendor, ask):
    vendor.last_fault = yahoo_server.status(429)
    with pytest.raises(FetchError, match="HTTP 429"):
        update(store, "SPY", download=ask, now=NOW)
    assert store.symbols() == ()


def test_one_symbol_does_not_keep_the_others_back(store, ask):
    seen = []
    outcomes = fetch_all(
        store,
        ["NOSUCH", "SPY"],
        download=ask,
        now=NOW,
        progress=lambda *state: seen.append(state),
    )
    assert [outcome.action for outcome in outcomes] == ["missing", "new"]
    assert "knows no such symbol" in outcomes[0].messages[0]
    assert seen == [("NOSUCH", 0, 2), ("SPY", 1, 2), ("SPY", 2, 2)]


def test_the_command_without_a_network_fails_in_one_sentence(tmp_path):
    """Port 9 of this machine takes nobody: the real command, its real exit code."""
    script = (
        "import sys, functools\n"
        "from tests.yahoo_server import LocalSession\n"
        "from tests.test_fetch import QUICK\n"
        "import yfinance; yfinance.set_tz_cache_location(sys.argv[-1])\n"
        "from trm_bt.feeds import yahoo\n"
        "yahoo.download = functools.partial(\n"
        "    yahoo.download, session=LocalSession(9), patience=QUICK)\n"
        "from trm_bt import cli\n"
        "sys.argv = ['trm-bt', 'fetch', '--store', sys.argv[-1] + '/store']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "SPY, TLT, ^VIX, VUSTX" in done.stderr.splitlines()[-1]
    assert "could not be fetched" in done.stderr.splitlines()[-1]
