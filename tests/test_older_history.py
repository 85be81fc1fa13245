"""SPY, the long bond and VIX lengthened to 1962, as Yahoo sends what stands before."""

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest

from tests import yahoo_server
from tests.command_line import invoke, write_settings
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.feeds import load_bars
from trm_bt.feeds.fetch import fetch_all
from trm_bt.feeds.validate import validate_source
from trm_bt.feeds.vendor import RetryPolicy
from trm_bt.feeds.yahoo import Yahoo
from trm_bt.market.index_history import INDEX_DIVIDENDS
from trm_bt.market.par_bond import par_bond_closes
from trm_bt.quality.findings import Subject
from trm_bt.quality.rules import examine

pytestmark = pytest.mark.usefixtures("own_yfinance")
QUICK = RetryPolicy(
    attempts=2, first_wait=0.01, max_wait=0.01, total_seconds=5, request_timeout=20
)
SPY_BEGINS, TLT_BEGINS, FUND_BEGINS = "1993-01-29", "2002-07-30", "1986-05-19"
SYMBOLS = ("SPY", "TLT", "VUSTX", "^VIX", "^GSPC", "^TNX", "^IRX")


def quiet_yields(sessions):
    """A 10-year yield in percent, of two decimals, that moves little before 1966."""
    rng = np.random.default_rng(5)
    step = np.where(sessions.year < 1966, 0.006, 0.05)
    walk = 4.06 + np.cumsum(rng.normal(0, step))
    return pd.Series(np.clip(walk, 2.0, 15.0).round(2), sessions)


def closes_only(close):
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close))
    return frame.assign(volume=0.0)


@pytest.fixture(scope="module")
def sent():
    """What Yahoo would send: the index and yields from 1962, funds from their first."""
    bars = load_bars("sample", start="1962-01-02", end="2003-12-31")
    growth = bars.equity["close"] / bars.equity["index_close"]
    index = bars.equity[["open", "high", "low", "close"]].div(growth, axis=0)
    index["open"] = index["close"].shift().fillna(index["close"])
    index["open"] = index["open"].clip(index["low"], index["high"])
    index["volume"] = bars.equity["volume"]
    spy = bars.equity[["open", "high", "low", "close"]] / 10
    spy["open"] = spy["close"].shift().clip(spy["low"], spy["high"])
    spy = spy.assign(volume=bars.equity["volume"]).loc[SPY_BEGINS:]
    bond = closes_only(bars.bond["close"])
    traded = bond.assign(volume=1e6 + 1e5 * np.arange(len(bond)) % 7e5)
    assert bars.cash_rate is not None
    return {
        "SPY": spy,
        "TLT": traded.loc[TLT_BEGINS:],
        "VUSTX": bond.loc[FUND_BEGINS:] / 10,
        "^VIX": closes_only(bars.volatility["close"]).loc["1990-01-02":],
        "^GSPC": index,
        "^TNX": closes_only(quiet_yields(bars.sessions)),
        "^IRX": closes_only(bars.cash_rate * 100),
    }


def fetched(frames, folder):
    """Fetch all through the real yfinance from a local server."""
    with yahoo_server.serving(yahoo_server.Vendor(frames)) as port:
        session = yahoo_server.LocalSession(port)
        yahoo = Yahoo(folder, QUICK, session)
        now = pd.Timestamp("2003-12-31 22:00", tz="UTC")
        outcomes = fetch_all(yahoo, list(frames), now=now)
        session.close()
    assert {outcome.action for outcome in outcomes} == {"new"}
    return folder


@pytest.fixture(scope="module")
def store(sent, tmp_path_factory):
    return fetched(sent, tmp_path_factory.mktemp("yahoo") / "store")


def load(store, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_bars(store, **how)


@pytest.fixture(scope="module")
def long(store):
    return load(store, history="index")


@pytest.fixture(scope="module")
def plain(store):
    return load(store)


def test_by_default_nothing_stands_before(plain):
    assert plain.sessions[0] == pd.Timestamp(SPY_BEGINS)
    assert "S&P 500" not in plain.source
    assert plain.status("volatility") == "observed"
    assert "history" not in json.loads(TRMConfig().to_json())["bars"]


def test_every_role_reaches_back_to_1962(long, sent):
    """The first 63 sessions of the index warm its volatility up."""
    assert long.sessions[0] == sent["^GSPC"].index[63]
    assert long.sessions[0].year == 1962
    assert long.sessions[-1] == sent["^GSPC"].index[-1]
    assert long.cash_rate["1974-08-23"] == pytest.approx(
        sent["^IRX"].at[pd.Timestamp("1974-08-23"), "close"] / 100
    )


def test_own_bars_stay_as_they_were(long, plain):
    for role in ("equity", "bond", "volatility"):
        own = getattr(plain, role)
        kept = getattr(long, role).loc[SPY_BEGINS:]
        pd.testing.assert_frame_equal(kept, own, rtol=1e-12, check_freq=False)


def test_equity_earns_the_index_and_its_dividends(long, sent):
    index = sent["^GSPC"]["close"]
    returns = long.equity["close"].pct_change()
    for year in (1963, 1974, 1992):
        sessions = index.loc[str(year)].index
        for session in sessions[[1, 100, -1]]:
            before = index[index.index < session].iloc[-1]
            paid = INDEX_DIVIDENDS[year] / len(sessions)
            expected = (index[session] + paid) / before - 1
            assert returns[session] == pytest.approx(expected, abs=1e-9)
    first = pd.Timestamp(SPY_BEGINS)
    n_sessions = len(index.loc["1993"])
    before = index[index.index < first].iloc[-1]
    expected = (index[first] + INDEX_DIVIDENDS[1993] / n_sessions) / before - 1
    assert returns[first] == pytest.approx(expected, abs=1e-9)


def test_high_and_low_keep_the_reach_of_the_index(long, sent):
    there, here = sent["^GSPC"].loc["1970-05-27"], long.equity.loc["1970-05-27"]
    for name in ("high", "low"):
        ratio = there[name] / there["close"]
        assert here[name] / here["close"] == pytest.approx(ratio, rel=1e-6)
    assert here["volume"] == there["volume"]


def test_bond_follows_the_ten_year_yield_until_the_fund_begins(long, plain, sent):
    yields = sent["^TNX"]["close"] / 100
    returns = long.bond["close"].pct_change()
    for session in ("1964-06-10", "1979-10-09", "1986-05-19"):
        session = pd.Timestamp(session)
        before = yields.index[yields.index < session][-1]
        aged, level = (session - before).days / 365.25, yields[session]
        times = [k / 2 - aged for k in range(1, 37)]
        price = sum(yields[before] / 2 / (1 + level / 2) ** (2 * t) for t in times)
        price += 1 / (1 + level / 2) ** (2 * times[-1])
        assert returns[session] == pytest.approx(price - 1, abs=5e-5)
    own = sent["VUSTX"]["close"].pct_change()
    sessions = own.loc["1987":"1992"].index  # beyond the accrual of its incomes
    assert returns[sessions].corr(own[sessions]) > 0.99


def test_volatility_is_the_estimate_of_the_sample(long):
    """One formula, warmed up from another day: the sample's begins in 1950."""
    sample = load_bars("sample", start="1970-01-02", end="1989-12-29")
    found = long.volatility["close"].loc["1970-01-02":"1989-12-29"]
    np.testing.assert_allclose(found, sample.volatility["close"], atol=0.2)
    late = slice("1976-01-02", "1989-12-29")
    np.testing.assert_allclose(
        found.loc[late], sample.volatility["close"].loc[late], atol=0.0201
    )


def test_both_legs_fill_at_closes_where_one_has_no_more(long):
    for frame in (long.equity, long.bond):
        older = frame.loc[: pd.Timestamp(TLT_BEGINS) - pd.Timedelta(days=1)]
        assert (older["open"] == older["close"]).all()
    assert (long.equity["open"] != long.equity["close"]).loc[TLT_BEGINS:].mean() > 0.9


def test_what_stands_before_is_said(long):
    assert (
        "; from the S&P 500 and Treasury yields SPY before 1993-01-29, VIX before "
        "1990-01-02, TLT before 1986-05-19" in long.source
    )
    said = {role: " ".join(entry.notes) for role, entry in long.provenance.items()}
    assert "before 1993-01-29 the returns of ^GSPC from Yahoo Finance" in said["equity"]
    assert "before 1986-05-19 a par bond of 18 years" in said["bond"]
    assert "before 2002-07-30 the returns of VUSTX" in said["bond"]
    assert "before 1990-01-02 an estimate from ranges and drift" in said["volatility"]
    assert long.status("volatility") == "proxy"


def test_what_is_cut_off_is_not_said(store):
    later = load(store, history="index", start="1994-01-03")
    assert later.sha256() == load(store, start="1994-01-03").sha256()
    assert "S&P 500" not in later.source
    assert later.status("volatility") == "observed"


def test_the_quiet_sixties_are_no_bad_ticks(store):
    reports = {
        report.symbol: report
        for report in validate_source(store, start="1962-01-02", end="1969-12-31")
    }
    for symbol in ("GSPC", "rates"):
        assert reports[symbol].verdict == "sound", reports[symbol].findings
        assert reports[symbol].rows > 1900
    assert reports["GSPC"].role == "index"


def test_a_bond_that_stands_still_has_no_bad_ticks_and_a_leap_is_one(sent):
    """Ready-made bars of the sixties, as a folder would hold them."""
    yields = sent["^TNX"]["close"].loc[:"1965-12-31"] / 100
    bars = closes_only(par_bond_closes(yields).round(4)).assign(volume=1e6)
    assert found_in(bars) == set()
    bars.iloc[500, [0, 1, 2, 3]] *= 1.02
    assert "bad ticks" in found_in(bars)


def found_in(bars):
    found = examine(Subject(bars, "bond", bars.index, "TLT", "TLT"))
    return {finding.rule for finding in found} & {"bad ticks", "displaced bars"}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("^GSPC", r"\^GSPC: is needed and missing"),
        ("^TNX", r"must hold the 10-year yield, dgs10.*\^TNX in a store"),
    ],
)
def test_what_is_asked_for_must_be_there(store, sent, tmp_path, missing, message):
    for path in store.glob("*.parquet"):
        if path.name != f"{missing}.yahoo.parquet":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BarsError, match=message):
        load(tmp_path, history="index")


def test_another_market_does_not_stand_before_spy(sent, tmp_path):
    folder = tmp_path / "bars"
    folder.mkdir()
    for symbol, frame in sent.items():
        if symbol in ("SPY", "TLT", "^VIX"):
            frame.to_csv(folder / f"{symbol.removeprefix('^')}.csv")
    sent["TLT"].iloc[:, :4].assign(volume=0.0).to_csv(folder / "GSPC.csv")
    sent["^TNX"][["close"]].set_axis(["dgs10"], axis=1).to_csv(folder / "rates.csv")
    with pytest.raises(BarsError, match="must move as SPY does to stand before it"):
        load(folder, history="index")


def test_the_ten_year_yield_pays_no_cash(sent, tmp_path):
    folder = tmp_path / "bars"
    folder.mkdir()
    for symbol in ("SPY", "TLT", "^VIX", "^GSPC"):
        sent[symbol].to_csv(folder / f"{symbol.removeprefix('^')}.csv")
    sent["^TNX"][["close"]].set_axis(["dgs10"], axis=1).to_csv(folder / "rates.csv")
    bars = load(folder, history="index")
    assert bars.cash_rate is None
    assert bars.sessions[0].year == 1962
    assert math.isclose(bars.bond["close"].iloc[0], bars.bond["open"].iloc[0])


def test_the_sample_takes_the_setting_too():
    asked = load_bars("sample", history="index", end="1970-12-31")
    assert asked.sessions[0] == pd.Timestamp("1962-01-02")
    with pytest.raises(BarsError, match="`history` must be one of none, index, got"):
        load_bars("sample", history="gold")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::trm_bt.errors.BarsWarning")
def test_every_page_says_what_stands_before(store, tmp_path):
    quick = {
        "bars": {"history": "index"},
        "model": {"hidden_dim": 16},
        "training": {"epochs": 1, "max_batches_per_epoch": 2, "min_labels": 300},
    }
    out = tmp_path / "run"
    code, _, err = invoke(
        *("run", "--bars", store, "--start", "1986-01-02", "--end", "1987-12-31"),
        *("--config", write_settings(tmp_path / "quick.json", quick)),
        *("--crises", "historic", "--out", out, "--jobs", 1),
    )
    assert code == 0, err
    pages = sorted(out.rglob("*.html"))
    assert [page.name for page in pages] == [
        *("index.html", "black_monday_1987.html", "out_of_sample.html")
    ]
    for page in pages:
        words = "from the S&amp;P 500 and Treasury yields SPY before 1993-01-29"
        assert words in page.read_text(), page
