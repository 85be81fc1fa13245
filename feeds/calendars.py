"""Feeds that a strategy reads together must stand on the same sessions.

The engine separates bars by date and time of day: two daily feeds that stamp a
session differently never stand on it together.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import backtrader as bt
import numpy as np

from trm_bt.errors import BarsError
from trm_bt.feeds._typing import Feed, Feeds
from trm_bt.feeds.backtrader import stamp_of, stamps_of

_FEW_BARS: Final = 10
_MOST_DAYS_APART: Final = 4.0
_LONGEST_BREAK: Final = 14.0
"""Calendar days between bars: exchanges close for a festive week at most."""
_MADE_UP: Final = (bt.filters.HeikinAshi, bt.filters.Renko)
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
    calendars = {role: stamps_of(feed, feed.buflen()) for role, feed in feeds.items()}
    for role, numbers in calendars.items():
        dates = np.floor(numbers) if _is_daily(feeds[role]) else numbers
        is_right = np.diff(dates) > 0
        if not is_right.all():
            at = int(is_right.argmin())
            raise _out_of_order(feeds, role, numbers[at], numbers[at + 1])
        if len(dates) >= _FEW_BARS:
            _check_pace(feeds, role, float(np.median(np.diff(dates))))
        if len(dates) > 1:
            at = int(np.diff(dates).argmax())
            _check_break(feeds, role, numbers[at], numbers[at + 1])
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
        now = stamp_of(self._feeds[first])
        stands_still = min(lengths.values()) == self._n_handled
        for role, n_bars in lengths.items():
            if stands_still and self._n_handled and n_bars == self._n_handled:
                continue  # another one has its session twice
            if n_bars != self._n_handled + 1 and not self._n_handled:
                raise BarsError(
                    f"{_pair(self._feeds, first, role)} must share one calendar, but "
                    f"the second begins before the first, which does so on "
                    f"{date_text(now)}. {_ALIGN}"
                )
            if stands_still or n_bars != self._n_handled + 1:
                raise _out_of_order(self._feeds, role, now, now)
        check_is_later(self._feeds, self._newest)
        if self._n_handled:
            _check_break(self._feeds, first, self._newest, now)
        return True

    def handle(self) -> None:
        """Mark the current bar as handled."""
        self._n_handled += 1
        self._newest = stamp_of(next(iter(self._feeds.values())))
        if self._n_handled == 1:
            self._first = self._newest
        if self._n_handled == _FEW_BARS:
            for role in filter(lambda name: _is_daily(self._feeds[name]), self._feeds):
                days = (self._newest - self._first) / (_FEW_BARS - 1)
                _check_pace(self._feeds, role, days)


def check_current_bar(feeds: Feeds) -> None:
    """Raise `BarsError` unless every feed has a bar on the current session.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role, whether their later bars are known or not.
    """
    first, *others = feeds
    now = stamp_of(feeds[first]) if len(feeds[first]) else np.nan
    for role in others:
        there = stamp_of(feeds[role]) if len(feeds[role]) else np.nan
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
    now = stamp_of(feeds[first])
    dates = np.floor([newest, now]) if _is_daily(feeds[first]) else (newest, now)
    if not dates[1] > dates[0]:
        raise _out_of_order(feeds, first, newest, now)


def check_weekdays(feed: Feed, numbers: Iterable[float]) -> None:
    """Raise `BarsError` for a daily feed with a bar on a weekend.

    Features look back sessions of the exchange, which has none there: such bars repeat
    Friday's, or stand on another date than that of their session.

    Parameters
    ----------
    feed : data feed
        Whose bars they are.
    numbers : iterable of float
        Date numbers of some of its bars.
    """
    days = (date.fromordinal(int(number)) for number in numbers)
    if _is_daily(feed) and (day := next((d for d in days if d.weekday() > 4), None)):
        raise BarsError(
            f"The feed '{feed._name}' must have bars of New York sessions, but has one "
            f"on {day:%A} {day}. Leave weekends out; with midnights of another time "
            "zone the dates are shifted: give them without a zone."
        )


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
        made_up = [kind for kind, *_ in feed._filters if isinstance(kind, _MADE_UP)]
        if made_up:
            raise BarsError(
                f"{_name(feeds, role)} must give bars as they were traded, but has the "
                f"filter {type(made_up[0]).__name__}: its prices are not traded. Use "
                "it on a copy: `feed.clone()`."
            )


def check_daily(feeds: Feeds) -> None:
    """Raise `BarsError` for a feed that cannot give one finished bar per session."""
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
        role: stamp_of(feed)
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
    numbers = {stamp_of(feed) if len(feed) else np.nan for feed in feeds.values()}
    return len(numbers) == 1 and not np.isnan(numbers.pop())


def _check_pace(feeds: Feeds, role: str, days: float) -> None:
    """Refuse a daily feed whose bars stand as many days apart as those of weeks."""
    if _is_daily(feeds[role]) and days > _MOST_DAYS_APART:
        raise BarsError(
            f"{_name(feeds, role)} must give daily bars, but its bars stand {days:.3g} "
            "days apart. Give it bars of every session."
        )


def _check_break(feeds: Feeds, role: str, before: float, now: float) -> None:
    """Refuse a daily feed that lacks weeks: features would look back across them."""
    if _is_daily(feeds[role]) and now - before > _LONGEST_BREAK:
        raise BarsError(
            f"{_name(feeds, role)} must have a bar every session, but has none "
            f"between {date_text(before)} and {date_text(now)}. Fill the gap, or begin "
            "after it."
        )


def _is_daily(feed: Feed) -> bool:
    """Return whether a feed says that it has a bar a day: then dates identify bars."""
    return bool(feed._timeframe == bt.TimeFrame.Days)


def _out_of_order(feeds: Feeds, role: str, before: float, now: float) -> BarsError:
    """Return the error of a feed whose bar `now` does not come after `before`."""
    rule = f"{_name(feeds, role)} must have one bar per session, oldest first"
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
        f"{_time_text(stamps[1])}. Give daily bars one time of day: frames by "
        "`frame.index = frame.index.tz_localize(None).normalize()`, other feeds by "
        "`sessionend=datetime.time(0, 0)`."
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
