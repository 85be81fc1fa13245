"""A comparison on random bars, run once, and small ones made by hand."""

from functools import cache

import numpy as np
import pandas as pd

from tests.conftest import make_bars
from tests.test_replay import random_weights
from trm_bt.backtest import run_backtest
from trm_bt.config import BacktestConfig, TRMConfig
from trm_bt.evaluation.benchmarks import (
    Benchmark,
    DecisionRecord,
    constant,
    matched_mix,
    oracle,
)
from trm_bt.evaluation.comparison import Comparison, run_comparison
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.market.labels import features_and_labels
from trm_bt.strategies.scheduled import ScheduledWeights

CONFIG = TRMConfig(backtest=BacktestConfig(initial_cash=1000.0, cost_bps=10.0))
N_BEFORE = 330
N_DECIDED = 270


@cache
def market() -> Bars:
    return make_bars(N_BEFORE + N_DECIDED, seed=8)


def decisions_at_random(
    sessions: pd.DatetimeIndex, known_on: pd.Timestamp
) -> DecisionRecord:
    """Draw a class every five sessions, and how probable; abstain on two sessions."""
    rng = np.random.default_rng(1)
    classes = np.repeat(rng.integers(0, 8, len(sessions)), 5)[: len(sessions)]
    weights = pd.DataFrame(
        ALLOCATION_WEIGHTS[classes], sessions, ["equity", "bond", "cash"]
    )
    confidence = rng.uniform(0.2, 1.0, len(sessions))
    known_by = pd.Series(known_on, sessions)
    for row in (0, 1):
        weights.iloc[row] = [0.0, 0.0, 1.0]
        classes[row], confidence[row], known_by.iloc[row] = -1, np.nan, pd.NaT
    probs = np.random.default_rng(2).dirichlet(np.ones(8), len(sessions))
    probs[:2] = np.nan
    return DecisionRecord(weights, classes, confidence, known_by, probs)


@cache
def decisions() -> DecisionRecord:
    sessions = market().sessions
    return decisions_at_random(sessions[N_BEFORE:], sessions[N_BEFORE - 10])


@cache
def comparison() -> Comparison:
    """All benchmarks over 270 sessions."""
    return run_comparison(market(), decisions(), CONFIG)


def small_comparison(
    weights: pd.DataFrame | None = None, *, n_sessions: int = N_DECIDED
) -> Comparison:
    """Return a comparison of the given weights, some fixed mixes and the oracle."""
    last = market().sessions[N_BEFORE + n_sessions - 1]
    bars = market().between(end=last)
    own = decisions().between(None, last)
    if weights is not None:
        own = DecisionRecord(weights, own.classes, own.confidence, own.known_by)
    span = bars.between(own.sessions[0])
    _, labels = features_and_labels(bars, CONFIG)
    ours = Benchmark("trm", "ours", own.weights, classes=own.classes)
    mean = run(span, own.weights).weights.iloc[1:].mean()
    strategies = [ours, matched_mix(mean, own.sessions)]
    fixed = {"spy": (1.0, 0.0, 0.0), "sixty_forty": (0.6, 0.4, 0.0)}
    eight = dict(zip(ALLOCATION_NAMES, map(tuple, ALLOCATION_WEIGHTS), strict=True))
    strategies += [
        constant(name, "fixed", mix, own.sessions)
        for name, mix in {**fixed, **eight, "mean_variance": (0.5, 0.5, 0.0)}.items()
    ]
    strategies.append(oracle(labels, own.sessions))
    return Comparison(
        bars=span,
        decisions=own,
        config=CONFIG,
        strategies={one.name: one for one in strategies},
        results={one.name: run(span, one.weights) for one in strategies},
        labels=labels.loc[labels.index.isin(own.sessions)],
        left_out={},
    )


def run(span: Bars, weights: pd.DataFrame):
    params = {"weights": weights}
    return run_backtest(span, ScheduledWeights, params=params, config=CONFIG.backtest)


def restless() -> pd.DataFrame:
    """Weights that change at random every session."""
    return random_weights(decisions().sessions, 9)
