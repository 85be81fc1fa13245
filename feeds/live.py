"""Live feeds: when they are LIVE, and which bars of theirs belong together."""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import backtrader as bt

from trm_bt.feeds._typing import Feed, Feeds
from trm_bt.feeds.backtrader import stamp_of
from trm_bt.feeds.calendars import check_is_later, check_live_stamps, parts_of

T = TypeVar("T")


def are_all_live(feeds: Feeds) -> bool:
    """Tell whether every live feed says LIVE: what it gives is no history any more.

    What is no live feed has no state. A live feed of no store that has said nothing and
    cannot tell of data that waits, as a file that is read as it grows, is taken at its
    word.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role, started.
    """
    return all(_is_at_live(part) for feed in feeds.values() for part in parts_of(feed))


def _is_at_live(part: Feed) -> bool:
    if not part.islive():
        return True
    base = bt.feed.AbstractDataBase
    reports = (
        part._store is not None
        or type(part).haslivedata is not base.haslivedata
        or part._laststatus != base.CONNECTED
    )
    return bool(not reports or part._laststatus == base.LIVE)


class LiveBars(Generic[T]):
    """Join the bars of live feeds by session, whichever feed is behind the others.

    After a lost connection a feed gives what it missed while the others stand later. A
    session counts from when every feed has given it; one that a feed passes by never
    does.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role.
    read : callable
        From a role to what is kept of the bar that its feed stands on, None if the bar
        lacks a value.

    Attributes
    ----------
    newest : float
        Date number of the newest session that every feed has given.
    """

    def __init__(self, feeds: Feeds, read: Callable[[str], T | None]) -> None:
        self._feeds, self._read = feeds, read
        self._n_seen = dict.fromkeys(feeds, 0)
        self._waiting: dict[float, dict[str, T]] = {}
        self._passed_by: list[float] = []
        self.newest = -math.inf

    def take(self) -> dict[str, T] | None:
        """Note the bars that came since the last call; return what they complete.

        Returns
        -------
        dict of str to T, or None
            What was kept of the session `newest`, by role, when it has become complete.

        Raises
        ------
        BarsError
            If daily feeds that never stood together stamp a date differently, or they
            give a session a second bar.
        """
        if self.newest == -math.inf:
            check_live_stamps(self._feeds)
        for role, feed in self._feeds.items():
            if len(feed) != self._n_seen[role]:
                self._n_seen[role] = len(feed)
                self._note(role, stamp_of(feed))
        for session, found in self._waiting.items():
            if len(found) == len(self._feeds):
                check_is_later(self._feeds, self.newest)
                self.newest = session
                del self._waiting[session]
                passed_by = [other for other in self._waiting if other < session]
                for other in passed_by:
                    del self._waiting[other]
                self._passed_by += passed_by
                return found
        return None

    def _note(self, role: str, session: float) -> None:
        if session <= self.newest:  # given once more
            return
        values = self._read(role)
        found = self._waiting.setdefault(session, {})
        if values is not None:
            found[role] = values

    @property
    def missed(self) -> list[float]:
        """Sessions that not every feed has given, oldest first."""
        return sorted([*self._passed_by, *self._waiting])
