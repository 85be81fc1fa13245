"""A contest by period, by year, by confidence, by class and by volatility level."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from trm_bt.evaluation.benchmarks import OURS
from trm_bt.evaluation.calibration import calibration as calibration_of
from trm_bt.evaluation.comparison import Contest
from trm_bt.evaluation.metrics import max_drawdown, sharpe, total_return
from trm_bt.market.allocations import ALLOCATION_NAMES

PERIOD_YEARS: Final = 5
VOLATILITY_EDGES: Final = (0.0, 15.0, 20.0, 25.0, 30.0, 40.0, float("inf"))


def by_period(contest: Contest, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return figures of some strategies in blocks of five calendar years.

    Parameters
    ----------
    contest : Contest
    names : sequence of str
        Strategies to show.

    Returns
    -------
    list of dict
        Keys start, end, sessions and strategies (name to total_return, sharpe and
        max_drawdown), oldest first. Blocks end with years that end in 4 and 9.
    """
    rows = []
    equity, shown = contest.equity, list(dict.fromkeys(names))
    for first, last in _periods(pd.DatetimeIndex(equity.index)):
        block = equity.iloc[first - 1 : last]
        rows.append(
            {
                "start": equity.index[first].date().isoformat(),
                "end": equity.index[last - 1].date().isoformat(),
                "sessions": last - first,
                "strategies": {
                    name: {
                        "total_return": total_return(block[name]),
                        "sharpe": sharpe(block[name], contest.cash_returns),
                        "max_drawdown": max_drawdown(block[name]),
                    }
                    for name in shown
                },
            }
        )
    return rows


def _periods(sessions: pd.DatetimeIndex) -> Iterator[tuple[int, int]]:
    """Yield first and last (exclusive) row of each block, the base row left out."""
    blocks = np.asarray(sessions.year) // PERIOD_YEARS
    for block in np.unique(blocks[1:]):
        rows = np.flatnonzero(blocks == block)
        yield max(int(rows[0]), 1), int(rows[-1]) + 1


def regret_by_year(
    contest: Contest, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the mean regret of some strategies in each year.

    Returns
    -------
    dict of str to dict
        Year to (name to decimal over the horizon of a label).
    """
    regret = contest.regret[list(dict.fromkeys(names))]
    yearly = regret.groupby(pd.DatetimeIndex(regret.index).year).mean()
    return {
        str(year): {str(name): float(value) for name, value in row.items()}
        for year, row in yearly.iterrows()
    }


def calibration(contest: Contest) -> list[dict[str, Any]]:
    """Return how often the allocator was right at each confidence.

    Returns
    -------
    list of dict
        Keys low, high, sessions, confidence (mean) and accuracy, for the tenths of the
        confidence that came up.
    """
    winners, classes, confidence = _decided_and_best(contest)
    return calibration_of(confidence, classes == winners)


def confusion(contest: Contest) -> list[list[int]]:
    """Return counts of sessions, shape (8, 8): the decided class by the best one.

    Row i, column j: the allocator's most probable class was i, and j was the best.
    """
    winners, classes, _ = _decided_and_best(contest)
    n_classes = len(ALLOCATION_NAMES)
    pairs = np.bincount(classes * n_classes + winners, minlength=n_classes**2)
    counts: list[list[int]] = pairs.reshape(n_classes, n_classes).tolist()
    return counts


def weights_by_volatility(contest: Contest) -> list[dict[str, Any]]:
    """Return the allocator's average target weights by level of the volatility index.

    Returns
    -------
    list of dict
        Keys low, high (None for no end), sessions, equity, bond and cash, for the
        levels that came up at the deciding closes.
    """
    weights = contest.rivals[OURS].weights
    level = contest.volatility.reindex(weights.index)
    rows = []
    for low, high in pairwise(VOLATILITY_EDGES):
        is_in = ((level >= low) & (level < high)).to_numpy()
        if is_in.any():
            rows.append(
                {
                    "low": low,
                    "high": None if np.isinf(high) else high,
                    "sessions": int(is_in.sum()),
                    **{str(k): float(v) for k, v in weights[is_in].mean().items()},
                }
            )
    return rows


def _decided_and_best(contest: Contest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return best class, decided class and confidence where both classes are known."""
    rows = contest.decided.sessions.get_indexer(pd.DatetimeIndex(contest.labels.index))
    is_decided = contest.decided.classes[rows] >= 0
    rows = rows[is_decided]
    winners = contest.labels["winner"].to_numpy(np.int64)[is_decided]
    return winners, contest.decided.classes[rows], contest.decided.confidence[rows]
