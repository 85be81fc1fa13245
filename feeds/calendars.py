"""Feeds that a strategy reads together must stand on the same sessions."""

from collections.abc import Mapping
from typing import Any

import backtrader as bt
import numpy as np

from trm_bt.errors import BarsError


def check_preloaded(feeds: Mapping[str, Any]) -> None:
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
        differing = np.setxor1d(calendars[first], calendars[role])
        if len(differing):
            raise BarsError(
                f"{_pair(feeds, first, role)} must share one calendar, but they "
                f"disagree on {len(differing)} sessions, first "
                f"{date_text(differing[0])}{_ends(calendars, first, role)}. Align them "
                "before the run."
            )


def check_current_bar(feeds: Mapping[str, Any]) -> None:
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
        if now != there:
            raise BarsError(
                f"{_pair(feeds, first, role)} must share one calendar, but while the "
                f"first stands on {date_text(now)}, the second stands on "
                f"{date_text(there)}. Align them before the run."
            )


def is_live(feeds: Mapping[str, Any]) -> bool:
    """Tell whether a feed is live: its bars come one by one, and may not come."""
    return any(bool(feed.islive()) for feed in feeds.values())


def stand_together(feeds: Mapping[str, Any]) -> bool:
    """Tell whether every feed has a bar, and all of them one of the same session."""
    numbers = {feed.datetime[0] if len(feed) else np.nan for feed in feeds.values()}
    return len(numbers) == 1 and not np.isnan(numbers.pop())


def _ends(calendars: Mapping[str, np.ndarray], first: str, second: str) -> str:
    """Say which feed ends early, as that of a delisted fund does."""
    ends = {role: calendars[role].max(initial=0.0) for role in (first, second)}
    early = min(ends, key=ends.__getitem__)
    if ends[first] == ends[second] or not ends[early]:
        return ""
    return f" ({early} ends on {date_text(ends[early])})"


def _pair(feeds: Mapping[str, Any], first: str, second: str) -> str:
    names = [f"'{feeds[role]._name or role}'" for role in (first, second)]
    return f"The feeds {' and '.join(names)}"


def date_text(number: float) -> str:
    """Return the date of a Backtrader date number as text."""
    return "no bar yet" if np.isnan(number) else str(bt.num2date(number).date())
