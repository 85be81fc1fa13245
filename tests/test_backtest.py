"""The backtest's equity equals a simulation that shares no code with it."""

import subprocess
import sys

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.fakes import FakePolicy
from tests.simulation import simulate
from trm_bt.backtest import run_backtest
from trm_bt.config import BacktestConfig
from trm_bt.errors import BarsError, ConfigError, TRMError
from trm_bt.feeds import load_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.decision_table import DECISION_COLUMNS
from trm_bt.strategies.ledger import ORDER_COLUMNS
from trm_bt.strategies.rebalancing import RebalancingStrategy
from trm_bt.strategies.trm_allocator import TRMAllocator

MIXES = [(1.0, 0.0, 0.0), (0.6, 0.4, 0.0), (0.2, 0.5, 0.3), (0.0, 0.0, 1.0)]


def assert_simulated(result, bars: Bars, targets, config, band=0.0):
    """Hold values and weights against the simulation of the same targets."""
    values, weights = simulate(
        bars,
        np.asarray(targets),
        cash=config.initial_cash,
        cost=config.cost_bps / 1e4,
        band=band,
    )
    assert result.equity.index.equals(bars.sessions)
    np.testing.assert_allclose(result.equity, values, rtol=1e-9)
    np.testing.assert_allclose(result.weights, weights, atol=1e-9)


def decided_targets(result):
    return result.decisions[["target_equity", "target_bond"]].to_numpy()


@pytest.mark.parametrize("cost_bps", [0.0, 5.0, 50.0])
@pytest.mark.parametrize("weights", MIXES, ids=str)
def test_fixed_mixes_equal_the_simulation(bars, weights, cost_bps):
    config = BacktestConfig(cost_bps=cost_bps)
    result = run_backtest(
        bars, FixedMix, params={"weights": weights}, config=config, name="mix"
    )
    assert result.equity.name == result.name == "mix"
    targets = np.tile(weights[:2], (len(bars.sessions), 1))
    assert_simulated(result, bars, targets, config)
    assert result.n_submitted == result.n_completed == len(result.orders)
    assert result.n_rejected == result.n_abstained == len(result.decisions) == 0


@pytest.mark.parametrize("cost_bps", [0.0, 5.0, 50.0])
@pytest.mark.parametrize("band", [0.0, 0.05])
def test_the_allocator_equals_the_simulation(full_bars, cost_bps, band):
    first = full_bars.sessions[300]
    config = BacktestConfig(initial_cash=12_345.0, cost_bps=cost_bps)
    result = run_backtest(
        full_bars,
        TRMAllocator,
        params={"policy": FakePolicy.reading(full_bars), "rebalance_band": band},
        config=config,
        decide_from=first,
    )
    assert result.decisions["allocation"].nunique() > 3
    assert result.decisions["session"].tolist() == full_bars.sessions[300:].tolist()
    assert_simulated(
        result, full_bars.between(first), decided_targets(result), config, band
    )
    assert result.n_completed == result.n_submitted > 0
    assert result.n_rejected == 0


@pytest.mark.slow
def test_twenty_real_years_equal_the_simulation(real_bars):
    first = real_bars.sessions[300]
    policy = FakePolicy.reading(real_bars)
    config = BacktestConfig()
    result = run_backtest(
        real_bars, TRMAllocator, params={"policy": policy}, decide_from=first
    )
    assert len(result.equity) > 20 * 250
    assert_simulated(result, real_bars.between(first), decided_targets(result), config)
    assert result.n_completed == result.n_submitted > 9_000
    assert result.n_rejected == 0


@pytest.mark.evidence
@pytest.mark.parametrize("weights", MIXES[:3], ids=str)
def test_all_of_spys_history_equals_the_simulation(market_dir, weights):
    bars, config = load_bars(market_dir), BacktestConfig()
    assert bars.sessions[0].year == 1993
    result = run_backtest(bars, FixedMix, params={"weights": weights}, config=config)
    targets = np.tile(weights[:2], (len(bars.sessions), 1))
    assert_simulated(result, bars, targets, config)
    assert result.n_rejected == 0


def test_the_base_row_is_the_starting_cash(bars):
    first = bars.sessions[100]
    result = run_backtest(bars, FixedMix, decide_from=first)
    assert result.equity.index[0] == first
    assert result.equity.iloc[0] == 1_000_000.0
    assert result.weights.iloc[0].tolist() == [0.0, 0.0, 1.0]
    assert result.orders["decided_on"].iloc[0] == first
    assert result.orders["filled_on"].iloc[0] == bars.sessions[101]


def test_earlier_history_changes_nothing(bars):
    first = bars.sessions[200]
    policy = FakePolicy.reading(bars)
    whole, cut = (
        run_backtest(b, TRMAllocator, params={"policy": policy}, decide_from=first)
        for b in (bars, bars.between(bars.sessions[200 - 59]))
    )
    assert policy.schema.n_lookback == 60
    pd.testing.assert_series_equal(whole.equity, cut.equity, check_exact=True)
    pd.testing.assert_frame_equal(whole.decisions, cut.decisions, check_exact=True)


class Trend:
    """All equity above its average of 100 sessions, else all bonds."""

    def __init__(self):
        self.average = bt.ind.SMA(self.data.close, period=100)

    def target_weights(self):
        is_above = self.data.close[0] > self.average[0]
        return (1.0, 0.0) if is_above else (0.0, 1.0)


def test_a_subclass_has_the_history_and_the_feeds_of_any_strategy(bars):
    first = bars.sessions[200]
    kinds = [
        type("Trending", (Trend, base), {}) for base in (FixedMix, RebalancingStrategy)
    ]
    ours, theirs = (run_backtest(bars, kind, decide_from=first) for kind in kinds)
    assert ours.equity.index[0] == first
    assert ours.n_completed > 0
    pd.testing.assert_series_equal(ours.equity, theirs.equity, check_exact=True)


def test_the_first_session_may_have_a_time_of_day(bars):
    first = bars.sessions[200]
    for strategy in (FixedMix, type("Half", (FixedMix,), {})):
        later = run_backtest(bars, strategy, decide_from=first + pd.Timedelta(hours=16))
        assert later.equity.index[0] == first
    for wrong in ("garbage", 20050601):
        with pytest.raises(ConfigError, match="`decide_from` must be a date"):
            run_backtest(bars, FixedMix, decide_from=wrong)


def test_weights_with_labels_are_read_by_them(bars):
    by_name = {"cash": 0.6, "bond": 0.4, "equity": 0.0}
    plain = run_backtest(bars, FixedMix, params={"weights": (0.0, 0.4, 0.6)})
    for given in (by_name, pd.Series(by_name)):
        found = run_backtest(bars, FixedMix, params={"weights": given})
        pd.testing.assert_series_equal(found.equity, plain.equity, check_exact=True)
    with pytest.raises(ConfigError, match="must be shares of equity, bond and cash"):
        run_backtest(bars, FixedMix, params={"weights": {"SPY": 0.6, "TLT": 0.4}})


@pytest.mark.parametrize(
    "params",
    [
        {"rebalance_band": 5},
        {"rebalance_band": -1.0},
        {"min_trade_value": float("nan")},
        {"min_trade_value": float("inf")},
        {"max_gap": 1.5},
    ],
)
def test_a_param_that_would_stop_all_trading_is_refused(bars, params):
    with pytest.raises(ConfigError, match=f"FixedMix: `{next(iter(params))}`"):
        run_backtest(bars, FixedMix, params=params)


def test_without_history_the_allocator_waits_in_cash(bars):
    result = run_backtest(
        bars,
        TRMAllocator,
        params={"policy": FakePolicy.reading(bars)},
        config=BacktestConfig(cost_bps=0),
    )
    assert result.equity.index.equals(bars.sessions)
    assert result.decisions["session"].iloc[0] == bars.sessions[59]
    growth = 1 + bars.cash_rate.to_numpy()[:59] / 252
    assert result.equity.iloc[59] == pytest.approx(1e6 * growth.prod(), rel=1e-12)


def test_cash_earns_nothing_without_a_rate(bars):
    without = Bars(**vars(bars) | {"cash_rate": None})
    result = run_backtest(without, FixedMix, params={"weights": (0.0, 0.0, 1.0)})
    assert (result.equity == 1_000_000.0).all()


@pytest.mark.slow
def test_a_run_does_not_know_the_bars_after_its_end(bars):
    policy = FakePolicy.reading(bars)
    whole = run_backtest(bars, TRMAllocator, params={"policy": policy})
    for n in range(70, 390, 40):
        head = bars.between(None, bars.sessions[n - 1])
        cut = run_backtest(head, TRMAllocator, params={"policy": policy})
        pd.testing.assert_series_equal(
            cut.equity, whole.equity[:n], check_exact=True, check_freq=False
        )
        assert len(cut.decisions) == n - 59
        pd.testing.assert_frame_equal(
            cut.decisions, whole.decisions[: n - 59], check_exact=True
        )


def test_results_have_the_promised_columns(bars):
    policy = FakePolicy.reading(bars)
    result = run_backtest(bars, TRMAllocator, params={"policy": policy})
    assert result.name == "TRMAllocator"
    assert tuple(result.orders) == ORDER_COLUMNS
    assert tuple(result.decisions) == DECISION_COLUMNS
    assert tuple(result.weights) == ("equity", "bond", "cash")
    assert result.decisions["allocation"].dtype == "Int64"
    np.testing.assert_allclose(result.weights.sum(axis=1), 1.0, rtol=1e-12)


def test_an_end_before_the_first_decision_is_refused(bars):
    with pytest.raises(BarsError):
        run_backtest(bars, FixedMix, decide_from="2020-01-01")


def test_accounts_that_do_not_add_up_are_refused(bars):
    class Skimming(FixedMix):
        def next_open(self):
            if len(self) == 30:
                self.broker.add_cash(-1.0)
            super().next_open()

    # on the bar after the 30th the fills explain one unit more than there is
    day = bars.sessions[30].date()
    with pytest.raises(TRMError, match=f"must equal the broker's value, on {day}"):
        run_backtest(bars, Skimming)


@pytest.mark.slow
def test_a_policy_of_our_own_needs_no_torch():
    script = """
import sys
from tests.conftest import make_bars
from tests.fakes import FakePolicy
from trm_bt.backtest import run_backtest
from trm_bt.strategies.trm_allocator import TRMAllocator

bars = make_bars(80)
result = run_backtest(bars, TRMAllocator, params={"policy": FakePolicy.reading(bars)})
assert len(result.decisions) == 21
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_thousand_random_bars_with_gaps_equal_the_simulation():
    bars = make_bars(1_000, seed=7)
    config = BacktestConfig(cost_bps=20)
    policy = FakePolicy.reading(bars)
    first = bars.sessions[59]
    result = run_backtest(
        bars,
        TRMAllocator,
        params={"policy": policy, "decision": "blend"},
        config=config,
        decide_from=first,
    )
    assert_simulated(result, bars.between(first), decided_targets(result), config)
