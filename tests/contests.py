"""A contest on random bars, held once, and small ones made by hand."""

from functools import cache

import numpy as np
import pandas as pd

from tests.conftest import make_bars
from tests.test_replay import random_weights
from trm_bt.backtest import run_backtest
from trm_bt.config import BacktestConfig, TRMConfig
from trm_bt.evaluation.benchmarks import (
    Decided,
    constant,
    label_table,
    matched_rival,
    oracle_rival,
)
from trm_bt.evaluation.comparison import Contest, hold_contest
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.strategies.scheduled import ScheduledWeights

CONFIG = TRMConfig(backtest=BacktestConfig(initial_cash=1000.0, cost_bps=10.0))
N_BEFORE = 330
N_DECIDED = 270


@cache
def market() -> Bars:
    return make_bars(N_BEFORE + N_DECIDED, seed=8)


def decided_at_random(sessions: pd.DatetimeIndex, known_on: pd.Timestamp) -> Decided:
    """Draw a class every five sessions, and a confidence; abstain on two sessions."""
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
    return Decided(weights, classes, confidence, known_by)


@cache
def decided() -> Decided:
    sessions = market().sessions
    return decided_at_random(sessions[N_BEFORE:], sessions[N_BEFORE - 10])


@cache
def contest() -> Contest:
    """All rivals over 270 sessions."""
    return hold_contest(market(), decided(), CONFIG)


def small_contest(
    weights: pd.DataFrame | None = None, *, n_sessions: int = N_DECIDED
) -> Contest:
    """Return a contest of the given weights, some fixed mixes and the oracle."""
    last = market().sessions[N_BEFORE + n_sessions - 1]
    bars = market().between(end=last)
    own = decided().between(None, last)
    if weights is not None:
        own = Decided(weights, own.classes, own.confidence, own.known_by)
    span = bars.between(own.sessions[0])
    _, labels = label_table(bars, CONFIG)
    ours = constant("trm", "ours", (1.0, 0.0, 0.0), own.sessions)
    ours = type(ours)("trm", "ours", own.weights, classes=own.classes)
    mean = run(span, own.weights).weights.iloc[1:].mean()
    rivals = [ours, matched_rival(mean, own.sessions)]
    fixed = {"spy": (1.0, 0.0, 0.0), "sixty_forty": (0.6, 0.4, 0.0)}
    eight = dict(zip(ALLOCATION_NAMES, map(tuple, ALLOCATION_WEIGHTS), strict=True))
    rivals += [
        constant(name, "fixed", mix, own.sessions)
        for name, mix in {**fixed, **eight, "mean_variance": (0.5, 0.5, 0.0)}.items()
    ]
    rivals.append(oracle_rival(labels, own.sessions))
    return Contest(
        bars=span,
        decided=own,
        config=CONFIG,
        rivals={rival.name: rival for rival in rivals},
        results={rival.name: run(span, rival.weights) for rival in rivals},
        labels=labels.loc[labels.index.isin(own.sessions)],
        volatility=span.volatility["close"],
        left_out={},
    )


def run(span: Bars, weights: pd.DataFrame):
    params = {"weights": weights}
    return run_backtest(span, ScheduledWeights, params=params, config=CONFIG.backtest)


def restless() -> pd.DataFrame:
    """Weights that change at random every session."""
    return random_weights(decided().sessions, 9)
