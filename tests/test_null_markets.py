"""The simulated markets are what they say, and so are the comparisons on them."""

import numpy as np
import pytest

from tests.comparisons import CONFIG as COSTLY
from tests.comparisons import N_BEFORE, decisions, market
from tests.evidence.null_markets import (
    CALM,
    CHANGED,
    CONFIG,
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
