"""What stands before TLT: a fund's returns, a bond from yields, or nothing."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.test_load_bars import write
from trm_bt.errors import BarsError
from trm_bt.feeds import load_bars
from trm_bt.market.par_bond import par_bond_closes


def test_a_bond_loses_what_its_payments_lose():
    """A 5 % bond at a yield of 6 %: discount its 48 payments one by one."""
    sessions = pd.DatetimeIndex(["2000-01-03", "2000-01-04"])
    closes = par_bond_closes(pd.Series([0.05, 0.06], sessions))
    payments = [0.025] * 47 + [1.025]
    price = sum(paid / 1.03**i for i, paid in enumerate(payments, start=1))
    assert closes.iloc[1] == pytest.approx(100 * (price + 0.05 / 365.25), rel=5e-5)


def test_a_session_without_a_yield_earns_the_coupon_only():
    sessions = pd.DatetimeIndex(["2000-01-03", "2000-01-04", "2000-01-05"])
    closes = par_bond_closes(pd.Series([0.05, np.nan, 0.05], sessions))
    assert closes.iloc[1] == pytest.approx(100 * (1 + 0.05 / 365.25), rel=1e-12)
    assert closes.iloc[2] == pytest.approx(100 * (1 + 0.05 / 365.25) ** 2, rel=1e-7)


def test_the_change_of_yields_makes_no_return():
    """The 20-year yield stands a point above: the switch must not be a price move."""
    sessions = pd.bdate_range("1993-09-29", periods=5)
    thirty = pd.Series(0.06, sessions)
    twenty = pd.Series([np.nan, np.nan, 0.07, 0.07, 0.07], sessions)
    returns = par_bond_closes(thirty, twenty).pct_change().iloc[1:]
    assert (returns.abs() < 0.001).all()


@pytest.fixture
def folder(tmp_path, bars):
    write(tmp_path, "SPY", bars.equity)
    write(tmp_path, "TLT", bars.bond.iloc[100:])
    write(tmp_path, "VIX", bars.volatility)
    return tmp_path


def test_nothing_older_begins_with_tlt(folder, bars):
    write(folder, "VUSTX", make_bars(400, seed=9).bond)
    loaded = load_bars(folder, long_bond="none")
    assert loaded.sessions[0] == bars.sessions[100]
    assert not any("VUSTX" in note for note in loaded.provenance["bond"].notes)


def test_yields_are_spliced_by_returns_and_said(folder, bars):
    rng = np.random.default_rng(4)
    yields = 5 + np.cumsum(rng.normal(0, 0.05, 400))
    rates = pd.DataFrame({"dgs3mo": 3.0, "dgs30": yields}, index=bars.sessions)
    rates.loc[bars.sessions[50], "dgs30"] = np.nan
    write(folder, "rates", rates)
    loaded = load_bars(folder, long_bond="yields")
    made = par_bond_closes(rates["dgs30"].iloc[:101] / 100)
    found = loaded.bond["close"].pct_change().to_numpy()
    np.testing.assert_allclose(found[1:101], made.pct_change()[1:], rtol=1e-9)
    np.testing.assert_allclose(
        found[101:], bars.bond["close"].pct_change()[101:], rtol=1e-9
    )
    note = loaded.provenance["bond"].notes[0]
    assert f"before {bars.sessions[100].date()} a par bond of 24 years" in note
    assert "(1 sessions without a yield earn the coupon only)" in note
    assert (loaded.equity["open"] == loaded.equity["close"]).iloc[:100].all()


def test_yields_that_are_asked_for_must_be_there(folder, bars):
    with pytest.raises(BarsError, match="must hold yields dgs30 or dgs20"):
        load_bars(folder, long_bond="yields")


def test_the_bond_from_yields_moves_as_the_older_fund(market_dir):
    """Before TLT two sources of one market agree: the real fund checks the formula."""
    fund = load_bars(market_dir, end="2002-07-29").bond["close"].pct_change()
    made = load_bars(market_dir, end="2002-07-29", long_bond="yields").bond["close"]
    assert fund.corr(made.pct_change()) > 0.9
