"""A store kept up to date: joined as one history, or taken again."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from tests import yahoo_server
from tests.command_line import without_stages
from tests.conftest import make_bars
from trm_bt.feeds.fetch import fetch_all
from trm_bt.feeds.store import BarStore
from trm_bt.feeds.vendor import RetryPolicy
from trm_bt.feeds.yahoo import Yahoo
from trm_bt.market.adjustment import adjust

pytestmark = pytest.mark.usefixtures("own_yfinance")
QUICK = RetryPolicy(
    attempts=2, first_wait=0.01, max_wait=0.01, total_seconds=5, request_timeout=5
)
NOW = pd.Timestamp("2026-11-23 12:00", tz="UTC")

VIX_IS_DOUBTFUL = "trm-bt: ^VIX: as volatility"
"""The vendor of the tests sends a fund for the index too."""


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


@pytest.fixture
def vendor():
    return yahoo_server.Vendor({"SPY": sent(history().iloc[:250])})


@pytest.fixture
def yahoo(vendor, tmp_path):
    """The real source, asking the local server."""
    with yahoo_server.serving(vendor) as port:
        session = yahoo_server.LocalSession(port)
        yield Yahoo(tmp_path / "store", QUICK, session)
        session.close()


@pytest.fixture
def store(yahoo):
    return yahoo.store


def update(yahoo, symbol, *, now):
    (outcome,) = fetch_all(yahoo, [symbol], now=now)
    return outcome


def test_two_fetches_with_a_dividend_and_a_split_between_are_one_history(
    store, vendor, yahoo
):
    assert update(yahoo, "SPY", now=NOW).action == "new"
    appended = adjust(store.read("SPY"))["close"]
    vendor.frames["SPY"] = sent(history())
    outcome = update(yahoo, "SPY", now=NOW)
    assert (outcome.action, outcome.n_new) == ("extended", 50)
    joined = adjust(store.read("SPY"))["close"]
    truth = adjust(history())["close"]
    np.testing.assert_allclose(joined, truth, rtol=1e-6)

    # what appending adjusted to older adjusted closes would have given
    naive = pd.concat([appended, truth.iloc[250:]])
    seam = naive.iloc[250] / naive.iloc[249] / (truth.iloc[250] / truth.iloc[249]) - 1
    assert abs(seam) > 0.01


def test_nothing_new_leaves_the_file(store, yahoo):
    update(yahoo, "SPY", now=NOW)
    before = store.entry("SPY")
    assert update(yahoo, "SPY", now=NOW).action == "unchanged"
    assert store.entry("SPY") == before


def test_a_changed_history_is_taken_again(store, vendor, yahoo):
    update(yahoo, "SPY", now=NOW)
    frame = sent(history().iloc[:260])
    frame[["high", "close"]] *= 1.0001
    vendor.frames["SPY"] = frame
    outcome = update(yahoo, "SPY", now=NOW)
    assert (outcome.action, outcome.n_new) == ("rebuilt", 10)
    first = history().index[235].date()
    assert f"history has changed: 'high' on {first} was " in outcome.messages[0]
    expected = history()["close"][:260] * 1.0001
    np.testing.assert_allclose(store.read("SPY")["close"], expected, rtol=1e-9)


def test_a_change_of_long_ago_is_found_within_a_month(store, vendor, yahoo):
    update(yahoo, "SPY", now=NOW)
    changed = history()
    changed.iloc[110, changed.columns.get_loc("dividends")] = 2.0
    vendor.frames["SPY"] = sent(changed.iloc[:260])
    later = NOW + pd.Timedelta(days=29)
    assert update(yahoo, "SPY", now=later).action == "extended"
    outcome = update(yahoo, "SPY", now=NOW + pd.Timedelta(days=31))
    assert outcome.action == "rebuilt"
    assert f"'dividends' on {changed.index[110].date()} was 1" in outcome.messages[0]
    truth = adjust(changed.iloc[:260])["close"]
    np.testing.assert_allclose(adjust(store.read("SPY"))["close"], truth, rtol=1e-6)


def test_a_whole_history_that_is_the_same_is_not_asked_for_again(store, vendor, yahoo):
    update(yahoo, "SPY", now=NOW)
    late = NOW + pd.Timedelta(days=31)
    assert update(yahoo, "SPY", now=late).action == "unchanged"
    assert store.entry("SPY").compared_at == late.isoformat()


def test_a_session_that_the_vendor_lost_stays_in_the_copy(store, vendor, yahoo):
    update(yahoo, "SPY", now=NOW)
    frame = sent(history().iloc[:260])
    vendor.frames["SPY"] = frame.drop(index=frame.index[240])
    outcome = update(yahoo, "SPY", now=NOW)
    assert (outcome.action, outcome.n_new) == ("extended", 10)
    gone = frame.index[240].date()
    assert f"no longer has 1 sessions, first {gone}; the copy's" in outcome.messages[0]
    assert len(store.read("SPY")) == 260


def test_a_history_that_lost_many_sessions_does_not_replace_the_copy(
    store, vendor, yahoo
):
    update(yahoo, "SPY", now=NOW)
    frame = sent(history().iloc[:260])
    vendor.frames["SPY"] = frame.iloc[100:]
    outcome = update(yahoo, "SPY", now=NOW + pd.Timedelta(days=31))
    assert outcome.action == "kept"
    assert (
        "lacks 100 sessions that the copy has, first 2001-01-02" in outcome.messages[0]
    )
    assert len(store.read("SPY")) == 250


def test_a_damaged_copy_is_taken_again(store, vendor, yahoo):
    vendor.frames["TLT"] = vendor.frames["SPY"]
    for symbol in ("SPY", "TLT"):
        update(yahoo, symbol, now=NOW)
    path = store.path("SPY")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    (outcome, other) = fetch_all(yahoo, ["SPY", "TLT"], now=NOW)
    assert (outcome.action, other.action) == ("rebuilt", "unchanged")
    assert "the copy was damaged" in outcome.messages[0]
    assert path.read_bytes() == whole


def test_a_refusal_leaves_the_copy_and_says_its_age(store, vendor, yahoo):
    update(yahoo, "SPY", now=NOW)
    vendor.last_fault = yahoo_server.status(429)
    last = history().index[249]
    now = pd.Timestamp(last.date(), tz="America/New_York") + pd.Timedelta(days=7)
    outcome = update(yahoo, "SPY", now=now)
    assert outcome.action == "kept"
    assert "HTTP 429" in outcome.messages[0]
    assert f"ends on {last.date()}, 5 sessions ago" in outcome.messages[1]


def test_without_a_copy_a_refusal_is_an_error(store, vendor, yahoo):
    vendor.last_fault = yahoo_server.status(429)
    outcome = update(yahoo, "SPY", now=NOW)
    assert outcome.action == "missing"
    assert "HTTP 429" in outcome.messages[0]
    assert store.symbols() == ()


def test_one_symbol_does_not_keep_the_others_back(store, yahoo):
    seen = []
    outcomes = fetch_all(
        yahoo, ["NOSUCH", "SPY"], now=NOW, progress=lambda *state: seen.append(state)
    )
    assert [outcome.action for outcome in outcomes] == ["missing", "new"]
    assert "knows no such symbol" in outcomes[0].messages[0]
    assert seen == [("NOSUCH", 0, 2), ("SPY", 1, 2), ("SPY", 2, 2)]


def test_after_the_time_limit_copies_serve(store, vendor, yahoo):
    update(yahoo, "SPY", now=NOW)
    n_requests = vendor.requests.total()
    outcomes = fetch_all(yahoo, ["SPY", "TLT"], now=NOW, time_limit=0.0)
    assert [outcome.action for outcome in outcomes] == ["kept", "missing"]
    assert outcomes[0].messages[0] == "SPY: not requested, 0 s are over."
    assert vendor.requests.total() == n_requests


COMMAND = """
import functools, sys
import yfinance
from tests.test_fetch import QUICK
from tests.yahoo_server import LocalSession
from trm_bt import cli
from trm_bt.feeds.yahoo import Yahoo

folder, port, *arguments = sys.argv[1:]
yfinance.set_tz_cache_location(folder)
session = LocalSession(int(port))
Yahoo.__init__ = functools.partialmethod(Yahoo.__init__, retry=QUICK, session=session)
sys.argv = ["trm-bt", "fetch", "--store", folder + "/store", *arguments]
cli.main()
"""


def start_command(folder, port, *arguments):
    """Start the real command on a port of this machine, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(folder), str(port), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_the_command_without_a_network_fails_in_one_sentence(tmp_path):
    """Port 9 of this machine takes nobody."""
    command = start_command(tmp_path, 9)
    _, error = command.communicate()
    assert command.returncode == 1
    assert "Traceback" not in error
    assert "SPY, TLT, ^VIX, VUSTX" in error.splitlines()[-1]
    assert "could not be fetched" in error.splitlines()[-1]


@pytest.fixture
def market():
    """A vendor of all default symbols."""
    frame = sent(history())
    return yahoo_server.Vendor(dict.fromkeys(Yahoo.default_symbols, frame))


@pytest.mark.slow
def test_the_command_fetches_every_symbol_and_says_what_it_did(tmp_path, market):
    with yahoo_server.serving(market) as port:
        command = start_command(tmp_path, port, "--json")
        out, error = command.communicate()
        assert command.returncode == 0
        assert [line[:27] for line in without_stages(error)] == [VIX_IS_DOUBTFUL]
        outcomes = json.loads(out)
        again, _ = start_command(tmp_path, port).communicate()
    assert [outcome["symbol"] for outcome in outcomes] == list(Yahoo.default_symbols)
    assert {(o["action"], o["n_new"]) for o in outcomes} == {("new", 300)}
    assert again.count("unchanged") == len(Yahoo.default_symbols)


@pytest.mark.evidence
def test_an_interrupt_leaves_a_sound_store(tmp_path, market):
    store = BarStore(tmp_path / "store", "yahoo")
    with yahoo_server.serving(market) as port:
        command = start_command(tmp_path, port)
        while market.requests.total() < 5:
            assert command.poll() is None, command.communicate()
            time.sleep(0.002)
        command.send_signal(signal.SIGINT)
        _, error = command.communicate()
        said = "trm-bt: Interrupted. Run the same command again: fetched bars are kept."
        assert (command.returncode, error) == (130, f"{said}\n")
        assert 3 <= len(store.symbols()) < len(Yahoo.default_symbols)
        for symbol in store.symbols():
            assert len(store.read(symbol)) == 300
        again = start_command(tmp_path, port)
        assert {line[:27] for line in without_stages(again.communicate()[1])} <= {
            VIX_IS_DOUBTFUL
        }
    assert set(store.symbols()) == set(Yahoo.default_symbols)


@pytest.mark.slow
def test_two_commands_fill_one_store_at_once(tmp_path, market):
    with yahoo_server.serving(market) as port:
        commands = [start_command(tmp_path, port) for _ in range(2)]
        for command in commands:
            lines = without_stages(command.communicate()[1])
            assert {line[:27] for line in lines} <= {VIX_IS_DOUBTFUL}
            assert command.returncode == 0
    store = BarStore(tmp_path / "store", "yahoo")
    assert set(store.symbols()) == set(Yahoo.default_symbols)
    for symbol in Yahoo.default_symbols:
        assert len(store.read(symbol)) == 300


def test_a_doubtful_bar_does_not_replace_a_sound_copy(store, vendor, yahoo):
    update(yahoo, "SPY", now=NOW)
    before = store.entry("SPY")
    frame = sent(history().iloc[:260])
    frame.iloc[-1, :4] *= 0.37
    frame["adj close"] = frame["close"]
    vendor.frames["SPY"] = frame
    outcome = update(yahoo, "SPY", now=NOW)
    assert outcome.action == "kept"
    assert "prices move in a session by" in outcome.messages[0]
    assert "The data sent are doubtful." in outcome.messages[0]
    assert store.entry("SPY") == before


def test_a_doubtful_first_fetch_is_said_and_asked_for_again(store, vendor, yahoo):
    """There is no copy to keep; a run refuses the bars until the vendor mends them."""
    frame = sent(history().iloc[:260])
    frame.iloc[100, :4] *= 0.37
    frame["adj close"] = frame["close"]
    vendor.frames["SPY"] = frame
    first = update(yahoo, "SPY", now=NOW)
    assert first.action == "new"
    assert any("The data sent are doubtful." in said for said in first.messages)
    vendor.frames["SPY"] = sent(history().iloc[:260])
    assert update(yahoo, "SPY", now=NOW).action == "rebuilt"
    closes = history()["close"].iloc[:260]
    np.testing.assert_allclose(store.read("SPY")["close"], closes, rtol=1e-6)


def test_a_split_whose_prices_are_not_divided_yet_leaves_the_copy(store, vendor, yahoo):
    vendor.frames["SPY"] = sent(history().iloc[:260])
    update(yahoo, "SPY", now=NOW)
    before = store.entry("SPY")
    frame = sent(history().iloc[:265])
    frame.iloc[-1, frame.columns.get_loc("splits")] = 2.0  # announced alone
    vendor.frames["SPY"] = frame
    outcome = update(yahoo, "SPY", now=NOW)
    assert outcome.action == "kept"
    assert "traded prices of the past must stay" in outcome.messages[0]
    assert "are 2 times what they were" in outcome.messages[0]
    assert store.entry("SPY") == before
