"""Sums over trailing windows, and ratios that say where they have no denominator.

Everything here is row-independent: the row of a session is a function of its own
window alone, added in one order however many rows are computed, so that one row or a
whole history gives the same bits. Running sums, as in `pandas.rolling`, are faster but
carry the rounding of every earlier session along.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from trm_bt.market._typing import BoolSessions, FloatArray, FloatSessions

_N_LANES: Final = 8
_MAX_RUN: Final = 128


class Column(NamedTuple):
    """A feature's values, and where a denominator was 0 and the value set to 0.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        One value per session, oldest first.
    is_zero : ndarray of shape (n_rows,), bool
        Where there was nothing to divide by.
    """

    values: FloatSessions
    is_zero: BoolSessions

    @classmethod
    def sure(cls, values: FloatSessions) -> "Column":
        """Return a column of shape (n_rows,) that has no denominator to be 0."""
        return cls(values, np.zeros(len(values), dtype=bool))

    @classmethod
    def ratio(cls, numerator: FloatSessions, denominator: FloatSessions) -> "Column":
        """Divide row by row, shape (n_rows,), with 0 where the denominator is 0.

        Examples
        --------
        >>> Column.ratio(np.array([1.0, 5.0]), np.array([4.0, 0.0]))
        Column(values=array([0.25, 0.  ]), is_zero=array([False,  True]))
        """
        is_zero = denominator == 0
        zeros = np.zeros(len(denominator))
        values = np.divide(numerator, denominator, out=zeros, where=~is_zero)
        return cls(values, is_zero)


def simple_returns(values: FloatArray, lookback: int = 1) -> FloatArray:
    """Return simple returns over `lookback` sessions, shape (n - lookback, ...).

    The result is laid out row by row whatever the layout of `values`, because numpy
    adds along an axis in an order that depends on the layout.
    """
    growth = np.divide(values[lookback:], values[:-lookback], order="C")
    return np.asarray(growth - 1.0)


def window_sums(values: FloatArray, lookback: int) -> FloatArray:
    """Sum every run of `lookback` sessions along the first axis.

    Parameters
    ----------
    values : ndarray of shape (n_sessions, ...)
        Oldest session first.
    lookback : int
        Length of a run, from 1 to n_sessions.

    Returns
    -------
    ndarray of shape (n_sessions - lookback + 1, ...)
        Row i is the sum of sessions i to i + lookback - 1.

    Notes
    -----
    The order of additions is that of numpy's pairwise sum over one contiguous window:
    eight lanes, each adding every eighth value, then the lanes two by two, then what
    is left over. Lane j of a window is lane 0 of the window j sessions later, so all
    windows are summed together, by adding a few shifted copies of the whole array.

    Examples
    --------
    >>> window_sums(np.array([1.0, 2.0, 3.0, 4.0]), 3)
    array([6., 9.])
    """
    n_rows = len(values) - lookback + 1
    if lookback > _MAX_RUN:
        half = lookback // 2 // _N_LANES * _N_LANES
        older = window_sums(values, half)[:n_rows]
        return np.asarray(older + window_sums(values[half:], lookback - half))
    n_laned = lookback // _N_LANES * _N_LANES
    if n_laned:
        sums = _shifted_sum(values, n_rows + _N_LANES - 1, range(0, n_laned, _N_LANES))
        for step in (1, 2, 4):
            sums = sums[:-step] + sums[step:]
    else:
        sums = np.zeros((n_rows, *values.shape[1:]))
    for shift in range(n_laned, lookback):
        sums += values[shift : shift + n_rows]
    return sums


def window_means(values: FloatArray, lookback: int) -> FloatArray:
    """Average every run of `lookback` sessions; shapes as in `window_sums`."""
    return np.asarray(window_sums(values, lookback) / lookback)


def trailing_windows(values: FloatArray, lookback: int) -> FloatArray:
    """Lay out every run of `lookback` sessions along a contiguous last axis.

    A reduction over a contiguous last axis adds in one order however many rows there
    are. Shape (n_sessions - lookback + 1, ..., lookback), oldest session first.
    """
    return np.ascontiguousarray(sliding_window_view(values, lookback, axis=0))


def _shifted_sum(values: FloatArray, n_rows: int, shifts: range) -> FloatArray:
    """Add the `n_rows` values that begin at each of `shifts`, in that order."""
    total = values[shifts[0] : shifts[0] + n_rows].astype(np.float64, order="C")
    for shift in shifts[1:]:
        total += values[shift : shift + n_rows]
    return total
