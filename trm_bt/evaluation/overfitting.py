"""How often the best of several strategies is the best by luck alone.

Combinatorially symmetric cross-validation: the history is cut into blocks, every half
of the blocks picks the best strategy, and the other half says what the pick was worth.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from scipy.stats import rankdata

from trm_bt.errors import ConfigError

N_BLOCKS: Final = 16
"""As in the paper: 12,870 ways to take half of them."""
_ROUND_OFF: Final = 1e-6
"""Of the volatility of all; the difference of two sums is no nearer to zero."""


@dataclass(frozen=True)
class Overfitting:
    """What became of the strategy that was the best of each half.

    Parameters
    ----------
    probability : float
        Share of the halves whose best strategy is in the worse half of all strategies
        on the other sessions; about a half where luck alone picks.
    n_strategies, n_splits : int
        Strategies compared, and ways to halve the history.
    loss_probability : float
        Share of the halves whose best strategy has a Sharpe ratio below 0 on the other
        sessions.
    """

    probability: float
    n_strategies: int
    n_splits: int
    loss_probability: float


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
    ranks = np.take_along_axis(rankdata(outside, axis=1), best, axis=1)[:, 0]
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
    has_risk = deviations > _ROUND_OFF
    return np.where(has_risk, means / np.where(has_risk, deviations, 1.0), 0.0)
