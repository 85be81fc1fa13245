"""A crisis in figures: what each portfolio lost, for how long, and when it was back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.evaluation.metrics import (
    drawdowns,
    max_drawdown,
    session_returns,
    total_return,
    turnover,
)

MARGIN: Final = 63
"""Sessions of a quarter, shown before and after a crisis."""
_ROUND_OFF: Final = 1e-12
"""Share of a value by which runs of other starting money differ."""


@dataclass(frozen=True)
class CrisisFigures:
    """Figures of one portfolio in one crisis, as decimals; nothing is annualised.

    Parameters
    ----------
    total_return, max_drawdown : float
        From the base, the close before the crisis.
    worst_session : float
        The lowest session return.
    worst_on : Timestamp
        Its session.
    sessions_under_water : int
        Closes below the highest one since the base.
    recovered_on : Timestamp or None
        See the function `recovered_on`.
    turnover : float
        Half the traded value over the portfolio's value, not scaled to a year.
    """

    total_return: float
    max_drawdown: float
    worst_session: float
    worst_on: pd.Timestamp
    sessions_under_water: int
    recovered_on: pd.Timestamp | None
    turnover: float


def crisis_figures(
    window: pd.Series, later: pd.Series, orders: pd.DataFrame
) -> CrisisFigures:
    """Return the figures of one portfolio in one crisis.

    Parameters
    ----------
    window : Series of shape (n_crisis_sessions + 1,)
        Portfolio value at the closes; the first row is the base, the close before the
        crisis.
    later : Series of shape (n_later,)
        Portfolio value after the crisis, which continues `window` in the same money;
        may be empty.
    orders : DataFrame of shape (n_orders, n_columns)
        The portfolio's orders, as `trm_bt.evaluation.metrics.turnover` takes them;
        those filled in the crisis count.
    """
    moves = session_returns(window)
    is_inside = orders["filled_on"].isin(moves.index)
    return CrisisFigures(
        total_return=total_return(window),
        max_drawdown=max_drawdown(window),
        worst_session=float(moves.min()),
        worst_on=moves.index[int(moves.argmin())],
        sessions_under_water=int((drawdowns(window) < 0).sum()),
        recovered_on=recovered_on(window, later),
        turnover=turnover(window, orders[is_inside]),
    )


def recovered_on(window: pd.Series, later: pd.Series) -> pd.Timestamp | None:
    """Return the session whose close recovers the deepest drawdown of a crisis.

    Parameters
    ----------
    window, later : Series
        As in `crisis_figures`.

    Returns
    -------
    Timestamp or None
        The first session after the deepest close of `window` that closes at least as
        high as the highest close before it. None where there is no such session, or
        where nothing was lost.

    Examples
    --------
    >>> days = pd.bdate_range("2024-01-01", periods=5)
    >>> closes = pd.Series([100.0, 90.0, 95.0, 99.0, 100.0], days)
    >>> recovered_on(closes[:3], closes[3:]).date().isoformat()
    '2024-01-05'
    >>> recovered_on(closes[:3], closes[3:4]) is None
    True
    """
    under = drawdowns(window)
    if not (under < 0).any():
        return None
    deepest = under.idxmin()
    peak = window.loc[:deepest].max()
    after = pd.concat([window, later]).loc[deepest:].iloc[1:]
    is_back = after >= peak * (1.0 - _ROUND_OFF)
    return is_back.idxmax() if is_back.any() else None


def in_context(
    continuous: pd.DataFrame, windows: Mapping[str, pd.Series]
) -> pd.DataFrame:
    """Put runs of a crisis into the continuous runs, so that returns follow on.

    Before the base and after the crisis a portfolio earns what its continuous run
    earned, in between what its run of the crisis earned.

    Parameters
    ----------
    continuous : DataFrame of shape (n_sessions, n_strategies)
        Portfolio values at the closes.
    windows : mapping of str to Series of shape (n_crisis_sessions + 1,)
        By strategy, values from the base to the last session of the crisis.

    Returns
    -------
    DataFrame of shape (n_sessions, n_strategies)
        `continuous` with these strategies replaced, in the unit of `continuous` up to
        the base.

    Examples
    --------
    >>> days = pd.bdate_range("2024-01-01", periods=4)
    >>> runs = pd.DataFrame({"trm": [10.0, 20.0, 30.0, 60.0]}, days)
    >>> crisis = pd.Series([1.0, 2.0], days[1:3])
    >>> in_context(runs, {"trm": crisis})["trm"].tolist()
    [10.0, 20.0, 40.0, 80.0]
    """
    whole = continuous.astype(np.float64)
    for name, window in windows.items():
        first, last = window.index[0], window.index[-1]
        inside = window / window.iloc[0] * continuous.loc[first, name]
        grown = inside.iloc[-1] / continuous.loc[last, name]
        whole.loc[first:last, name] = inside
        whole.loc[whole.index > last, name] *= grown
    return whole
