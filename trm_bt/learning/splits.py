"""The splits of a run: which models decide which sessions, and what they may know.

A schedule is a function that lays out splits: before each crisis, or by the calendar.

References
----------
López de Prado, M. (2018). Advances in Financial Machine Learning, chapter 7: purging
and embargo.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.market.crises import CRISES, Crisis

CRISIS_LEAD: Final = 2
"""Sessions from the first decision of a crisis to the crisis.

A model frozen at the close of session s - 3 first decides at the close of s - 2 and is
invested at the close of s - 1, the base of every crisis figure; s is the first session
of the crisis.
"""
_MIN_SESSIONS: Final = 2


@dataclass(frozen=True)
class Split:
    """One stretch of sessions, and the last session whose outcomes its models know.

    Parameters
    ----------
    name : str
        The crisis, or the first deciding session, ISO.
    frozen_on : Timestamp
        Labels known at its close or before may be trained on; it lies before `first`.
    first, last : Timestamp
        The sessions that the models of the split decide.
    """

    name: str
    frozen_on: pd.Timestamp
    first: pd.Timestamp
    last: pd.Timestamp

    def mask(self, sessions: pd.DatetimeIndex) -> np.ndarray:
        """Return which sessions the split decides, bool, shape (n_sessions,)."""
        return np.asarray((sessions >= self.first) & (sessions <= self.last))

    def decides(self, plan: "CrisisPlan") -> bool:
        """Return whether the models of the split decide a whole crisis."""
        return plan.first is not None and self.first <= plan.first <= self.last

    def rows(self, known_on: pd.DatetimeIndex, window: int | None = None) -> slice:
        """Return the rows that the models may see, the newest `window` of them.

        Parameters
        ----------
        known_on : DatetimeIndex of shape (n_rows,)
            When the label of each row became known, in order.
        window : int, optional
            All if None.
        """
        end = int(known_on.searchsorted(self.frozen_on, side="right"))
        return slice(0 if window is None else max(end - window, 0), end)


@dataclass(frozen=True)
class CrisisPlan:
    """One crisis and the session on which it is first decided.

    Parameters
    ----------
    crisis : Crisis
        The window.
    first : Timestamp or None
        First deciding session; None if no model decides the crisis.
    base : Timestamp or None
        Last session before the crisis: its figures start from this close.
    reason : str
        Why no model decides the crisis; empty if one does.
    """

    crisis: Crisis
    first: pd.Timestamp | None = None
    base: pd.Timestamp | None = None
    reason: str = ""

    def mask(self, sessions: pd.DatetimeIndex) -> np.ndarray:
        """Return which sessions are decided for it, bool, shape (n_sessions,)."""
        if self.first is None:
            return np.zeros(len(sessions), dtype=bool)
        return np.asarray((sessions >= self.first) & (sessions <= self.crisis.end))


def before_crises(
    sessions: pd.DatetimeIndex,
    known_on: pd.DatetimeIndex,
    min_labels: int,
    crises: Sequence[Crisis] = CRISES,
) -> tuple[list[Split], list[CrisisPlan]]:
    """Lay out one split per crisis; each lasts until the next one begins.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions of the bars.
    known_on : DatetimeIndex of shape (n_labels,)
        When each label became known, in order.
    min_labels : int
        Labels known at the freeze below which no model is trained.
    crises : sequence of Crisis
        The windows in date order.

    Returns
    -------
    splits : list of Split
        One for each crisis that a model decides, under its name.
    plans : list of CrisisPlan
        One per crisis; a crisis without a model carries the reason.
    """

    def why_not(first: int) -> str:
        frozen_on = sessions[max(first - 1, 0)]
        n_known = int(known_on.searchsorted(frozen_on, side="right"))
        if first >= 1 and n_known >= min_labels:
            return ""
        return f"{n_known} labels known before it, a model needs {min_labels}"

    plans = [_plan(crisis, sessions, why_not) for crisis in crises]
    starts = {
        plan.crisis.name: int(sessions.searchsorted(plan.first))
        for plan in plans
        if plan.first is not None
    }
    spans = pairwise([*starts.values(), len(sessions)])
    splits = [
        Split(name, sessions[start - 1], sessions[start], sessions[end - 1])
        for name, (start, end) in zip(starts, spans, strict=True)
    ]
    return splits, plans


def by_calendar(
    sessions: pd.DatetimeIndex, known_on: pd.DatetimeIndex, config: TRMConfig
) -> list[Split]:
    """Lay out splits of so many sessions, or from dates on, without a gap.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions that can be decided: those with all features.
    known_on : DatetimeIndex of shape (n_labels,)
        When each label became known, in order.
    config : TRMConfig
        Its `walkforward`, and `min_labels` of its `training`.

    Returns
    -------
    list of Split
        The first begins on `first_decision`, or else as soon as enough labels are
        known; the last ends with the sessions.

    Raises
    ------
    BarsError
        If no session can be decided, or a date to retrain on lies outside.
    """
    settings = config.walkforward
    lag = 1 + settings.embargo
    n_known = known_on.searchsorted(sessions, side="right")
    is_ready = np.zeros(len(sessions), dtype=bool)
    is_ready[lag:] = n_known[:-lag] >= config.training.min_labels
    if is_ready.sum() < _MIN_SESSIONS:
        raise BarsError(
            f"A walk-forward needs {config.training.min_labels} labels known before "
            f"its first decision, and two sessions to decide, got {len(known_on)} "
            f"labels and {int(is_ready.sum())} sessions. Give more history or lower "
            "`min_labels`."
        )
    begin = int(is_ready.argmax())
    if settings.first_decision is not None:
        begin = _position(sessions, begin, settings.first_decision, "first_decision")
    starts = [*range(begin, len(sessions), settings.retrain_every)]
    if days := settings.retrain_on:
        found = {_position(sessions, begin, day, "retrain_on") for day in days}
        starts = sorted({begin, *found})
    return [
        Split(
            sessions[start].date().isoformat(),
            sessions[start - lag],
            sessions[start],
            sessions[end - 1],
        )
        for start, end in pairwise([*starts, len(sessions)])
    ]


def plan_crises(
    sessions: pd.DatetimeIndex,
    first_decision: pd.Timestamp,
    crises: Sequence[Crisis] = CRISES,
) -> list[CrisisPlan]:
    """Plan the crises that splits by the calendar decide, in date order.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions of the bars.
    first_decision : Timestamp
        First deciding session of the first split; a crisis decided before has no
        model.
    crises : sequence of Crisis
        The windows.
    """

    def why_not(first: int) -> str:
        if first >= 1 and sessions[first] >= first_decision:
            return ""
        return f"before the first fold, which begins {first_decision.date()}"

    return [_plan(crisis, sessions, why_not) for crisis in crises]


def _plan(
    crisis: Crisis, sessions: pd.DatetimeIndex, why_not: Callable[[int], str]
) -> CrisisPlan:
    """Plan one crisis; `why_not` says why none decides from a position on."""
    if missing := crisis.missing(sessions):
        return CrisisPlan(crisis, reason=missing)
    first = int(sessions.searchsorted(crisis.start)) - CRISIS_LEAD
    if reason := why_not(first):
        return CrisisPlan(crisis, reason=reason)
    return CrisisPlan(crisis, sessions[first], sessions[first + CRISIS_LEAD - 1])


def _position(sessions: pd.DatetimeIndex, begin: int, day: date, name: str) -> int:
    """Return the position of the first session on a date or after it."""
    if not sessions[begin] <= pd.Timestamp(day) <= sessions[-2]:
        raise BarsError(
            f"`{name}` must lie between {sessions[begin].date()}, the first session "
            f"that can be decided, and {sessions[-2].date()}, the last but one, got "
            f"{day}. Give another date, or other bars."
        )
    return int(sessions.searchsorted(pd.Timestamp(day)))
