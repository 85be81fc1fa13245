"""The simulated markets are what they say, and so are the comparisons on them."""

import numpy as np
import pytest

from tests.comparisons import CONFIG as COSTLY
from tests.comparisons import N_BEFORE, decisions, market
from tests.evidence.null_markets import (
    CALM,
    CHANGED,
    CONFIG,
    PRICE_OF_RISK,
    PRIMARY,
    WILD,
    History,
    assess_one,
    comparison_in_arrays,
    decide_logistic,
    found,
    simulate,
)
from trm_bt.evaluation.assessment import SignificanceSettings
from trm_bt.evaluation.comparison import run_comparison
from trm_bt.evaluation.significance import assess
from trm_bt.strategies.rules import history_of
from trm_bt.strategies.volatility_rules import timed_momentum


@pytest.mark.slow
def test_a_comparison_in_arrays_is_that_of_the_engine():
    last = market().sessions[N_BEFORE + 100]
    bars, own = market().between(end=last), decisions().between(None, last)
    engine = run_comparison(bars, own, COSTLY)
    arrays = comparison_in_arrays(bars, own, COSTLY, 0)
    assert [*arrays.strategies] == [*engine.strategies]
    for name in engine.strategies:
        # the matched mix is that of the targets here, of the weights held there
        tolerance = 1e-3 if name == "exposure_matched" else 1e-10
        np.testing.assert_allclose(arrays.equity[name], engine.equity[name], tolerance)


def test_a_simulated_market_has_no_premium_and_an_edge_has_its_size():
    moves, told = [], []
    for seed in range(40):
        for edge, kept in ((0.0, moves), (0.002, told)):
            bars = simulate(seed, edge)
            returns = bars.equity["close"].pct_change().to_numpy()[1:]
            above = np.sign(bars.volatility["close"].to_numpy()[:-1] / 18.0 - 1.0)
            kept.append((returns.mean(), (returns * above).mean()))
    error = 0.011 / np.sqrt(40 * 1499)
    assert np.mean(moves, axis=0) == pytest.approx([0.0, 0.0], abs=3 * error)
    assert np.mean(told, axis=0)[1] == pytest.approx(0.002, abs=3 * error)


def test_an_edge_of_risk_is_in_how_far_the_equity_moves_and_not_where_to():
    parts = {True: [], False: []}
    for seed in range(20):
        bars = simulate(seed, 0.001, "risk", 2000)
        assert len(bars.sessions) == 2000
        returns = bars.equity["close"].pct_change().to_numpy()[1:]
        is_high = bars.volatility["close"].to_numpy()[:-1] > 18.0
        for which, kept in parts.items():
            kept += returns[is_high == which].tolist()
    wild, calm = np.array(parts[True]), np.array(parts[False])
    assert wild.std() == pytest.approx(0.011 * WILD, rel=0.03)
    assert calm.std() == pytest.approx(0.011 * CALM, rel=0.03)
    for part in (wild, calm):
        error = part.std() / np.sqrt(len(part))
        assert part.mean() == pytest.approx(0.001, abs=3 * error)


def test_in_the_reversal_world_variance_is_paid_and_timing_is_not():
    """Drift, reversal and what timing earns, each against its error."""
    paid, reversed_, timed = [], [], []
    for seed in range(60):
        bars = simulate(seed, 0.0, "reversal")
        history = history_of(bars)
        earned, level = history.returns[1:, 0], bars.volatility["close"].to_numpy()
        deviation = 0.011 * level[:-1] / 18.0
        # in units of its volatility: mean PRICE_OF_RISK * deviation, variance 1
        paid.append((earned / deviation - PRICE_OF_RISK * deviation).mean())
        assert (earned / deviation).std() == pytest.approx(1.0, abs=0.1)
        reversed_.append(np.corrcoef(earned, np.diff(np.log(level)))[0, 1])
        weights = timed_momentum(history)[:, 0]
        first = int(np.isfinite(weights).argmax())
        held, after = weights[first:-1], earned[first:]
        mix = held.mean() * after
        own = held * after
        timed.append(own.mean() / own.std() - mix.mean() / mix.std())
    assert np.mean(paid) == pytest.approx(0.0, abs=3 / np.sqrt(60 * 1499))
    assert np.mean(reversed_) == pytest.approx(-0.7, abs=0.05)
    assert np.mean(timed) < 3 * np.std(timed) / np.sqrt(len(timed))


def test_worlds_without_reversals_are_what_they_were():
    """Drawn here as the script did before it knew of reversals."""
    rng = np.random.default_rng(5)
    shocks = rng.normal(0.0, 0.07, 1500)
    state = 0.0
    for t in range(1, 1500):
        state = 0.97 * state + shocks[t]
    share = np.sqrt([1 / 3, 2 / 3])
    parts = rng.normal(0.0, 0.011 * share, (1500, 2)) - (0.011 * share) ** 2 / 2
    bars = simulate(5)
    assert bars.volatility["close"].iloc[-1] == pytest.approx(18.0 * np.exp(state))
    assert bars.equity["close"].iloc[-1] == pytest.approx(100.0 * np.exp(parts.sum()))


@pytest.mark.slow
def test_a_planted_edge_is_found():
    is_found = assess_one(History(0, 0.003))
    assert is_found[CHANGED]
    assert is_found[PRIMARY]
    assert is_found["alpha over that mix"]
    assert is_found["timing beats random starts"]


@pytest.mark.slow
def test_on_a_random_walk_nothing_is_found():
    """A seed of which the script, at 100 histories, says that most find nothing."""
    bars = simulate(3)
    sessions = bars.sessions[750:]
    own = decide_logistic(bars, sessions, CONFIG)
    assert (own.known_by < sessions[0]).all()
    held = comparison_in_arrays(bars, own, CONFIG, 3)
    assert not any(found(assess(held, [], SignificanceSettings(200, 50))).values())
