"""What of a comparison is more than luck: every figure that `compare` writes.

Figures that need `MIN_SESSIONS` sessions are None below them.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from trm_bt.config import TRMConfig
from trm_bt.evaluation.assessment import (
    Assessment,
    BreakEven,
    ChanceTests,
    ComparedSpan,
    DeflatedSharpe,
    RandomStarts,
    SignificanceSettings,
)
from trm_bt.evaluation.benchmarks import MATCHED, ORACLE, OURS, baselines
from trm_bt.evaluation.comparison import (
    Comparison,
    by_period,
    calibration_and_confusion,
    compared_figures,
    regret_by_year,
    replay_in,
    weights_by_volatility,
)
from trm_bt.evaluation.leads import draws_of, leads_of, resampling_of
from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.evaluation.overfitting import (
    backtest_overfitting,
    distinct,
    overfitting_of_trials,
)
from trm_bt.evaluation.regression import alpha
from trm_bt.evaluation.risk_skill import risk_skill
from trm_bt.evaluation.statistics import (
    Resampling,
    confidence_set,
    expected_best_sharpe,
    interval,
    probabilistic_sharpe,
    sharpe_ratios,
    superiority,
)
from trm_bt.evaluation.trials import TRIALS_BEFORE, Trial, n_distinct, sharpe_variance
from trm_bt.executors import Runner, opened, share
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.tasks import Task, in_order

COSTS_BPS: Final = np.arange(101.0)
"""Costs, in basis points, among which the break-even one is looked for."""
_PATHS_AT_ONCE: Final = 250
_N_PROCESSES: Final = 7
"""Tests that wait for no other."""
_IN_SET: Final = "confidence set"
_OVERFITTING: Final = "overfitting"
_SAME: Final = 1e-9
_YEAR: Final = float(np.sqrt(SESSIONS_PER_YEAR))


def assess(
    comparison: Comparison,
    trials: Sequence[Trial],
    settings: SignificanceSettings,
    trial_returns: pd.DataFrame | None = None,
    executor: Runner = 1,
) -> Assessment:
    """Return every figure of a comparison.

    Parameters
    ----------
    comparison : Comparison
    trials : sequence of Trial
        The log, this run included.
    settings : SignificanceSettings
    trial_returns : DataFrame of shape (n_sessions, n_known), optional
        Excess returns of the trials that are known on every session.
    executor : Executor, Workers or int, optional
        Who draws; a number for so many processes.
    """
    excess, everyone = comparison.excess, comparison.strategies
    best = best_of(comparison, comparison.allocations.names)
    strongest = best_of(comparison, [n for n, s in everyone.items() if s.is_open])
    watched = list(dict.fromkeys((OURS, MATCHED, "spy", "sixty_forty", best)))
    is_long = len(excess) >= MIN_SESSIONS
    start, end = (excess.index[row].date().isoformat() for row in (0, -1))
    reliability, confusion = calibration_and_confusion(comparison)
    tests, costs = None, None
    if is_long:
        names = [*watched[1:], "mean_variance", strongest]
        with opened(executor, _N_PROCESSES) as pool:
            tests = _tests(comparison, trials, settings, trial_returns, pool)
            costs = break_even(comparison, names, pool)
    return Assessment(
        span=ComparedSpan(start, end, len(excess)),
        settings=settings,
        strategies=compared_figures(comparison),
        best_fixed=best,
        best_benchmark=strongest,
        tests=tests,
        costs=costs,
        subperiods=by_period(comparison, watched),
        regret_by_year=regret_by_year(comparison, watched),
        calibration=reliability,
        confusion=confusion,
        weights_by_volatility=weights_by_volatility(comparison),
        left_out=dict(comparison.left_out),
        risk_skill=risk_skill(comparison.risk) if comparison.risk else None,
    )


def best_of(comparison: Comparison, names: Sequence[str]) -> str:
    """Return the strategy with the best Sharpe ratio, or the best return if short."""
    values = comparison.excess[list(names)].to_numpy()
    is_long = len(values) >= MIN_SESSIONS
    merits = sharpe_ratios(values) if is_long else values.sum(axis=0)
    return names[int(np.nan_to_num(merits, nan=-np.inf).argmax())]


def _tests(
    comparison: Comparison,
    trials: Sequence[Trial],
    settings: SignificanceSettings,
    trial_returns: pd.DataFrame | None,
    pool: Executor,
) -> ChanceTests:
    """Run every test; all of them resample the same sessions of all strategies."""
    excess = comparison.excess
    ours, matched = excess[OURS].to_numpy(), excess[MATCHED].to_numpy()
    resampling = resampling_of(excess, settings.n_draws, settings.seed)
    n_trials = n_distinct(trials)
    joint = _joint_tests(excess, resampling)
    draws, of_trials, *found = in_order(
        [
            Task("draws", draws_of, (excess, resampling)),
            Task("trials", overfitting_of_trials, (trial_returns, n_trials)),
            *joint.values(),
        ],
        pool,
    )
    of_tests = dict(zip(joint, found, strict=True))
    of_a_run = {*baselines(comparison.allocations), MATCHED}
    superior: dict[str, float] = {
        name: of_tests[name] for name in (OURS, MATCHED) if name in of_tests
    }
    return ChanceTests(
        block=resampling.block,
        sharpe_intervals={name: interval(values) for name, values in draws.items()},
        leads=leads_of(excess, draws, of_a_run),
        tracking_error=float((excess[OURS] - excess[MATCHED]).std()) * _YEAR,
        alpha=alpha(ours, matched),
        deflated=deflated_sharpe(comparison, trials, settings.n_earlier_trials),
        random_starts=random_starts(comparison, settings, pool)
        if OURS in draws
        else None,
        superiority=superior if joint else None,
        confidence_set=of_tests.get(_IN_SET),
        overfitting=of_tests.get(_OVERFITTING),
        overfitting_of_trials=of_trials,
    )


def deflated_sharpe(
    comparison: Comparison, trials: Sequence[Trial], n_earlier: int = 0
) -> DeflatedSharpe | None:
    """Return the allocator's probabilistic and deflated Sharpe ratio.

    Trials are those of the log, the earlier ones, and those that the shipped settings
    were chosen after. The variance across trials is that of the trials over the same
    span if there are two or more, else of all in the log; never below that of sampling.
    """
    excess = comparison.excess[OURS]
    span = excess.index[0].date(), excess.index[-1].date()
    same_span = [trial for trial in trials if trial.span == span]
    compared = same_span if len(same_span) > 1 else trials
    variance = sharpe_variance([trial.sharpe for trial in compared], len(excess))
    n_trials = n_distinct(trials) + n_earlier + TRIALS_BEFORE
    return deflate(excess.to_numpy(), variance, n_trials)


def deflate(
    values: np.ndarray, variance: float, n_trials: int
) -> DeflatedSharpe | None:
    """Return a probabilistic and a deflated Sharpe ratio; None where nothing varies.

    Parameters
    ----------
    values : ndarray of shape (n_sessions,)
        Session returns in excess of cash.
    variance : float
        Of the Sharpe ratios across trials, of one session.
    n_trials : int
        Trials of which these are the best.
    """
    n_sessions = len(values)
    ratio = float(sharpe_ratios(values[:, np.newaxis])[0])
    if np.isnan(ratio):
        return None
    best = expected_best_sharpe(variance, n_trials)
    skew = float(stats.skew(values))
    kurtosis = float(stats.kurtosis(values, fisher=False))
    moments = n_sessions, skew, kurtosis
    return DeflatedSharpe(
        n_trials,
        best * _YEAR,
        probabilistic_sharpe(ratio, 0.0, *moments),
        probabilistic_sharpe(ratio, best, *moments),
        skew,
        kurtosis,
    )


def random_starts(
    comparison: Comparison, settings: SignificanceSettings, pool: Executor
) -> RandomStarts:
    """Return how the allocator's own weights do when they begin at another session.

    The table of weights is turned like a ring by a random number of sessions: average
    weights and turnover stay, and all timing is lost.
    """
    weights = comparison.decisions.weights[["equity", "bond"]].to_numpy()
    n_sessions = len(weights)
    rng = np.random.default_rng(settings.seed)
    n_turns = min(settings.n_random, n_sessions - 1)
    turns = 1 + rng.choice(n_sessions - 1, n_turns, replace=False)
    cash = comparison.cash_returns.to_numpy()[1:]
    replayed = (share(pool, comparison.bars), comparison.config, cash, weights)
    parts = [
        turns[first : first + _PATHS_AT_ONCE]
        for first in range(0, n_turns, _PATHS_AT_ONCE)
    ]
    tasks = [Task(str(i), _turned, (*replayed, some)) for i, some in enumerate(parts)]
    ratios = in_order(tasks, pool)
    annual = np.concatenate(ratios) * _YEAR
    own = sharpe_ratios(comparison.excess[[OURS]].to_numpy())[0] * _YEAR
    n_as_good = int((annual >= own - _SAME).sum())
    low, median, high = np.percentile(annual, [5.0, 50.0, 95.0]).tolist()
    p_value = (1 + n_as_good) / (1 + n_turns)
    return RandomStarts(n_turns, low, median, high, n_as_good / n_turns, p_value)


def _turned(
    bars: Bars,
    config: TRMConfig,
    cash: np.ndarray,
    weights: np.ndarray,
    turns: np.ndarray,
) -> np.ndarray:
    """Return Sharpe ratios of weights that begin elsewhere, shape (n_turns,)."""
    n_sessions = len(weights)
    paths = weights[(np.arange(n_sessions)[:, np.newaxis] + turns) % n_sessions]
    rates = np.full(len(turns), config.backtest.cost_bps / 1e4)
    return sharpe_ratios(replay_in(bars, config, paths, rates).excess(cash))


def break_even(
    comparison: Comparison, names: Sequence[str], pool: Executor
) -> dict[str, BreakEven]:
    """Return the cost at which the allocator's lead over each benchmark ends."""
    cash = comparison.cash_returns.to_numpy()[1:]
    replayed = (share(pool, comparison.bars), comparison.config, cash)
    held = {
        name: comparison.strategies[name].weights[["equity", "bond"]].to_numpy()
        for name in dict.fromkeys((OURS, *names))
    }
    tasks = [Task(name, _at_costs, (*replayed, own)) for name, own in held.items()]
    ours, *others = in_order(tasks, pool)
    found = {}
    for name, ratios in zip(list(held)[1:], others, strict=True):
        ahead = ours - ratios
        is_ahead = bool(ahead[0] > _SAME)
        found[name] = BreakEven(is_ahead, first_crossing(ahead) if is_ahead else None)
    return found


def _at_costs(
    bars: Bars, config: TRMConfig, cash: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return Sharpe ratios of weights, shape (n_sessions, 2), at each of the costs."""
    targets = weights[:, np.newaxis].astype(np.float64)
    run = replay_in(bars, config, targets, COSTS_BPS / 1e4)
    return sharpe_ratios(run.excess(cash))


def first_crossing(ahead: np.ndarray) -> float | None:
    """Return where a lead that begins above zero first ends, in steps from the start.

    Parameters
    ----------
    ahead : ndarray of shape (n_steps,)

    Examples
    --------
    >>> first_crossing(np.array([2.0, 1.0, -1.0])), first_crossing(np.array([2.0, 1.0]))
    (1.5, None)
    """
    is_over = ahead <= 0.0
    if not is_over.any():
        return None
    after = int(is_over.argmax())
    return float(after - 1 + ahead[after - 1] / (ahead[after - 1] - ahead[after]))


def _joint_tests(excess: pd.DataFrame, resampling: Resampling) -> dict[str, Task]:
    """Return superiority, confidence set and overfitting of all but the oracle.

    Returns are taken in units of their own volatility, so that means are Sharpe ratios;
    of strategies with the same returns only the first is looked at.
    """
    names, scaled = distinct(excess.drop(columns=ORACLE))
    if OURS not in names or len(names) < 2:
        return {}
    found = {
        _IN_SET: Task(_IN_SET, _confidence_by_name, (names, scaled, resampling)),
        _OVERFITTING: Task(_OVERFITTING, backtest_overfitting, (scaled,)),
    }
    for name in (OURS, MATCHED):
        if name in names:
            place = names.index(name)
            others = np.delete(scaled, place, axis=1)
            given = (scaled[:, place], others, resampling)
            found[name] = Task(name, superiority, given)
    return found


def _confidence_by_name(
    names: list[str], scaled: np.ndarray, resampling: Resampling
) -> dict[str, float]:
    p_values = confidence_set(scaled, resampling).tolist()
    return dict(zip(names, p_values, strict=True))
