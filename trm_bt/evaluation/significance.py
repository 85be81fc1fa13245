"""What a contest proves, as plain numbers: everything that `compare` prints and writes.

Figures that need `MIN_SESSIONS` sessions are None below them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats

from trm_bt.evaluation import breakdowns
from trm_bt.evaluation.benchmarks import MATCHED, ORACLE, OURS, Rival
from trm_bt.evaluation.comparison import Contest
from trm_bt.evaluation.metrics import MIN_SESSIONS, summarize_strategy
from trm_bt.evaluation.overfitting import backtest_overfitting
from trm_bt.evaluation.replay import replay
from trm_bt.evaluation.statistics import (
    Resampling,
    alpha,
    block_length,
    confidence_set,
    expected_best_sharpe,
    interval,
    lead,
    probabilistic_sharpe,
    resampled_sharpes,
    sharpe_ratios,
    superiority,
)
from trm_bt.evaluation.trials import Trial, n_distinct, sharpe_variance
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.bars import SESSIONS_PER_YEAR

COSTS_BPS: Final = np.arange(101.0)
"""Costs among which the break-even one is looked for."""
_PATHS_AT_ONCE: Final = 250
_SAME: Final = 1e-9


@dataclass(frozen=True)
class JudgeSettings:
    """How much chance is drawn.

    Parameters
    ----------
    n_draws : int
        Histories resampled for each test.
    n_random : int
        Random starts of the allocator's own weights.
    seed : int
        Of both, and of the rivals that are trained.
    n_earlier_trials : int
        Trials that were made before the log began.
    """

    n_draws: int = 2000
    n_random: int = 1000
    seed: int = 0
    n_earlier_trials: int = 0


def judge(
    contest: Contest,
    trials: Sequence[Trial],
    settings: JudgeSettings,
    earned: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Return every figure of a contest as JSON values.

    Parameters
    ----------
    contest : Contest
    trials : sequence of Trial
        The log, this run included.
    settings : JudgeSettings
    earned : DataFrame of shape (n_sessions, n_known), optional
        Excess returns of those trials of which they are known on every session.

    Returns
    -------
    dict
        Keys span, settings, strategies, best_fixed, best_rival, tests (None under
        `MIN_SESSIONS` sessions), costs, subperiods, regret_by_year, calibration,
        confusion, weights_by_volatility and left_out.
    """
    best = best_of(contest, ALLOCATION_NAMES)
    rival = best_of(contest, [n for n, r in contest.rivals.items() if is_open(r)])
    watched = [OURS, MATCHED, "spy", "sixty_forty", best]
    is_long = len(contest.excess) >= MIN_SESSIONS
    return {
        "span": {
            "start": contest.excess.index[0].date().isoformat(),
            "end": contest.excess.index[-1].date().isoformat(),
            "sessions": len(contest.excess),
        },
        "settings": asdict(settings),
        "strategies": strategy_figures(contest),
        "best_fixed": best,
        "best_rival": rival,
        "tests": {
            **chance(contest, trials, settings),
            "overfitting_of_trials": among_trials(earned, n_distinct(trials)),
        }
        if is_long
        else None,
        "costs": costs(contest, [*watched[1:], "mean_variance", rival])
        if is_long
        else None,
        "subperiods": breakdowns.by_period(contest, watched),
        "regret_by_year": breakdowns.regret_by_year(contest, watched),
        "calibration": breakdowns.calibration(contest),
        "confusion": breakdowns.confusion(contest),
        "weights_by_volatility": breakdowns.weights_by_volatility(contest),
        "left_out": dict(contest.left_out),
    }


def is_open(rival: Rival) -> bool:
    """Tell whether someone could have followed a rival without knowing the future."""
    return rival.kind not in ("ours", "hindsight")


def best_of(contest: Contest, names: Sequence[str]) -> str:
    """Return the strategy with the best Sharpe ratio, or the best return if short."""
    values = contest.excess[list(names)].to_numpy()
    is_long = len(values) >= MIN_SESSIONS
    merits = sharpe_ratios(values) if is_long else values.sum(axis=0)
    return names[int(np.nan_to_num(merits, nan=-np.inf).argmax())]


def strategy_figures(contest: Contest) -> dict[str, dict[str, Any]]:
    """Return what each strategy earned, risked, traded, missed and lost to costs."""
    regret = contest.regret.mean()
    winners = contest.labels["winner"]
    figures = {}
    for name, rival in contest.rivals.items():
        result = contest.results[name]
        paid = contest.equity[name].iloc[-1] / contest.equity[name].iloc[0]
        figures[name] = {
            "kind": rival.kind,
            "note": rival.note,
            "sessions_waiting": rival.n_waiting,
            **summarize_strategy(
                result.equity, orders=result.orders, cash_returns=contest.cash_returns
            ),
            "regret": round(float(regret[name]), 12) + 0.0 if len(winners) else None,
            "accuracy": accuracy_of(rival, contest),
            "lost_to_costs": float(1.0 - paid / contest.free_growth[name]),
            "rejected_orders": result.n_rejected,
        }
    return figures


def accuracy_of(rival: Rival, contest: Contest) -> float | None:
    """Return how often a rival picked the best of the eight, None if it never picks.

    Of the sessions on which it picks one and the best is known.
    """
    if rival.classes is None:
        return None
    winners = contest.labels["winner"]
    picked = rival.classes[contest.bars.sessions.get_indexer(winners.index)]
    is_picked = picked >= 0
    if not is_picked.any():
        return None
    return float((picked == winners.to_numpy())[is_picked].mean())


def chance(
    contest: Contest, trials: Sequence[Trial], settings: JudgeSettings
) -> dict[str, Any]:
    """Return the tests: what of the figures is more than luck.

    Returns
    -------
    dict
        Keys block (mean sessions of a resampled block), sharpe_intervals, leads (of the
        allocator over each rival), tracking_error and alpha (over the exposure-matched
        mix), deflated, random_starts, superiority, confidence_set and overfitting.
    """
    excess = contest.excess
    block = block_length(excess[OURS].to_numpy())
    how = Resampling(block, settings.n_draws, settings.seed)
    draws = dict(zip(excess, resampled_sharpes(excess.to_numpy(), how).T, strict=True))
    is_varied = {name: bool(np.isfinite(d).all()) for name, d in draws.items()}
    ratios = sharpe_ratios(excess.to_numpy()) * np.sqrt(SESSIONS_PER_YEAR)
    annual = dict(zip(excess, ratios.tolist(), strict=True))
    leads = {
        name: asdict(lead(annual[OURS] - annual[name], draws[OURS] - draws[name]))
        for name in excess
        if name != OURS and is_varied[name] and is_varied[OURS]
    }
    own_alpha = alpha(excess[OURS].to_numpy(), excess[MATCHED].to_numpy())
    return {
        "block": block,
        "sharpe_intervals": {
            name: interval(draws[name]) for name in excess if is_varied[name]
        },
        "leads": leads,
        "tracking_error": tracking_error(contest),
        "alpha": None if own_alpha is None else asdict(own_alpha),
        "deflated": deflated(contest, trials, settings),
        "random_starts": random_starts(contest, settings) if is_varied[OURS] else None,
        **_among_all(contest, how),
    }


def tracking_error(contest: Contest) -> float:
    """Return the volatility a year of what sets the allocator and its mix apart."""
    apart = contest.excess[OURS] - contest.excess[MATCHED]
    return float(apart.std() * np.sqrt(SESSIONS_PER_YEAR))


def deflated(
    contest: Contest, trials: Sequence[Trial], settings: JudgeSettings
) -> dict[str, Any] | None:
    """Return the allocator's probabilistic and deflated Sharpe ratio.

    The variance across trials is that of the trials over the same span if there are
    two or more, else of all in the log; never below that of sampling.
    """
    excess = contest.excess[OURS].to_numpy()
    ratio, n_sessions = float(sharpe_ratios(excess[:, np.newaxis])[0]), len(excess)
    if np.isnan(ratio):
        return None
    span = contest.excess.index[0].date(), contest.excess.index[-1].date()
    same_span = [trial for trial in trials if trial.span == span]
    variance = sharpe_variance(same_span if len(same_span) > 1 else trials, n_sessions)
    n_trials = n_distinct(trials) + settings.n_earlier_trials
    best = expected_best_sharpe(variance, n_trials)
    skew = float(stats.skew(excess))
    kurtosis = float(stats.kurtosis(excess, fisher=False))
    moments = n_sessions, skew, kurtosis
    return {
        "n_trials": n_trials,
        "best_by_luck": best * float(np.sqrt(SESSIONS_PER_YEAR)),
        "probabilistic": probabilistic_sharpe(ratio, 0.0, *moments),
        "deflated": probabilistic_sharpe(ratio, best, *moments),
        "skew": skew,
        "kurtosis": kurtosis,
    }


def random_starts(contest: Contest, settings: JudgeSettings) -> dict[str, Any]:
    """Return how the allocator's own weights do when they begin at another session.

    Its table of weights is turned like a ring by a random number of sessions: average
    weights and turnover stay, and all timing is lost.
    """
    weights = contest.decided.weights[["equity", "bond"]].to_numpy()
    n_sessions = len(weights)
    rng = np.random.default_rng(settings.seed)
    n_turns = min(settings.n_random, n_sessions - 1)
    turns = 1 + rng.choice(n_sessions - 1, n_turns, replace=False)
    cash = contest.cash_returns.to_numpy()[1:]
    cost = contest.config.backtest.cost_bps / 1e4
    band = contest.config.strategy.rebalance_band
    ratios = []
    for first in range(0, n_turns, _PATHS_AT_ONCE):
        some = turns[first : first + _PATHS_AT_ONCE]
        rows = (np.arange(n_sessions)[:, np.newaxis] + some) % n_sessions
        paths = replay(contest.bars, weights[rows], np.full(len(some), cost), band=band)
        ratios.append(sharpe_ratios(paths.excess(cash)))
    annual = np.concatenate(ratios) * np.sqrt(SESSIONS_PER_YEAR)
    own = sharpe_ratios(contest.excess[[OURS]].to_numpy())[0]
    n_as_good = int((annual >= own * np.sqrt(SESSIONS_PER_YEAR) - _SAME).sum())
    low, median, high = np.percentile(annual, [5.0, 50.0, 95.0])
    return {
        "n": n_turns,
        "sharpe_5": float(low),
        "sharpe_median": float(median),
        "sharpe_95": float(high),
        "share_as_good": n_as_good / n_turns,
        "p_value": (1 + n_as_good) / (1 + n_turns),
    }


def costs(contest: Contest, rivals: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the cost at which the allocator's lead over each rival ends.

    Returns
    -------
    dict of str to dict
        By rival: `is_ahead_free`, whether it leads by Sharpe ratio at no cost, and
        `break_even_bps`, None where it never leads or always does up to 100.
    """
    cash = contest.cash_returns.to_numpy()[1:]

    def ratios(name: str) -> np.ndarray:
        return sharpe_ratios(contest.at_costs(name, COSTS_BPS).excess(cash))

    ours = ratios(OURS)
    found = {}
    for name in dict.fromkeys(rivals):
        ahead = ours - ratios(name)
        is_ahead = bool(ahead[0] > _SAME)
        found[name] = {
            "is_ahead_free": is_ahead,
            "break_even_bps": first_crossing(ahead) if is_ahead else None,
        }
    return found


def first_crossing(ahead: np.ndarray) -> float | None:
    """Return where a lead that begins above zero first ends, in steps from the start.

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


def among_trials(earned: pd.DataFrame | None, n_trials: int) -> dict[str, Any] | None:
    """Return the probability of overfitting among the trials themselves.

    Parameters
    ----------
    earned : DataFrame of shape (n_sessions, n_known) or None
        Session returns in excess of cash, a column a trial.
    n_trials : int
        Trials in the log, those of which no returns are known included.

    Returns
    -------
    dict or None
        What `backtest_overfitting` finds, and `n_trials`; None where fewer than two
        differ.
    """
    if earned is None:
        return None
    names, scaled = _distinct(earned)
    if len(names) < 2:
        return None
    return {**asdict(backtest_overfitting(scaled)), "n_trials": n_trials}


def _among_all(contest: Contest, how: Resampling) -> dict[str, Any]:
    """Return the tests that look at all strategies at once, the oracle left out.

    Returns are taken in units of their own volatility, so that means are Sharpe ratios;
    of strategies with the same returns only the first is looked at.
    """
    names, scaled = _distinct(contest.excess.drop(columns=ORACLE))
    nothing = {"superiority": None, "confidence_set": None, "overfitting": None}
    if OURS not in names or len(names) < 2:
        return nothing
    in_set = dict(zip(names, confidence_set(scaled, how).tolist(), strict=True))
    superior = {
        name: superiority(
            scaled[:, names.index(name)],
            np.delete(scaled, names.index(name), axis=1),
            how,
        )["consistent"]
        for name in (OURS, MATCHED)
        if name in names
    }
    return {
        "superiority": superior,
        "confidence_set": in_set,
        "overfitting": asdict(backtest_overfitting(scaled)),
    }


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
