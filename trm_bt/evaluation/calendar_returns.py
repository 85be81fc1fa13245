"""What a portfolio earned by calendar month and year, and its deepest drawdowns."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from trm_bt.evaluation.metrics import Equity, drawdowns

_ROUND_OFF = 1e-12


@dataclass(frozen=True)
class Drawdown:
    """One way down from a highest close and back.

    Parameters
    ----------
    peak_on, deepest_on : Timestamp
        The highest close before it, and the lowest one within.
    recovered_on : Timestamp or None
        The first close as high as the peak; None where there is none yet.
    depth : float
        From the peak to the deepest close, a decimal from -1 to 0.
    sessions_down, sessions_back : int, int or None
        Sessions from the peak to the deepest close, and from there to the recovery.
    """

    peak_on: pd.Timestamp
    deepest_on: pd.Timestamp
    recovered_on: pd.Timestamp | None
    depth: float
    sessions_down: int
    sessions_back: int | None


def period_returns(equity: Equity, unit: Literal["Y", "M"]) -> pd.Series:
    """Return what was earned in each calendar year or month that has a session.

    Parameters
    ----------
    equity : Equity
    unit : {"Y", "M"}

    Returns
    -------
    Series of shape (n_periods,)
        Decimals by period, from the last close before it; the first period begins at
        the base, the last one ends with the equity.

    Examples
    --------
    >>> days = pd.to_datetime(["2023-12-29", "2024-01-02", "2024-01-31", "2024-03-01"])
    >>> earned = period_returns(pd.Series([100.0, 105.0, 110.0, 99.0], days), "M")
    >>> {str(month): round(value, 6) for month, value in earned.items()}
    {'2024-01': 0.1, '2024-03': -0.1}
    """
    sessions = equity.iloc[1:]
    closes = sessions.groupby(pd.DatetimeIndex(sessions.index).to_period(unit)).last()
    before = closes.shift()
    before.iloc[0] = equity.iloc[0]
    earned: pd.Series = closes / before - 1.0
    return earned


def worst_drawdowns(equity: Equity, n: int = 5) -> list[Drawdown]:
    """Return the deepest drawdowns, the deepest first.

    Parameters
    ----------
    equity : Equity
    n : int
        At most so many.

    Examples
    --------
    >>> days = pd.bdate_range("2024-01-01", periods=6)
    >>> found = worst_drawdowns(pd.Series([100.0, 90.0, 100.0, 80.0, 70.0, 75.0], days))
    >>> [(round(one.depth, 6), one.sessions_down, one.sessions_back) for one in found]
    [(-0.3, 2, None), (-0.1, 1, 1)]
    """
    under = drawdowns(equity)
    is_under = (under < -_ROUND_OFF).to_numpy()
    edges = np.flatnonzero(np.diff(np.r_[False, is_under, False].astype(np.int8)))
    found = [
        _drawdown(under, first, after)
        for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: one.depth)[:n]


def _drawdown(under: pd.Series, first: int, after: int) -> Drawdown:
    """Return the drawdown of the rows from `first` to the one before `after`."""
    sessions = pd.DatetimeIndex(under.index)
    deepest = first + int(under.iloc[first:after].to_numpy().argmin())
    is_back = after < len(under)
    return Drawdown(
        peak_on=sessions[first - 1],
        deepest_on=sessions[deepest],
        recovered_on=sessions[after] if is_back else None,
        depth=float(under.iloc[deepest]),
        sessions_down=deepest - first + 1,
        sessions_back=after - deepest if is_back else None,
    )
