"""Income of a month put on the sessions that earn it."""

import numpy as np
import pandas as pd
import pytest

from trm_bt.feeds import load_bars
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.market.accrual import accrue, monthly_income


def fund(income, n_years=4, seed=0, vol=0.005):
    """Return a fund that earns evenly, its closes as they are paid, and payments."""
    start = pd.Timestamp("1993-01-04")
    sessions = nyse_sessions(start, start + pd.Timedelta(days=round(365.25 * n_years)))
    rng = np.random.default_rng(seed)
    value, paid_value = np.ones(len(sessions)), np.ones(len(sessions))
    n_first = int((sessions.to_period("M") == sessions[0].to_period("M")).sum())
    owed = np.log1p(income) / n_first
    payments = {}
    for k in range(1, len(sessions)):
        move = rng.normal(0, vol)
        month = sessions[k].to_period("M")
        n_days = int((sessions.to_period("M") == month).sum())
        day = (1 + income) ** (1 / n_days)
        value[k] = value[k - 1] * np.exp(move) * day
        owed += np.log(day)
        paid_value[k] = paid_value[k - 1] * np.exp(move)
        if k + 1 < len(sessions) and sessions[k + 1].to_period("M") != month:
            paid_value[k] *= np.exp(owed)
            payments[sessions[k]] = np.expm1(owed)
            owed = 0.0
    as_series = pd.Series(value, sessions), pd.Series(paid_value, sessions)
    return *as_series, pd.Series(payments)


def test_known_income_is_accrued_to_the_last_digit():
    value, closes, payments = fund(0.006, n_years=1)
    value = value[: payments.index[-1]]
    accrued = accrue(closes, payments)[: payments.index[-1]]
    np.testing.assert_allclose(
        accrued / accrued.iloc[0], value / value.iloc[0], rtol=1e-12
    )


def month_end_effect(closes):
    """How many standard errors last sessions of months earn above the others."""
    moves = closes.pct_change().iloc[1:]
    months = moves.index.to_period("M")
    last, others = [], []
    for k in range(len(moves) - 1):
        (last if months[k + 1] != months[k] else others).append(moves.iloc[k])
    error = np.hypot(
        np.std(last) / np.sqrt(len(last)), np.std(others) / np.sqrt(len(others))
    )
    return (np.mean(last) - np.mean(others)) / error


def test_income_is_found_in_the_closes():
    _, closes, _ = fund(0.006)
    assert month_end_effect(closes) > 5
    income = monthly_income(closes)
    assert income.mean() == pytest.approx(0.006, abs=0.002)
    assert abs(month_end_effect(accrue(closes, income))) < 1


def test_closes_without_such_income_stay():
    value, _, _ = fund(0.0)
    assert monthly_income(value).empty


@pytest.mark.slow
def test_the_real_fund_has_no_month_end_effect_left(market_dir):
    bars = load_bars(market_dir, end="2003-01-31")
    older = bars.bond["close"].loc[:"2002-07-30"]
    assert abs(month_end_effect(older)) < 1
    assert abs(month_end_effect(older["1993":"1997"])) < 2
    assert abs(month_end_effect(older["1998":])) < 2
    raw = pd.read_csv(market_dir / "VUSTX.csv", index_col="date", parse_dates=True)
    unspread = raw["close"].loc[older.index[0] : "2002-07-30"]
    assert month_end_effect(unspread) > 8
    growth = older.iloc[-1] / older.iloc[0]
    assert growth == pytest.approx(unspread.iloc[-1] / unspread.iloc[0], rel=0.01)
    note = bars.provenance["bond"].notes[0]
    assert "is paid on its last session and accrued over all of them" in note
