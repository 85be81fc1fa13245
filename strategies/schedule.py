"""On which closes a decision is traded; on the others what is held drifts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias, get_args

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.config import ScheduleName
from trm_bt.errors import ConfigError
from trm_bt.feeds._typing import Feed

Weights: TypeAlias = tuple[float, float]
"""Shares of equity and bond."""
Asks: TypeAlias = Callable[[pd.Timestamp], bool]
"""Whether a session is due."""
Schedule: TypeAlias = ScheduleName | Asks | Mapping[str, object] | bt.timer.Timer
"""A name, a function of the session, or a timer of Backtrader (or its arguments)."""

SCHEDULES: Final = get_args(ScheduleName)
"""Each bar, the first session of a week or month, or when other weights are decided."""


class DueSessions:
    """Say session by session whether what is decided at its close is traded.

    Every close is due until there is something to buy, so that a portfolio does not
    wait for its first month. A period is due on its first session: which one is its
    last takes a calendar of the future to know.

    Parameters
    ----------
    schedule : Schedule
        One of `SCHEDULES`; a callable of the session that returns whether it is due; a
        `backtrader.timer.Timer`, or the arguments of `add_timer` as a mapping: the
        sessions in which it fires are due.
    feed : data feed, optional
        Whose sessions a timer follows, unless it names another.

    Raises
    ------
    ConfigError
        If the schedule is none of these.
    """

    def __init__(self, schedule: Schedule, feed: Feed | None = None) -> None:
        self._is_on_change = isinstance(schedule, str) and schedule == "change"
        self._asks = _asks(schedule, feed)
        self._has_begun = False

    def is_due(
        self, session: pd.Timestamp, wanted: Weights | None, in_force: Weights | None
    ) -> bool:
        """Return whether a close is due; ask once a session, oldest first.

        Parameters
        ----------
        session : Timestamp
            The session whose close it is.
        wanted : (float, float) or None
            Weights decided at that close; None keeps those in force.
        in_force : (float, float) or None
            Weights decided at the last due close.
        """
        is_due = self._asks(session)
        if self._is_on_change:
            is_due = wanted is not None and wanted != in_force
        is_first = not self._has_begun
        self._has_begun |= any(wanted or ())
        return is_due or is_first


def traded_rows(
    sessions: pd.DatetimeIndex, targets: np.ndarray, schedule: ScheduleName
) -> np.ndarray:
    """Return where `DueSessions` finds a row of targets due, for many paths at once.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_sessions,)
    targets : ndarray of shape (n_sessions, n_paths, 2)
        Weights of equity and bond decided at each close.
    schedule : {"bar", "weekly", "monthly", "change"}

    Returns
    -------
    ndarray of shape (n_sessions, n_paths), bool
    """
    is_set = np.logical_or.accumulate((targets != 0).any(axis=2), axis=0)
    has_begun = np.vstack([np.zeros_like(is_set[:1]), is_set[:-1]])
    if schedule == "change":
        moved = (targets[1:] != targets[:-1]).any(axis=2)
        is_due = np.vstack([np.ones_like(is_set[:1]), moved])
    else:
        asks = _asks(schedule, None)
        is_due = np.array([[asks(session)] for session in sessions], dtype=bool)
    return np.asarray(is_due | ~has_begun)


def _asks(schedule: Schedule, feed: Feed | None) -> Asks:
    """Return the function of the session that a schedule comes to."""
    if isinstance(schedule, bt.timer.Timer):
        return _fires(schedule.p._getkwargs(), feed)
    if isinstance(schedule, Mapping):
        return _fires(schedule, feed)
    if callable(schedule):
        return lambda session: bool(schedule(session))
    if schedule == "weekly":
        return _is_new(lambda session: session.isocalendar()[:2])
    if schedule == "monthly":
        return _is_new(lambda session: (session.year, session.month))
    if schedule not in SCHEDULES:
        raise ConfigError(
            f"`schedule` must be one of {', '.join(SCHEDULES)}, a callable of the "
            f"session, or a Backtrader timer or its arguments, got {schedule!r}."
        )
    return lambda session: True


def _is_new(period_of: Callable[[pd.Timestamp], tuple[int, ...]]) -> Asks:
    """Return whether a session is of another period than the one before."""
    before: tuple[int, ...] | None = None

    def asks(session: pd.Timestamp) -> bool:
        nonlocal before
        period = period_of(session)
        is_new, before = before is not None and period != before, period
        return is_new

    return asks


def _fires(arguments: Mapping[str, object], feed: Feed | None) -> Asks:
    """Return whether a timer of our own, with these arguments, fires in a session."""
    known = bt.timer.Timer.params._getkeys()
    if unknown := sorted(set(arguments) - set(known)):
        raise ConfigError(
            f"`schedule` must hold arguments of Backtrader's `add_timer`, got "
            f"'{unknown[0]}'."
        )
    timer = bt.timer.Timer(**{"when": bt.timer.SESSION_START, **arguments})
    timer.start(feed)

    def asks(session: pd.Timestamp) -> bool:
        # a daily bar may be stamped with midnight: the timer is asked at its end
        at_end = datetime.combine(session.date(), bt.timer.TIME_MAX)
        return bool(timer.check(bt.date2num(at_end)))

    return asks
