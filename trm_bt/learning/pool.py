r"""How much the rows of several universes count when one model is trained on them all.

On a session the equities of several universes tell nearly the same story, so that their
rows count for less than their number. With :math:`\rho_{ij}` the correlation of what
universes i and j teach, a row of universe i counts

.. math:: w_i = 1 / \sum_j \rho_{ij}, \qquad \rho_{ii} = 1,

the sum taken over the universes that have a row on its session. Where all correlations
are :math:`\rho`, the m rows of a session together count
:math:`m / (1 + (m - 1) \rho)`, their effective sample by Kish's design effect; two
copies of one universe count as one. Labels overlap in time as well, and each is unique
by one part in `horizon`: that divides all weights alike, and a weighted mean does not
see it.

References
----------
Kish, L. (1965). Survey Sampling, section 5.4: the design effect. López de Prado, M.
(2018). Advances in Financial Machine Learning, chapter 4: average uniqueness. Leinster,
T. and Cobbold, C. (2012). Measuring diversity: the importance of species similarity.
Ecology 93(3).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from trm_bt.learning.dataset import Samples

MIN_ROWS: Final = 252
"""Training rows, a year, below which a further universe waits for a later training."""


def joined(samples: Samples) -> Samples:
    """Return training rows without further universes of fewer than `MIN_ROWS`."""
    pooled = samples.pooled.items()
    return replace(samples, pooled={k: v for k, v in pooled if len(v) >= MIN_ROWS})


def effective_weights(
    universes: Sequence[Samples], utilities: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return how much each row counts, by the formula of this module.

    Parameters
    ----------
    universes : sequence of Samples
        Training rows of each universe; whatever is estimated is estimated on them.
    utilities : sequence of ndarray of shape (n_rows, n_allocations)
        Utility of each allocation in the rows of each universe.

    Returns
    -------
    list of ndarray of shape (n_rows,)
        Weights in (0, 1]; those of a universe add up to its effective number of rows.
    """
    shares = correlations(universes, utilities)
    weights = []
    for rows, own in zip(universes, shares, strict=True):
        is_there = [rows.sessions.isin(other.sessions) for other in universes]
        weights.append(1.0 / (own @ np.array(is_there, dtype=np.float64)))
    return weights


def correlations(
    universes: Sequence[Samples], utilities: Sequence[np.ndarray]
) -> np.ndarray:
    """Return how far universes teach the same, shape (n_universes, n_universes).

    A loss sees by how much allocations differ within a row. The correlation is that of
    the utilities of the sessions that two universes share, less the mean of their
    session and of their allocation. One that is negative, or has no meaning because
    nothing is shared or nothing varies, is 0.

    Parameters
    ----------
    universes, utilities
        As in `effective_weights`.
    """
    found = np.eye(len(universes))
    for i, one in enumerate(universes):
        for j, other in enumerate(universes[:i]):
            places = other.sessions.get_indexer(one.sessions)
            left = _centred(utilities[i][places >= 0])
            right = _centred(utilities[j][places[places >= 0]])
            size = float(np.sqrt((left**2).sum() * (right**2).sum()))
            share = float((left * right).sum()) / size if size else 0.0
            found[i, j] = found[j, i] = min(max(share, 0.0), 1.0)
    return found


def _centred(utilities: np.ndarray) -> np.ndarray:
    """Return utilities less the means of their session and of their allocation."""
    if not len(utilities):
        return utilities
    relative = utilities - utilities.mean(axis=1, keepdims=True)
    return np.asarray(relative - relative.mean(axis=0))
