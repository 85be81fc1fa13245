import math
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from trm_bt.errors import BarsError
from trm_bt.evaluation import metrics

NO_ORDERS = pd.DataFrame(
    {
        "filled_on": pd.Series([], dtype="datetime64[ns]"),
        "value": pd.Series([], dtype="float64"),
    }
)


def random_equity(n_sessions, seed=0):
    sessions = pd.bdate_range("2010-01-04", periods=n_sessions + 1)
    returns = np.random.default_rng(seed).normal(0.0004, 0.01, n_sessions)
    return pd.Series(1e6 * np.cumprod(np.r_[1.0, 1 + returns]), sessions, name="trm")


def looped(equity, cash):
    """Derive every figure but turnover by plain loops over the values."""
    values = equity.tolist()
    returns = [b / a - 1 for a, b in pairwise(values)]
    excess = [r - c for r, c in zip(returns, cash, strict=True)]
    n = len(returns)

    def mean(numbers):
        return math.fsum(numbers) / len(numbers)

    def deviation(numbers):
        centre = mean(numbers)
        return math.sqrt(math.fsum((x - centre) ** 2 for x in numbers) / (n - 1))

    peak, deepest = values[0], 0.0
    for value in values:
        peak = max(peak, value)
        deepest = min(deepest, value / peak - 1)
    return {
        "total_return": values[-1] / values[0] - 1,
        "cagr": math.exp(math.log(values[-1] / values[0]) * 252 / n) - 1,
        "volatility_annual": deviation(returns) * math.sqrt(252),
        "sharpe": mean(excess) / deviation(excess) * math.sqrt(252),
        "max_drawdown": deepest,
    }


@pytest.mark.parametrize("n_sessions", [60, 61, 700])
def test_figures_equal_plain_loops(n_sessions):
    equity = random_equity(n_sessions)
    cash = np.linspace(0.0, 0.0002, n_sessions)
    figures = metrics.summarize_strategy(
        equity, orders=NO_ORDERS, cash_returns=pd.Series(cash, equity.index[1:])
    )
    expected = looped(equity, cash)
    for name, value in expected.items():
        assert getattr(figures, name) == pytest.approx(value, rel=1e-9), name
    assert figures.turnover_annual == 0.0


@pytest.mark.filterwarnings("ignore")
def test_raw_figures_equal_quantstats():
    stats = pytest.importorskip("quantstats.stats")
    equity = random_equity(500)
    returns = metrics.session_returns(equity)
    assert metrics.sharpe(equity) == pytest.approx(stats.sharpe(returns))
    assert metrics.cagr(equity) == pytest.approx(stats.cagr(returns))
    assert metrics.volatility_annual(equity) == pytest.approx(stats.volatility(returns))
    assert metrics.max_drawdown(equity) == pytest.approx(stats.max_drawdown(returns))


def test_nothing_is_annualised_under_sixty_sessions():
    figures = metrics.summarize_strategy(random_equity(59), orders=NO_ORDERS)
    known = {name for name, value in vars(figures).items() if value is not None}
    assert known == {"total_return", "max_drawdown"}


def test_a_window_that_starts_at_its_peak_has_a_drawdown():
    sessions = pd.bdate_range("2010-05-05", periods=3)
    assert metrics.max_drawdown(
        pd.Series([100.0, 97.0, 95.0], sessions)
    ) == pytest.approx(-0.05)


def test_a_flat_portfolio_has_no_sharpe():
    equity = pd.Series(5.0, pd.bdate_range("2010-01-04", periods=100))
    assert metrics.sharpe(equity) is None
    assert metrics.volatility_annual(equity) == 0.0


def test_steady_cash_has_no_sharpe():
    sessions = pd.bdate_range("2010-01-04", periods=300)
    equity = pd.Series(1e6 * np.cumprod(np.full(300, 1 + 0.03 / 252)), sessions)
    assert metrics.sharpe(equity, pd.Series(0.03 / 252, sessions)) is None


def test_turnover_adds_each_fill_at_its_own_value():
    sessions = pd.bdate_range("2010-01-04", periods=127)
    equity = pd.Series(np.linspace(100.0, 226.0, 127), sessions)
    orders = pd.DataFrame(
        {
            "filled_on": [sessions[1], sessions[1], sessions[50], pd.NaT],
            "value": [60.6, -20.2, -75.0, 1e9],
        }
    )
    # On day 1 the portfolio is worth 101, on day 50 150; 126 sessions are half a year.
    assert metrics.turnover_annual(equity, orders) == pytest.approx(
        (0.3 + 0.1 + 0.25) * 2
    )


def test_an_order_outside_the_equity_is_refused():
    equity = random_equity(100)
    stray = pd.DataFrame({"filled_on": [pd.Timestamp("1999-01-04")], "value": [1.0]})
    with pytest.raises(BarsError, match=re.escape("1999-01-04 is none")):
        metrics.turnover_annual(equity, stray)


def test_a_session_without_a_cash_return_is_refused():
    equity = random_equity(100)
    cash = pd.Series(0.0, equity.index[1:]).drop(equity.index[7])
    with pytest.raises(BarsError, match=str(equity.index[7].date())):
        metrics.sharpe(equity, cash)


def test_a_worthless_portfolio_is_refused_by_name():
    equity = random_equity(100)
    equity.iloc[3] = 0.0
    with pytest.raises(BarsError, match="equity: 'value' must be above 0, on 2010-01"):
        metrics.volatility_annual(equity)


def test_calibration_counts_each_decision_once():
    rng = np.random.default_rng(1)
    sure, right = rng.uniform(0.125, 1, 500), rng.uniform(size=500) < 0.5
    rows = metrics.calibration(
        np.append(sure, [1.0, 0.5]), np.append(right, [True, True])
    )
    assert sum(row.sessions for row in rows) == 502
    for row in rows:
        picked = [
            (s, r)
            for s, r in [*zip(sure, right, strict=True), (1.0, True), (0.5, True)]
            if row.low <= s < row.high or (s == 1.0 and row.high == 1.0)
        ]
        assert row.sessions == len(picked)
        assert row.accuracy == pytest.approx(sum(r for _, r in picked) / len(picked))
        assert row.confidence == pytest.approx(sum(s for s, _ in picked) / len(picked))
