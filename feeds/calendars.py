"""Feeds that a strategy reads together must stand on the same sessions.

The engine separates bars by date and time of day: two daily feeds that stamp a
session differently never stand on it together.
"""

from collections.abc import Mapping
from typing import Final

import backtrader as bt
import numpy as np

from trm_bt.errors import BarsError
from trm_bt.feeds._typing import Feeds

_ALIGN: Final = "Align them before the run, times of day too."


def check_preloaded(feeds: Feeds) -> None:
    """Raise `BarsError` unless the preloaded feeds hold the same sessions.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Preloaded feeds by role; the first one is what the others are held against.
    """
    calendars = {
        role: np.array(feed.datetime.array[: feed.buflen()])
        for role, feed in feeds.items()
    }
    first, *others = calendars
    for role in others:
        only_first = np.setdiff1d(calendars[first], calendars[role])
        only_role = np.setdiff1d(calendars[role], calendars[first])
        _, ours, theirs = np.intersect1d(
            np.floor(only_first), np.floor(only_role), return_indices=True
        )
        if len(ours):
            stamps = only_first[ours[0]], only_role[theirs[0]]
            raise _stamped_apart(feeds, first, role, stamps)
        differing = np.union1d(only_first, only_role)
        if len(differing):
            raise BarsError(
                f"{_pair(feeds, first, role)} must share one calendar, but they "
                f"disagree on {len(differing)} sessions, first "
                f"{date_text(differing[0])}{_ends(calendars, first, role)}. {_ALIGN}"
            )


def check_current_bar(feeds: Feeds) -> None:
    """Raise `BarsError` unless every feed has a bar on the current session.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role, whether their later bars are known or not.
    """
    first, *others = feeds
    now = feeds[first].datetime[0] if len(feeds[first]) else np.nan
    for role in others:
        there = feeds[role].datetime[0] if len(feeds[role]) else np.nan
        if np.floor(now) == np.floor(there) and now != there:
            raise _stamped_apart(feeds, first, role, (now, there))
        if now != there:
            raise BarsError(
                f"{_pair(feeds, first, role)} must share one calendar, but while the "
                f"first stands on {_moment_text(now, there)}, the second stands on "
                f"{_moment_text(there, now)}. {_ALIGN}"
            )


def check_live_stamps(feeds: Feeds) -> None:
    """Raise `BarsError` if daily feeds stamp the current date differently.

    They would be held through for ever, each taken for late. Ask until they have stood
    together once: later on it is one session's matter.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Live feeds by role, some of them perhaps without a bar yet.
    """
    stamps = {
        role: feed.datetime[0]
        for role, feed in feeds.items()
        if len(feed) and feed._timeframe == bt.TimeFrame.Days
    }
    first = next(iter(stamps), "")
    for role, there in stamps.items():
        if stamps[first] != there and np.floor(stamps[first]) == np.floor(there):
            raise _stamped_apart(feeds, first, role, (stamps[first], there))


def is_live(feeds: Feeds) -> bool:
    """Return whether a feed is live: its bars come one by one, or not at all."""
    return any(bool(feed.islive()) for feed in feeds.values())


def stand_together(feeds: Feeds) -> bool:
    """Return whether every feed has a bar, and all of them one of the same session."""
    numbers = {feed.datetime[0] if len(feed) else np.nan for feed in feeds.values()}
    return len(numbers) == 1 and not np.isnan(numbers.pop())


def _stamped_apart(
    feeds: Feeds, first: str, second: str, stamps: tuple[float, float]
) -> BarsError:
    """Return the error of two feeds that give one date two times of day."""
    return BarsError(
        f"{_pair(feeds, first, second)} must share one calendar, but stamp their bars "
        f"of {date_text(stamps[0])} {_time_text(stamps[0])} and "
        f"{_time_text(stamps[1])}. Give daily bars one time of day, as "
        "`frame.index.normalize()` does."
    )


def _ends(calendars: Mapping[str, np.ndarray], first: str, second: str) -> str:
    """Say which feed ends early, as that of a delisted fund does."""
    ends = {role: calendars[role].max(initial=0.0) for role in (first, second)}
    early = min(ends, key=ends.__getitem__)
    if ends[first] == ends[second] or not ends[early]:
        return ""
    return f" ({early} ends on {date_text(ends[early])})"


def _pair(feeds: Feeds, first: str, second: str) -> str:
    names = [f"'{feeds[role]._name or role}'" for role in (first, second)]
    return f"The feeds {' and '.join(names)}"


def date_text(number: float) -> str:
    """Return the date of a Backtrader date number as text."""
    return "no bar yet" if np.isnan(number) else str(bt.num2date(number).date())


def _time_text(number: float) -> str:
    return str(bt.num2date(number).time().isoformat("seconds"))


def _moment_text(number: float, other: float) -> str:
    """Return the date as text, with the time of day unless the other has the same."""
    is_alike = number % 1 == other % 1
    time = "" if np.isnan(number) or is_alike else f" {_time_text(number)}"
    return date_text(number) + time
