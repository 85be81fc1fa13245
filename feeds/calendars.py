"""Feeds that a strategy reads together must stand on the same sessions.

The engine separates bars by date and time of day: two daily feeds that stamp a
session differently never stand on it together.
"""

from collections.abc import Mapping
from typing import Final

import backtrader as bt
import numpy as np

from trm_bt.errors import BarsError
from trm_bt.feeds._typing import Feed, Feeds

_ALIGN: Final = "Align them before the run, times of day too."
RESAMPLE: Final = (
    "Resample it to days: `cerebro.resampledata(feed, timeframe=bt.TimeFrame.Days)`."
)


def check_preloaded(feeds: Feeds) -> None:
    """Raise `BarsError` unless the preloaded feeds hold the same sessions, in order.

    The engine joins their lines by position: a session that one of them holds twice
    moves every later value by one.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Preloaded feeds by role; the first one is what the others are held against.
    """
    calendars = {
        role: np.array(feed.datetime.array[: feed.buflen()])
        for role, feed in feeds.items()
    }
    for role, numbers in calendars.items():
        dates = np.floor(numbers) if _is_daily(feeds[role]) else numbers
        is_right = np.diff(dates) > 0
        if not is_right.all():
            at = int(is_right.argmin())
            raise _out_of_order(feeds, role, numbers[at], numbers[at + 1])
    first, *others = calendars
    for role in others:
        if np.array_equal(calendars[first], calendars[role]):
            continue
        only_first = np.setdiff1d(calendars[first], calendars[role])
        only_role = np.setdiff1d(calendars[role], calendars[first])
        _, ours, theirs = np.intersect1d(
            np.floor(only_first), np.floor(only_role), return_indices=True
        )
        if len(ours):
            stamps = only_first[ours[0]], only_role[theirs[0]]
            raise _stamped_apart(feeds, first, role, stamps)
        differing = np.union1d(only_first, only_role)
        raise BarsError(
            f"{_pair(feeds, first, role)} must share one calendar, but they "
            f"disagree on {len(differing)} sessions, first "
            f"{date_text(differing[0])}{_ends(calendars, first, role)}. {_ALIGN}"
        )


class BarByBar:
    """Hold feeds against each other on each bar, where later bars may not be known.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role, no live ones.
    """

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._n_handled, self._newest = 0, -np.inf

    def has_new(self) -> bool:
        """Return whether there is a bar that was not handled yet.

        Raises
        ------
        BarsError
            If a feed lacks it, holds it twice, or holds it after a later one.
        """
        first = next(iter(self._feeds))
        lengths = {role: len(feed) for role, feed in self._feeds.items()}
        if not lengths[first] or set(lengths.values()) == {self._n_handled}:
            return False
        check_current_bar(self._feeds)
        now = self._feeds[first].datetime[0]
        for role, n_bars in lengths.items():
            if n_bars != self._n_handled + 1 and not self._n_handled:
                raise BarsError(
                    f"{_pair(self._feeds, first, role)} must share one calendar, but "
                    f"the second begins before the first, which does so on "
                    f"{date_text(now)}. {_ALIGN}"
                )
            if n_bars != self._n_handled + 1:
                raise _out_of_order(self._feeds, role, now, now)
        check_is_later(self._feeds, self._newest)
        return True

    def handle(self) -> None:
        """Mark the current bar as handled."""
        self._n_handled += 1
        self._newest = next(iter(self._feeds.values())).datetime[0]


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


def check_is_later(feeds: Feeds, newest: float) -> None:
    """Raise `BarsError` unless the current bar is one of a later session.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role that stand together.
    newest : float
        Date number of the bar that they stood on before; minus infinity for none.
    """
    first = next(iter(feeds))
    now = feeds[first].datetime[0]
    dates = np.floor([newest, now]) if _is_daily(feeds[first]) else (newest, now)
    if not dates[1] > dates[0]:
        raise _out_of_order(feeds, first, newest, now)


def check_finished(feeds: Feeds) -> None:
    """Raise `BarsError` for a feed whose bars are not finished when they are given.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role, before the run.
    """
    for role, feed in feeds.items():
        if sum(other is feed for other in feed._env.datas) > 1:
            raise BarsError(
                f"{_name(feeds, role)} must be in the Cerebro once: added twice, its "
                "bars go by two at a time. Add `feed.clone()` the second time."
            )
        if any(part.replaying for part in [feed, *parts_of(feed)]):
            raise BarsError(
                f"{_name(feeds, role)} must give finished bars, but is replayed: its "
                f"bar changes until the session ends. {RESAMPLE}"
            )


def check_daily(feeds: Feeds) -> None:
    """Raise `BarsError` for a feed that cannot give one finished bar a session."""
    check_finished(feeds)
    for role, feed in feeds.items():
        length = feed._timeframe, feed._compression
        if length != (bt.TimeFrame.Days, 1):
            raise BarsError(
                f"{_name(feeds, role)} must give daily bars, got bars of {length[1]} "
                f"{bt.TimeFrame.getname(length[0], 1)}. {RESAMPLE}"
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
        if len(feed) and _is_daily(feed)
    }
    first = next(iter(stamps), "")
    for role, there in stamps.items():
        if stamps[first] != there and np.floor(stamps[first]) == np.floor(there):
            raise _stamped_apart(feeds, first, role, (stamps[first], there))


def is_live(feeds: Feeds) -> bool:
    """Return whether a feed is live: its bars come one by one, or not at all.

    Backtrader calls chained and rolled feeds live, for they are not preloaded; they are
    history unless a part of them is live.
    """
    parts = (part for feed in feeds.values() for part in parts_of(feed))
    return any(bool(part.islive()) for part in parts)


def parts_of(feed: Feed) -> list[Feed]:
    """Return what a resampled copy, a chain or a roll is made of; else the feed."""
    if feed._clone:
        made_of = (feed.data,)
    elif isinstance(feed, bt.feeds.Chainer):
        made_of = feed._args
    elif isinstance(feed, bt.feeds.RollOver):
        made_of = feed._rolls
    else:
        return [feed]
    return [part for one in made_of for part in parts_of(one)]


def stand_together(feeds: Feeds) -> bool:
    """Return whether every feed has a bar, and all of them one of the same session."""
    numbers = {feed.datetime[0] if len(feed) else np.nan for feed in feeds.values()}
    return len(numbers) == 1 and not np.isnan(numbers.pop())


def _is_daily(feed: Feed) -> bool:
    """Tell whether a feed says that it has a bar a day: then the date tells bars."""
    return bool(feed._timeframe == bt.TimeFrame.Days)


def _out_of_order(feeds: Feeds, role: str, before: float, now: float) -> BarsError:
    """Return the error of a feed whose bar `now` does not come after `before`."""
    rule = f"{_name(feeds, role)} must have one bar a session, oldest first"
    if np.isnan(before) or np.isnan(now):
        known = now if np.isnan(before) else before
        near = "" if np.isnan(known) else f" beside that of {date_text(known)}"
        return BarsError(f"{rule}, but the bar{near} has no date.")
    if now == before:
        return BarsError(f"{rule}, but has {date_text(now)} twice. Drop one of them.")
    if np.floor(now) == np.floor(before):
        return BarsError(
            f"{rule}, but has bars of {date_text(now)} at {_time_text(before)} and "
            f"{_time_text(now)}. {RESAMPLE}"
        )
    return BarsError(
        f"{rule}, but {date_text(now)} comes after {date_text(before)}. Sort it."
    )


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


def _name(feeds: Feeds, role: str) -> str:
    return f"The feed '{feeds[role]._name or role}'"


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
