"""The sessions on which every feed of a role has its bar, each handled once."""

import logging

import numpy as np
import pandas as pd

from trm_bt.feeds._typing import Feeds
from trm_bt.feeds.backtrader import sessions_of, stamp_of
from trm_bt.feeds.calendars import (
    BarByBar,
    check_preloaded,
    date_text,
    is_live,
    stand_together,
)
from trm_bt.feeds.live import LiveBars, are_all_live
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
        self._clock = self._equity.datetime  # a line is as long as its feed
        self._n_handled = 0
        self._bars = BarByBar(feeds)
        self._joined: LiveBars[bool] = LiveBars(feeds, self._is_whole)
        self._has_joined = False
        self._n_logged = 0
        self.is_live = is_live(feeds)
        self._is_preloaded = any(feed.buflen() for feed in feeds.values())
        if self._is_preloaded:
            check_preloaded(feeds)
            check_preloaded_values(feeds, needs)

    def has_new(self) -> bool:
        """Return whether every feed has a bar that was not handled yet.

        Where a live feed is behind the others, that is the bar which it has now and
        they had earlier.

        Raises
        ------
        BarsError
            If the bars of feeds that are not live differ in session or lack a value,
            daily bars of live feeds that never stood together differ in time of day, or
            they give a session a second bar.
        """
        if self.is_live:
            self._has_joined |= self._joined.take() is not None
            return self._has_joined
        if self._is_preloaded:  # all bars were looked at
            return len(self._clock) > self._n_handled
        is_new = self._bars.has_new()
        if is_new:
            check_current_values(self._feeds, self._needs)
        return is_new

    def handle(self) -> float:
        """Mark the new bar as handled; return its date number."""
        if self.is_live:
            self._has_joined = False
            self.log_halts(before=self._joined.newest)
            return self._joined.newest
        self._n_handled = len(self._clock)
        if not self._is_preloaded:
            self._bars.handle()
        return float(stamp_of(self._equity))

    def is_current(self) -> bool:
        """Tell whether every feed stands on the newest bar that all of them gave."""
        return not self.is_live or (
            stand_together(self._feeds)
            and stamp_of(self._equity) == self._joined.newest
        )

    def may_trade(self) -> bool:
        """Tell whether the newest bar is no history: every live feed says LIVE."""
        return not self.is_live or are_all_live(self._feeds)

    def log_halts(self, *, before: float = np.inf) -> None:
        """Log the sessions that were held through, each once."""
        halts = [number for number in self._joined.missed if number < before]
        for number in halts[self._n_logged :]:
            _LOG.warning("%s held through: some feeds lack it", date_text(number))
        self._n_logged = len(halts)

    @property
    def halts(self) -> pd.DatetimeIndex:
        """Sessions of live feeds that were left out: not every feed had its bar."""
        return sessions_of(self._joined.missed).unique()

    def _is_whole(self, role: str) -> bool | None:
        """Return True if the current bar of a live feed has its values, else None."""
        needs = {role: self._needs.get(role, ())}
        return True if has_current_values(self._feeds, needs) else None
