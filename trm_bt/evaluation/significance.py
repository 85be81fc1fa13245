"""What of a comparison is more than luck: every figure that `compare` writes.

Figures that need `MIN_SESSIONS` sessions are None below them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from trm_bt.errors import ConfigError
from trm_bt.evaluation.assessment import (
    Assessment,
    BreakEven,
    ChanceTests,
    ComparedSpan,
    DeflatedSharpe,
    Overfitting,
    RandomStarts,
    SignificanceSettings,
    TrialsOverfitting,
)
from trm_bt.evaluation.benchmarks import MATCHED, ORACLE, OURS, baselines
from trm_bt.evaluation.comparison import (
    Comparison,
    by_period,
    calibration_and_confusion,
    compared_figures,
    regret_by_year,
    weights_by_volatility,
)
from trm_bt.evaluation.leads import draws_of, leads_of, resampling_of
from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.evaluation.statistics import (
    Resampling,
    alpha,
    confidence_set,
    expected_best_sharpe,
    interval,
    probabilistic_sharpe,
    sharpe_ratios,
    superiority,
)
from trm_bt.evaluation.trials import (
    TRIALS_BEFORE,
    Trial,
    n_distinct,
    sharpe_variance,
)
from trm_bt.market.bars import SESSIONS_PER_YEAR

COSTS_BPS: Final = np.arange(101.0)
"""Costs, in basis points, among which the break-even one is looked for."""
N_BLOCKS: Final = 16
"""Blocks of `backtest_overfitting`, as in its source: 12,870 ways to halve them."""
_NO_RISK: Final = 1e-6
"""Volatility below which a strategy has none: sums differ by round-off."""
_PATHS_AT_ONCE: Final = 250
_SAME: Final = 1e-9
_YEAR: Final = float(np.sqrt(SESSIONS_PER_YEAR))


def assess(
    comparison: Comparison,
    trials: Sequence[Trial],
    settings: SignificanceSettings,
    trial_returns: pd.DataFrame | None = None,
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
    """
    excess, everyone = comparison.excess, comparison.strategies
    best = best_of(comparison, comparison.allocations.names)
    strongest = best_of(comparison, [n for n, s in everyone.items() if s.is_open])
    watched = list(dict.fromkeys((OURS, MATCHED, "spy", "sixty_forty", best)))
    is_long = len(excess) >= MIN_SESSIONS
    start, end = (excess.index[row].date().isoformat() for row in (0, -1))
    reliability, confusion = calibration_and_confusion(comparison)
    return Assessment(
        span=ComparedSpan(start, end, len(excess)),
        settings=settings,
        strategies=compared_figures(comparison),
        best_fixed=best,
        best_benchmark=strongest,
        tests=_tests(comparison, trials, settings, trial_returns) if is_long else None,
        costs=break_even(comparison, [*watched[1:], "mean_variance", strongest])
        if is_long
        else None,
        subperiods=by_period(comparison, watched),
        regret_by_year=regret_by_year(comparison, watched),
        calibration=reliability,
        confusion=confusion,
        weights_by_volatility=weights_by_volatility(comparison),
        left_out=dict(comparison.left_out),
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
) -> ChanceTests:
    """Run every test; all of them resample the same sessions of all strategies."""
    excess = comparison.excess
    ours, matched = excess[OURS].to_numpy(), excess[MATCHED].to_numpy()
    resampling = resampling_of(excess, settings.n_draws, settings.seed)
    draws = draws_of(excess, resampling)
    of_a_run = {*baselines(comparison.allocations), MATCHED}
    superior, in_set, overfitting = _joint_tests(excess, resampling)
    return ChanceTests(
        block=resampling.block,
        sharpe_intervals={name: interval(values) for name, values in draws.items()},
        leads=leads_of(excess, draws, of_a_run),
        tracking_error=float((excess[OURS] - excess[MATCHED]).std()) * _YEAR,
        alpha=alpha(ours, matched),
        deflated=deflated_sharpe(comparison, trials, settings.n_earlier_trials),
        random_starts=random_starts(comparison, settings) if OURS in draws else None,
        superiority=superior,
        confidence_set=in_set,
        overfitting=overfitting,
        overfitting_of_trials=overfitting_of_trials(trial_returns, n_distinct(trials)),
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
    values, n_sessions = excess.to_numpy(), len(excess)
    ratio = float(sharpe_ratios(values[:, np.newaxis])[0])
    if np.isnan(ratio):
        return None
    span = excess.index[0].date(), excess.index[-1].date()
    same_span = [trial for trial in trials if trial.span == span]
    variance = sharpe_variance(same_span if len(same_span) > 1 else trials, n_sessions)
    n_trials = n_distinct(trials) + n_earlier + TRIALS_BEFORE
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
    comparison: Comparison, settings: SignificanceSettings
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
    rate = comparison.config.backtest.cost_bps / 1e4
    ratios = []
    for first in range(0, n_turns, _PATHS_AT_ONCE):
        some = turns[first : first + _PATHS_AT_ONCE]
        paths = weights[(np.arange(n_sessions)[:, np.newaxis] + some) % n_sessions]
        run = comparison.replayed(paths, np.full(len(some), rate))
        ratios.append(sharpe_ratios(run.excess(cash)))
    annual = np.concatenate(ratios) * _YEAR
    own = sharpe_ratios(comparison.excess[[OURS]].to_numpy())[0] * _YEAR
    n_as_good = int((annual >= own - _SAME).sum())
    low, median, high = np.percentile(annual, [5.0, 50.0, 95.0]).tolist()
    share, p_value = n_as_good / n_turns, (1 + n_as_good) / (1 + n_turns)
    return RandomStarts(n_turns, low, median, high, share, p_value)


def break_even(comparison: Comparison, names: Sequence[str]) -> dict[str, BreakEven]:
    """Return the cost at which the allocator's lead over each benchmark ends."""
    cash = comparison.cash_returns.to_numpy()[1:]

    def ratios(name: str) -> np.ndarray:
        return sharpe_ratios(comparison.at_costs(name, COSTS_BPS).excess(cash))

    ours = ratios(OURS)
    found = {}
    for name in dict.fromkeys(names):
        ahead = ours - ratios(name)
        is_ahead = bool(ahead[0] > _SAME)
        found[name] = BreakEven(is_ahead, first_crossing(ahead) if is_ahead else None)
    return found


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


def overfitting_of_trials(
    excess: pd.DataFrame | None, n_trials: int
) -> TrialsOverfitting | None:
    """Return the probability of overfitting among the trials themselves.

    Parameters
    ----------
    excess : DataFrame of shape (n_sessions, n_known) or None
        Session returns in excess of cash, a column a trial.
    n_trials : int
        Trials in the log, those without known returns included.
    """
    names, scaled = _distinct(pd.DataFrame() if excess is None else excess)
    if len(names) < 2:
        return None
    return TrialsOverfitting(**asdict(backtest_overfitting(scaled)), n_trials=n_trials)


def _joint_tests(
    excess: pd.DataFrame, resampling: Resampling
) -> tuple[dict[str, float], dict[str, float], Overfitting] | tuple[None, None, None]:
    """Return superiority, confidence set and overfitting of all but the oracle.

    Returns are taken in units of their own volatility, so that means are Sharpe ratios;
    of strategies with the same returns only the first is looked at.
    """
    names, scaled = _distinct(excess.drop(columns=ORACLE))
    if OURS not in names or len(names) < 2:
        return None, None, None
    in_set = dict(zip(names, confidence_set(scaled, resampling).tolist(), strict=True))
    superior: dict[str, float] = {}
    for name in (OURS, MATCHED):
        if name in names:
            place = names.index(name)
            others = np.delete(scaled, place, axis=1)
            superior[name] = superiority(scaled[:, place], others, resampling)
    return superior, in_set, backtest_overfitting(scaled)


def _distinct(excess: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Return names and scaled returns of the columns that differ, in their order."""
    scaled: Mapping[str, np.ndarray] = {
        str(name): (column / column.std()).to_numpy()
        for name, column in excess.items()
        if column.std() > _SAME
    }
    kept: list[str] = []
    for name, values in scaled.items():
        if all(np.abs(values - scaled[other]).max() > _SAME for other in kept):
            kept.append(name)
    return kept, np.array([scaled[name] for name in kept]).T


def backtest_overfitting(excess: np.ndarray, n_blocks: int = N_BLOCKS) -> Overfitting:
    r"""Return the probability of backtest overfitting among the strategies.

    Parameters
    ----------
    excess : ndarray of shape (n_sessions, n_strategies)
        Session returns in excess of cash of every strategy that might have been picked.
    n_blocks : int
        Even number of blocks of equal length; the oldest sessions that are left over
        are dropped.

    Raises
    ------
    ConfigError
        If there are fewer than 2 strategies, or `n_blocks` is odd or leaves blocks of
        fewer than 2 sessions.

    Notes
    -----
    With :math:`r` the rank out of sample of the best of N in sample, worst first, of
    ties their mean; a strategy without risk on a half, in cash, has the ratio 0 there:

    .. math:: \omega = r / (N + 1), \quad
        \mathrm{PBO} = P(\ln \frac{\omega}{1 - \omega} \le 0)

    References
    ----------
    Bailey, D., Borwein, J., López de Prado, M. and Zhu, Q. J. (2017). The probability
    of backtest overfitting. Journal of Computational Finance 20(4),
    doi:10.21314/JCF.2016.322.
    """
    n_sessions, n_strategies = excess.shape
    length = n_sessions // n_blocks
    if n_strategies < 2 or n_blocks % 2 or length < 2:
        raise ConfigError(
            "Overfitting needs 2 strategies or more and an even number of blocks of 2 "
            f"sessions or more, got {n_strategies} strategies, {n_sessions} sessions "
            f"and {n_blocks} blocks."
        )
    # one scale for everything changes no rank, and says what is round-off
    scaled = excess[-length * n_blocks :] / excess.std()
    blocks = scaled.reshape(n_blocks, length, n_strategies)
    halves = np.array(list(combinations(range(n_blocks), n_blocks // 2)))
    is_in = np.zeros((len(halves), n_blocks), dtype=bool)
    np.put_along_axis(is_in, halves, values=True, axis=1)
    inside, outside = (_sharpes(blocks, mask) for mask in (is_in, ~is_in))
    best = inside.argmax(axis=1)[:, np.newaxis]
    ranks = np.take_along_axis(stats.rankdata(outside, axis=1), best, axis=1)[:, 0]
    omega = ranks / (n_strategies + 1.0)
    later = np.take_along_axis(outside, best, axis=1)
    return Overfitting(
        float((np.log(omega / (1.0 - omega)) <= 0.0).mean()),
        n_strategies,
        len(halves),
        float((later < 0.0).mean()),
    )


def _sharpes(blocks: np.ndarray, is_taken: np.ndarray) -> np.ndarray:
    """Return Sharpe ratios over the taken blocks, shape (n_splits, n_strategies)."""
    n_taken = is_taken[0].sum() * blocks.shape[1]
    taken = is_taken.astype(np.float64)
    means = taken @ blocks.sum(axis=1) / n_taken
    squares = taken @ (blocks**2).sum(axis=1) / n_taken
    variances = np.maximum(squares - means**2, 0.0) * n_taken / (n_taken - 1)
    deviations = np.sqrt(variances)
    has_risk = deviations > _NO_RISK
    return np.where(has_risk, means / np.where(has_risk, deviations, 1.0), 0.0)
