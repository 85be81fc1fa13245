"""The replay in arrays has the accounts of the engine, to round-off."""

import numpy as np
import pandas as pd
import pytest

from trm_bt.backtest import run_backtest
from trm_bt.config import BacktestConfig
from trm_bt.evaluation.metrics import turnover_annual
from trm_bt.evaluation.replay import Replay, replay
from trm_bt.strategies.scheduled import ScheduledWeights


def random_weights(sessions, seed, *, n_held=1):
    """Draw a portfolio every `n_held` sessions, shape (n_sessions, 3)."""
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet(np.ones(3), -(-len(sessions) // n_held))
    rows = np.repeat(drawn, n_held, axis=0)[: len(sessions)]
    return pd.DataFrame(rows, sessions, ["equity", "bond", "cash"])


def replayed_alone(bars, weights, cost_rates, **settings) -> Replay:
    """Replay one table of weights at several costs."""
    targets = weights[["equity", "bond"]].to_numpy()[:, np.newaxis]
    return replay(bars, targets, cost_rates, **settings)


@pytest.mark.parametrize("cost_bps", [0.0, 5.0, 100.0])
@pytest.mark.parametrize("band", [0.0, 0.05])
@pytest.mark.parametrize("n_held", [1, 20])
@pytest.mark.parametrize("schedule", ["bar", "weekly", "change"])
def test_a_replay_equals_the_engine(bars, cost_bps, band, n_held, schedule):
    weights = random_weights(bars.sessions, 4, n_held=n_held)
    config = BacktestConfig(initial_cash=1000.0, cost_bps=cost_bps)
    result = run_backtest(
        bars,
        ScheduledWeights,
        params={"weights": weights, "rebalance_band": band, "schedule": schedule},
        config=config,
    )
    costs = np.array([cost_bps / 1e4])
    replayed = replayed_alone(bars, weights, costs, band=band, schedule=schedule)
    np.testing.assert_allclose(
        1000.0 * replayed.values[:, 0], result.equity, rtol=1e-11
    )
    n_sessions = len(bars.sessions) - 1
    assert replayed.turnover[0] * 252 / n_sessions == pytest.approx(
        turnover_annual(result.equity, result.orders), rel=1e-9
    )
    assert result.n_rejected == 0


def test_paths_side_by_side_are_what_they_are_alone(bars):
    tables = [random_weights(bars.sessions, seed) for seed in range(3)]
    targets = np.stack([table.to_numpy()[:, :2] for table in tables], axis=1)
    costs = np.array([0.0, 5e-4, 5e-3])
    together = replay(bars, targets, costs)
    for i, table in enumerate(tables):
        alone = replayed_alone(bars, table, costs[[i]])
        np.testing.assert_allclose(alone.values[:, 0], together.values[:, i], 1e-13)


def test_one_table_at_several_costs_loses_more_at_each(bars):
    weights = random_weights(bars.sessions, 0)
    costs = np.array([0.0, 1e-4, 1e-3])
    replayed = replayed_alone(bars, weights, costs)
    assert (np.diff(replayed.values[-1]) < 0).all()
    assert replayed.excess(np.zeros(len(bars.sessions) - 1)).shape == (399, 3)


@pytest.mark.slow
def test_twenty_real_years_equal_the_engine(real_bars):
    weights = random_weights(real_bars.sessions, 1, n_held=10)
    result = run_backtest(real_bars, ScheduledWeights, params={"weights": weights})
    replayed = replayed_alone(real_bars, weights, np.array([5e-4]))
    values = 1_000_000.0 * replayed.values[:, 0]
    np.testing.assert_allclose(values, result.equity, rtol=1e-10)
