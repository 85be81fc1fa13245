"""The sessions on which every feed of a role has its bar, each handled once."""

import logging

import numpy as np
import pandas as pd

from trm_bt.feeds._typing import Feeds
from trm_bt.feeds.backtrader import sessions_of
from trm_bt.feeds.calendars import (
    BarByBar,
    check_is_later,
    check_live_stamps,
    check_preloaded,
    date_text,
    is_live,
    stand_together,
)
from trm_bt.feeds.values import (
    Needs,
    check_current_values,
    check_preloaded_values,
    has_current_values,
)

_LOG = logging.getLogger(__name__)


class SharedSessions:
    """Find the bars that may be handled: those that every feed has, with its values.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role, equity first, at the start of a run.
    needs : mapping of str to sequence of str
        Lines that must have a value, by role.

    Attributes
    ----------
    is_live : bool
        Whether bars come one by one, and may not come.

    Raises
    ------
    BarsError
        If preloaded feeds differ in their sessions or lack a value.
    """

    def __init__(self, feeds: Feeds, needs: Needs) -> None:
        self._feeds, self._needs = feeds, needs
        self._equity = feeds["equity"]
        self._n_handled, self._handled_on = 0, -np.inf
        self._bars = BarByBar(feeds)
        self._unhandled: set[float] = set()
        self._n_logged = 0
        self.is_live = is_live(feeds)
        self._is_preloaded = any(feed.buflen() for feed in feeds.values())
        if self._is_preloaded:
            check_preloaded(feeds)
            check_preloaded_values(feeds, needs)

    def has_new(self) -> bool:
        """Return whether every feed has a bar that was not handled yet.

        Raises
        ------
        BarsError
            If the bars of feeds that are not live differ in session or lack a value,
            daily bars of live feeds that never stood together differ in time of day, or
            they give a session a second bar.
        """
        if self.is_live:
            return self._has_new_live()
        if self._is_preloaded:  # all bars were looked at
            return len(self._equity) > self._n_handled
        is_new = self._bars.has_new()
        if is_new:
            check_current_values(self._feeds, self._needs)
        return is_new

    def handle(self) -> float:
        """Mark the current bar as handled; return its date number."""
        self._n_handled = len(self._equity)
        self._handled_on = float(self._equity.datetime[0])
        if self.is_live:
            self.log_halts(before=self._handled_on)
        elif not self._is_preloaded:
            self._bars.handle()
        return self._handled_on

    def log_halts(self, *, before: float = np.inf) -> None:
        """Log the sessions that were held through, each once."""
        halts = sorted(number for number in self._unhandled if number < before)
        for number in halts[self._n_logged :]:
            _LOG.warning("%s held through: not every feed has it", date_text(number))
        self._n_logged = len(halts)

    @property
    def halts(self) -> pd.DatetimeIndex:
        """Sessions of live feeds that were left out: not every feed had its bar."""
        return sessions_of(sorted(self._unhandled)).unique()

    def _has_new_live(self) -> bool:
        """Return whether every feed has its bar; note the session while one has not."""
        if not self._n_handled:
            check_live_stamps(self._feeds)
        begun = [feed.datetime[0] for feed in self._feeds.values() if len(feed)]
        is_whole = stand_together(self._feeds) and has_current_values(
            self._feeds, self._needs
        )
        if not is_whole:
            self._unhandled.update(now for now in begun if now > self._handled_on)
            return False
        if begun[0] <= self._handled_on:  # given once more, or late
            return False
        check_is_later(self._feeds, self._handled_on)
        self._unhandled.discard(begun[0])
        return True
