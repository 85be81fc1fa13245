"""Each rule against a plain loop, and against bars cut short or changed afterwards."""

import itertools
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from statsmodels.api import OLS, add_constant

from tests.conftest import make_bars
from trm_bt.audit.api import AuditSettings, audit_policy
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.strategies import rules
from trm_bt.strategies.rules import WEIGHT_RULES, history_of
from trm_bt.strategies.volatility_rules import VOLATILITY_RULES

RULES = {**WEIGHT_RULES, **VOLATILITY_RULES}


@pytest.fixture(scope="module")
def long_bars():
    return make_bars(700, seed=5)


def closes_of(bars):
    return bars.equity["close"].tolist(), bars.bond["close"].tolist()


def returns_of(closes):
    return [b / a - 1 for a, b in itertools.pairwise(closes)]


def is_new_month(sessions, t):
    return t > 0 and sessions[t].month != sessions[t - 1].month


def loop_inverse_volatility(bars, t):
    stds = [statistics.stdev(returns_of(c)[t - 63 : t]) for c in closes_of(bars)]
    total = 1 / stds[0] + 1 / stds[1]
    return [1 / stds[0] / total, 1 / stds[1] / total, 0.0]


def loop_volatility_target(bars, t):
    equity = returns_of(closes_of(bars)[0])[t - 21 : t]
    share = min(1.0, 0.10 / (statistics.stdev(equity) * 252**0.5))
    return [share, 0.0, 1.0 - share]


def excess_of(bars):
    rates = bars.cash_rate.tolist()
    return [
        [r - rates[i] / 252 for i, r in enumerate(returns_of(closes))]
        for closes in closes_of(bars)
    ]


def utility_of(bars, t, variances=None):
    """Return the mean-variance utility of weights (equity, bond), decided at t."""
    excess = [e[:t] for e in excess_of(bars)]
    means = [statistics.fmean(e) for e in excess]
    recent = [e[-63:] for e in excess]
    cross = statistics.covariance(*recent)
    if variances is None:
        variances = [statistics.variance(e) for e in recent]
    else:
        cross = statistics.correlation(*recent) * (variances[0] * variances[1]) ** 0.5

    def utility(e, b):
        risk = e * e * variances[0] + b * b * variances[1] + 2 * e * b * cross
        return e * means[0] + b * means[1] - 1.5 * risk

    return utility


def loop_mean_variance(bars, t, variances=None):
    """Let an optimiser of scipy find the best point of the triangle."""
    utility = utility_of(bars, t, variances)
    found = minimize(
        lambda w: -1e5 * utility(*w),
        [0.3, 0.3],
        method="SLSQP",
        bounds=[(0, 1), (0, 1)],
        constraints={"type": "ineq", "fun": lambda w: 1 - w[0] - w[1]},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return [*found.x, 1 - sum(found.x)]


def loop_mean_variance_of_eight(bars, t):
    utility = utility_of(bars, t)
    return max(ALLOCATION_WEIGHTS.tolist(), key=lambda w: utility(w[0], w[1]))


def loop_moving_average(bars, t):
    equity, sessions = closes_of(bars)[0], bars.sessions
    while not is_new_month(sessions, t):
        t -= 1
    is_above = equity[t] > sum(equity[t - 199 : t + 1]) / 200
    return [1.0, 0.0, 0.0] if is_above else [0.0, 0.0, 1.0]


def loop_dual_momentum(bars, t):
    while not is_new_month(bars.sessions, t):
        t -= 1
    earned = [c[t] / c[t - 252] for c in closes_of(bars)]
    cash = 1.0
    for rate in bars.cash_rate.tolist()[t - 252 : t]:
        cash *= 1 + rate / 252
    earned.append(cash)
    best = earned.index(max(earned))
    return [float(best == i) for i in range(3)]


def loop_har_mean_variance(bars, t):
    """Regress by statsmodels, on one list of rows for each session."""
    forecasts = []
    for excess in excess_of(bars):
        squares = [np.nan, *(1e4 * r * r for r in excess)]

        def terms(s, squares=squares):
            return [statistics.fmean(squares[s - k + 1 : s + 1]) for k in (1, 5, 22)]

        past = range(22, t - 4)
        outcomes = [statistics.fmean(squares[s + 1 : s + 6]) for s in past]
        fitted = OLS(outcomes, add_constant([terms(s) for s in past])).fit()
        forecast = float(fitted.predict([[1.0, *terms(t)]])[0])
        if not min(outcomes) <= forecast <= max(outcomes):
            forecast = statistics.fmean(outcomes)
        forecasts.append(forecast / 1e4)
    return loop_mean_variance(bars, t, forecasts)


def loop_downside_target(bars, t):
    losses = [min(r, 0.0) for r in returns_of(closes_of(bars)[0])[t - 21 : t]]
    volatility = (252 * 2 * statistics.fmean(r * r for r in losses)) ** 0.5
    share = min(1.0, 0.10 / volatility) if volatility else 1.0
    return [share, 0.0, 1.0 - share]


def loop_conditional_target(bars, t):
    """Months by number: the one of t, those before, the first of all left out."""
    number = [s.year * 12 + s.month for s in bars.sessions]
    returns = [np.nan, *returns_of(closes_of(bars)[0])]
    stds = [
        statistics.stdev(r for r, n in zip(returns, number, strict=True) if n == month)
        for month in range(number[0] + 1, number[t])
    ]
    past = [r for r, n in zip(returns, number, strict=True) if n < number[t]][1:]
    share = 1.0
    if stds[-1] >= np.quantile(stds, 0.8):
        share = min(1.0, statistics.stdev(past) / stds[-1])
    return [share, 0.0, 1.0 - share]


def loop_timed_momentum(bars, t):
    while not is_new_month(bars.sessions, t):
        t -= 1
    equity = closes_of(bars)[0]
    cash = 1.0
    for rate in bars.cash_rate.tolist()[t - 252 : t]:
        cash *= 1 + rate / 252
    if equity[t] / equity[t - 252] <= cash:
        return [0.0, 0.0, 1.0]
    returns = returns_of(equity)[:t]
    weights = [(60 / 61) ** (t - 1 - i) for i in range(t)]
    total = sum(weights)
    mean = sum(w * r for w, r in zip(weights, returns, strict=True)) / total
    spread = sum(w * (r - mean) ** 2 for w, r in zip(weights, returns, strict=True))
    # what weights of unequal size leave of n / (n - 1)
    variance = spread / (total - sum(w * w for w in weights) / total)
    share = min(1.0, 0.10 / (252 * variance) ** 0.5)
    return [share, 0.0, 1.0 - share]


LOOPS = {
    "inverse_volatility": loop_inverse_volatility,
    "volatility_target": loop_volatility_target,
    "mean_variance": loop_mean_variance,
    "mean_variance_of_eight": loop_mean_variance_of_eight,
    "moving_average_200": loop_moving_average,
    "dual_momentum": loop_dual_momentum,
    "har_mean_variance": loop_har_mean_variance,
    "downside_target": loop_downside_target,
    "conditional_target": loop_conditional_target,
    "timed_momentum": loop_timed_momentum,
}
FIRST = {
    "inverse_volatility": 63,
    "volatility_target": 21,
    "mean_variance": 252,
    "mean_variance_of_eight": 252,
    "har_mean_variance": 22 + 251 + 5,
    "downside_target": 21,
}
"""First row with a value, where it does not depend on the calendar."""
LOOKBACKS = {
    "moving_average_200": 199,
    "dual_momentum": 252,
    "timed_momentum": 252,
    "conditional_target": 252,
}
"""Sessions that rules by the month see at least."""


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_is_what_a_loop_says(long_bars, name):
    weights = RULES[name](history_of(long_bars))
    for t in range(300, 700, 7):
        expected = LOOPS[name](long_bars, t)
        is_searched = name in ("mean_variance", "har_mean_variance")
        tolerance = 1e-5 if is_searched else 1e-12
        np.testing.assert_allclose(weights[t], expected, atol=tolerance)


@pytest.mark.parametrize("name", list(RULES))
def test_the_rules_differ_from_row_to_row(long_bars, name):
    weights = RULES[name](history_of(long_bars))
    known = weights[np.isfinite(weights).all(axis=1)]
    assert len(np.unique(known.round(6), axis=0)) > 1


@pytest.mark.parametrize("name", list(RULES))
def test_rows_are_whole_portfolios_or_missing(long_bars, name):
    weights = RULES[name](history_of(long_bars))
    is_known = np.isfinite(weights).all(axis=1)
    assert np.isnan(weights[~is_known]).all()
    assert (weights[is_known] >= 0).all()
    np.testing.assert_allclose(weights[is_known].sum(axis=1), 1.0)
    first = int(is_known.argmax())
    assert is_known[first:].all()
    if name in FIRST:
        assert first == FIRST[name]
    else:
        assert LOOKBACKS[name] <= first < LOOKBACKS[name] + 23
        assert is_new_month(long_bars.sessions, first)


@pytest.mark.parametrize("n_sessions", [2, 21, 100])
@pytest.mark.parametrize("name", list(RULES))
def test_history_shorter_than_a_lookback_gives_rows_that_are_missing(
    long_bars, name, n_sessions
):
    whole = RULES[name](history_of(long_bars))[:n_sessions]
    short = long_bars.between(end=long_bars.sessions[n_sessions - 1])
    weights = RULES[name](history_of(short))
    np.testing.assert_array_equal(weights, whole)


@pytest.mark.parametrize("name", list(RULES))
def test_no_rule_looks_ahead(long_bars, name):
    def weights(bars):
        columns = ["equity", "bond", "cash"]
        values = RULES[name](history_of(bars))
        return pd.DataFrame(values, bars.sessions, columns)

    settings = AuditSettings(n_cuts=12)
    assert audit_policy(weights, long_bars, settings).difference is None


def test_a_rule_that_looks_ahead_is_caught(long_bars):
    def leaky(bars):
        values = rules.inverse_volatility(history_of(bars))
        return pd.DataFrame(values, bars.sessions).shift(-1)

    result = audit_policy(leaky, long_bars, AuditSettings(n_cuts=12))
    assert result.difference is not None


def test_history_without_a_cash_rate_earns_nothing(long_bars):
    from dataclasses import replace

    history = history_of(replace(long_bars, cash_rate=None))
    assert (history.returns[:, 2] == 0).all()
    assert history.values[-1, 0] == pytest.approx(
        long_bars.equity["close"].iloc[-1] / long_bars.equity["close"].iloc[0]
    )


def correlated_history(seed):
    """Two assets with premiums that move together, and cash that earns nothing."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0, 0.006, (400, 1))
    returns = np.zeros((400, 3))
    returns[:, :2] = common + rng.normal([6e-4, 4e-4], [0.006, 0.004], (400, 2))
    returns[0] = 0.0
    return rules.History(pd.bdate_range("2001-01-01", periods=400), returns)


@pytest.mark.parametrize("aversion", [1.0, 6.0, 20.0])
def test_mean_variance_is_the_best_point_of_the_triangle(aversion):
    """Against every point of a fine grid, inside and on each edge."""
    steps = np.linspace(0.0, 1.0, 201)
    grid = [(e, b) for e in steps for b in steps if e + b <= 1.0 + 1e-12]
    e, b = np.array(grid).T
    for seed in range(3):
        history = correlated_history(seed)
        weights = rules.mean_variance(history, aversion)
        eight = rules.mean_variance_of_eight(history, aversion)
        for t in range(260, 400, 12):
            past, recent = history.returns[1 : t + 1], history.returns[t - 62 : t + 1]
            mean = past[:, :2].mean(axis=0)
            (ee, eb), (_, bb) = np.cov(recent[:, :2].T)

            def utility(e, b, mean=mean, ee=ee, eb=eb, bb=bb):
                risk = e**2 * ee + b**2 * bb + 2 * e * b * eb
                return e * mean[0] + b * mean[1] - aversion / 2 * risk

            best = utility(e, b).max()
            assert utility(*weights[t, :2]) >= best - 1e-15
            # no point is farther from the grid than half a step in each direction
            slack = aversion * (ee + bb) * 0.0025**2
            assert utility(*weights[t, :2]) == pytest.approx(best, abs=slack)
            merits = [utility(w[0], w[1]) for w in ALLOCATION_WEIGHTS]
            assert eight[t].tolist() == ALLOCATION_WEIGHTS[np.argmax(merits)].tolist()


def test_the_best_points_lie_inside_and_on_every_edge():
    found = set()
    for seed in range(3):
        for aversion in (1.0, 6.0, 20.0):
            weights = rules.mean_variance(correlated_history(seed), aversion)[260:]
            found |= {tuple(row) for row in (weights > 1e-9).tolist()}
    assert (True, True, True) in found
    assert (True, True, False) in found
