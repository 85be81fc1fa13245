"""The folds of a walk-forward: who decides which sessions, and what it may know.

References
----------
López de Prado, M. (2018). Advances in Financial Machine Learning, chapter 7: purging
and embargo.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.learning.dataset import Samples, known_by

_MIN_SESSIONS: Final = 2


@dataclass(frozen=True)
class Fold:
    """One stretch of sessions, and the last session whose outcomes its models know.

    Parameters
    ----------
    name : str
        The first deciding session, ISO.
    frozen_on : Timestamp
        Labels known at its close or before may be trained on; it lies before `first`.
    first, last : Timestamp
        The sessions that the fold's models decide.
    """

    name: str
    frozen_on: pd.Timestamp
    first: pd.Timestamp
    last: pd.Timestamp

    def mask(self, sessions: pd.DatetimeIndex) -> np.ndarray:
        """Tell which sessions the fold decides, bool, shape (n_sessions,)."""
        return np.asarray((sessions >= self.first) & (sessions <= self.last))


def plan_folds(
    sessions: pd.DatetimeIndex, known_on: pd.DatetimeIndex, config: TRMConfig
) -> list[Fold]:
    """Lay out the folds, one after the other without a gap.

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
    list of Fold
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
    starts = _starts(sessions, begin, settings.retrain_every, settings.retrain_on)
    ends = [*starts[1:], len(sessions)]
    return [
        Fold(
            sessions[start].date().isoformat(),
            sessions[start - lag],
            sessions[start],
            sessions[end - 1],
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def fold_samples(samples: Samples, fold: Fold, window: int | None) -> Samples:
    """Return the rows that a fold's models may see, the newest `window` of them."""
    rows = known_by(samples, fold.frozen_on)
    if window is None:
        return rows
    return rows.where(np.arange(len(rows)) >= len(rows) - window)


def _starts(
    sessions: pd.DatetimeIndex, begin: int, every: int, dates: Sequence[date]
) -> list[int]:
    """Return the positions of the sessions that new models decide first."""
    if not dates:
        return list(range(begin, len(sessions), every))
    found = {_position(sessions, begin, day, "retrain_on") for day in dates}
    return sorted({begin, *found})


def _position(sessions: pd.DatetimeIndex, begin: int, day: date, name: str) -> int:
    """Return the position of the first session on a date or after it."""
    if not sessions[begin] <= pd.Timestamp(day) <= sessions[-2]:
        raise BarsError(
            f"`{name}` must lie between {sessions[begin].date()}, the first session "
            f"that can be decided, and {sessions[-2].date()}, the last but one, got "
            f"{day}. Give another date, or other bars."
        )
    return int(sessions.searchsorted(pd.Timestamp(day)))
