"""Everybody meets the same accounts, and nobody sees what comes."""

import sys

import numpy as np
import pandas as pd
import pytest

from tests.comparisons import CONFIG, N_BEFORE, N_DECIDED, comparison, decisions, market
from tests.simulation import simulate
from trm_bt.errors import BarsError, LookAheadError
from trm_bt.evaluation.benchmarks import DecisionRecord, rule_benchmarks
from trm_bt.evaluation.comparison import run_comparison
from trm_bt.market.allocations import ALLOCATION_WEIGHTS

EXTRA = {"hmm_regime", "jump_model", "logistic_regression", "lightgbm"}
NAMES = {
    "trm",
    "exposure_matched",
    "spy",
    "sixty_forty",
    "equal_weight",
    "ultra_defensive",
    "defensive",
    "balanced_safe",
    "balanced_growth",
    "growth",
    "aggressive_growth",
    "contrarian_long",
    "tactical_opportunity",
    "inverse_volatility",
    "volatility_target",
    "mean_variance",
    "mean_variance_of_eight",
    "moving_average_200",
    "dual_momentum",
    "har_mean_variance",
    "downside_target",
    "conditional_target",
    "timed_momentum",
    "yesterdays_best",
    "always_majority",
    "oracle",
}


@pytest.mark.slow
def test_everyone_is_there():
    held = comparison()
    assert {*held.strategies} - EXTRA == NAMES
    assert {*held.strategies} | {*held.left_out} == NAMES | EXTRA
    assert next(iter(held.strategies)) == "trm"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_everyone_meets_the_same_accounts(name):
    held = comparison()
    values, _ = simulate(
        held.bars,
        held.strategies[name].weights[["equity", "bond"]].to_numpy(),
        cash=1000.0,
        cost=10e-4,
    )
    np.testing.assert_allclose(held.equity[name], values, rtol=1e-9)
    assert held.results[name].n_rejected == 0


def test_excess_is_the_return_less_the_yield_known_before():
    held = comparison()
    spy, rate = held.equity["spy"].tolist(), held.bars.cash_rate.tolist()
    for t in range(1, N_DECIDED, 23):
        expected = spy[t] / spy[t - 1] - 1 - rate[t - 1] / 252
        assert held.excess["spy"].iloc[t - 1] == pytest.approx(expected, abs=1e-15)


def test_the_matched_mix_is_the_mean_of_the_weights_held():
    held = comparison()
    own = held.results["trm"].weights
    mix = held.strategies["exposure_matched"].weights
    for name in ("equity", "bond", "cash"):
        mean = sum(own[name].tolist()[1:]) / (len(own) - 1)
        assert mix[name].unique().tolist() == pytest.approx([mean], abs=1e-12)


def test_the_oracle_holds_the_best_and_regrets_nothing():
    held = comparison()
    opens = [frame["open"].tolist() for frame in (held.bars.equity, held.bars.bond)]
    rates = held.bars.cash_rate.tolist()
    for t in range(2, N_DECIDED - 10, 17):
        assets = [o[t + 6] / o[t + 1] - 1 for o in opens]
        cash = 1.0
        for rate in rates[t + 1 : t + 6]:
            cash *= 1 + rate / 252
        assets.append(cash - 1)
        earned = [
            sum(w * a for w, a in zip(row, assets, strict=True))
            for row in ALLOCATION_WEIGHTS.tolist()
        ]
        best = max(earned)
        session = held.bars.sessions[t]
        assert held.strategies["oracle"].classes[t] == earned.index(best)
        own = held.strategies["trm"].weights.loc[session].tolist()
        mine = sum(w * a for w, a in zip(own, assets, strict=True))
        assert held.regret.loc[session, "trm"] == pytest.approx(best - mine)
        assert held.regret.loc[session, "oracle"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.slow
def test_nobody_but_those_in_hindsight_knows_what_comes():
    """Held on fewer sessions, everyone does what they did among more."""
    whole = comparison()
    cut = market().sessions[N_BEFORE + 120]
    cut_off = run_comparison(
        market().between(end=cut), decisions().between(None, cut), CONFIG
    )
    for name, benchmark in cut_off.strategies.items():
        if benchmark.kind == "hindsight":
            continue
        np.testing.assert_allclose(
            cut_off.strategies[name].weights,
            whole.strategies[name].weights[:121],
            atol=1e-9,
        )
        np.testing.assert_allclose(
            cut_off.equity[name], whole.equity[name][:121], rtol=1e-9
        )
    for name, forecast in cut_off.risk.forecasts.items():
        later = whole.risk.forecasts[name].iloc[:121]
        np.testing.assert_allclose(forecast, later, rtol=1e-9)


def test_a_lookback_that_is_not_full_is_cash_and_counted():
    """Bars that begin 90 sessions before the first decision."""
    bars = market().between(market().sessions[N_BEFORE - 90])
    rules = rule_benchmarks(bars, decisions().sessions)
    benchmarks = {benchmark.name: benchmark for benchmark in rules}
    assert benchmarks["inverse_volatility"].n_waiting == 0
    assert benchmarks["mean_variance"].n_waiting == 252 - 90
    average = benchmarks["moving_average_200"]
    assert 199 - 90 <= average.n_waiting < 199 - 90 + 23
    assert average.weights.iloc[50].tolist() == [0.0, 0.0, 1.0]


def test_sessions_without_a_model_are_cash_for_the_trained_too():
    held = comparison()
    assert held.strategies["always_majority"].n_waiting == 2
    assert held.strategies["always_majority"].weights.iloc[0].tolist() == [0, 0, 1]
    assert held.strategies["always_majority"].classes[2] >= 0


def test_decisions_that_miss_a_session_are_refused():
    some = decisions()
    keep = np.arange(N_DECIDED) != 77
    holed = DecisionRecord(
        some.weights[keep],
        some.classes[keep],
        some.confidence[keep],
        some.known_by[keep],
    )
    with pytest.raises(BarsError, match=f"first {some.sessions[77].date()}"):
        run_comparison(market(), holed, CONFIG)


def test_a_model_that_knew_its_own_session_is_refused():
    some = decisions()
    late = pd.Series(some.sessions[100], some.sessions)
    leaky = DecisionRecord(some.weights, some.classes, some.confidence, late)
    with pytest.raises(LookAheadError, match=str(some.sessions[0].date())):
        run_comparison(market(), leaky, CONFIG)


def test_without_the_extra_it_says_who_is_missing(monkeypatch):
    for module in ("sklearn", "lightgbm", "hmmlearn", "jumpmodels"):
        monkeypatch.setitem(sys.modules, module, None)
    last, told = market().sessions[N_BEFORE + 20], []
    held = run_comparison(
        market().between(end=last),
        decisions().between(None, last),
        CONFIG,
        progress=lambda *state: told.append(state),
    )
    assert {*held.left_out} == EXTRA
    assert {*held.strategies} == NAMES
    assert "pip install -e '.[research]' in the clone" in held.left_out["lightgbm"]
    assert [done for _, done, _ in told] == list(range(len(NAMES)))
    assert {stage for stage, _, _ in told} == {"benchmarks"}
