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
        Preloaded feeds by name; the first one is what the others are held against.
    """
    calendars = {
        name: np.array(feed.datetime.array[: feed.buflen()])
        for name, feed in feeds.items()
    }
    first, *others = calendars
    for name in others:
        differing = np.setxor1d(calendars[first], calendars[name])
        if len(differing):
            raise BarsError(
                f"The feeds '{first}' and '{name}' must share one calendar, but they "
                f"disagree on {len(differing)} sessions, first "
                f"{bt.num2date(differing[0]).date()}. Align them before the run."
            )


def check_current_bar(feeds: Mapping[str, Any]) -> None:
    """Raise `BarsError` unless every feed has a bar on the current session.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by name, whether their later bars are known or not.
    """
    times = {
        name: feed.datetime[0] if len(feed) else np.inf for name, feed in feeds.items()
    }
    latest = max((time for time in times.values() if time < np.inf), default=np.inf)
    late = [name for name, time in times.items() if time != latest]
    if late:
        present = next(name for name, time in times.items() if time == latest)
        raise BarsError(
            f"The feeds '{present}' and '{late[0]}' must share one calendar, but on "
            f"{bt.num2date(latest).date()} only the first has a bar. Align them "
            "before the run."
        )
