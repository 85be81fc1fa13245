"""How far the best of many strategies in one half of a history falls in the other."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from trm_bt.errors import ConfigError
from trm_bt.evaluation.assessment import Overfitting, TrialsOverfitting

N_BLOCKS: Final = 16
"""Blocks of `backtest_overfitting`, as in its source: 12,870 ways to halve them."""
_NO_RISK: Final = 1e-6
"""Volatility below which a strategy has none: sums differ by round-off."""
_SAME: Final = 1e-9


def overfitting_of_trials(
    excess: pd.DataFrame | None, n_trials: int
) -> TrialsOverfitting | None:
    """Return the probability of overfitting among the trials themselves.

    Parameters
    ----------
    excess : DataFrame of shape (n_sessions, n_known) or None
        Session returns in excess of cash, a column per trial.
    n_trials : int
        Trials in the log, those without known returns included.
    """
    names, scaled = distinct(pd.DataFrame() if excess is None else excess)
    if len(names) < 2:
        return None
    return TrialsOverfitting(**asdict(backtest_overfitting(scaled)), n_trials=n_trials)


def distinct(excess: pd.DataFrame) -> tuple[list[str], np.ndarray]:
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
