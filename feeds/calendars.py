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
                f"disagree on {len(differing)} sessions, first {_date(differing[0])}. "
                "Align them before the run."
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
                f"first stands on {_date(now)}, the second stands on {_date(there)}. "
                "Align them before the run."
            )


def _pair(feeds: Mapping[str, Any], first: str, second: str) -> str:
    names = [f"'{feeds[role]._name or role}'" for role in (first, second)]
    return f"The feeds {' and '.join(names)}"


def _date(number: float) -> str:
    return "no bar yet" if np.isnan(number) else str(bt.num2date(number).date())
