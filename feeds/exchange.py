"""The sessions of the New York Stock Exchange, and which of them has closed."""

import warnings
from functools import cache
from typing import TYPE_CHECKING, Final

import pandas as pd

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

FIRST_SESSION: Final = pd.Timestamp("1962-01-02")
"""No bar before this one is looked for: Yahoo's daily history begins here."""
_REGULAR_FROM: Final = pd.Timestamp("1970-01-01")
_LAST_YEAR: Final = 2029
SETTLED_AFTER: Final = pd.Timedelta(minutes=30)
"""Time after the close from which on a session's bar is final."""


def _calendar(last: pd.Timestamp) -> "ExchangeCalendar":
    # one calendar serves all that ends before its last year
    return _calendar_of_decades(max(last.year // 10 * 10 + 9, _LAST_YEAR))


@cache
def _calendar_of_decades(last_year: int) -> "ExchangeCalendar":
    """Return the calendar up to the end of a year: it takes a second to make one."""
    from exchange_calendars import get_calendar

    end = pd.Timestamp(year=last_year, month=12, day=31)
    with warnings.catch_warnings():
        # the calendar's own code meets a deprecation of pandas 3.1
        warnings.filterwarnings("ignore", "Series.values returning", DeprecationWarning)
        return get_calendar("XNYS", start=FIRST_SESSION, end=end)


def nyse_sessions(start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Return the sessions from `start` to `end`, both inclusive.

    Parameters
    ----------
    start, end : Timestamp
        Tz-naive dates; a `start` before `FIRST_SESSION` counts as that session.

    Returns
    -------
    DatetimeIndex of shape (n_sessions,)
        Tz-naive sessions, oldest first, named "session".

    Examples
    --------
    >>> week = nyse_sessions(pd.Timestamp("2001-09-10"), pd.Timestamp("2001-09-18"))
    >>> [session.date().isoformat() for session in week]
    ['2001-09-10', '2001-09-17', '2001-09-18']
    """
    calendar = _calendar(max(end, FIRST_SESSION))
    sessions = calendar.sessions
    if start < _REGULAR_FROM:  # the calendar leaves its regular holidays out from then
        holidays = calendar.regular_holidays.holidays(FIRST_SESSION, _REGULAR_FROM)
        sessions = sessions.difference(holidays)
    found = sessions[(sessions >= start) & (sessions <= end)]
    return pd.DatetimeIndex(found.to_numpy(), name="session")


def last_final_day(now: pd.Timestamp) -> pd.Timestamp:
    """Return the last date whose bars are final at `now`: today after the close.

    Parameters
    ----------
    now : Timestamp
        A moment with a time zone.

    Examples
    --------
    >>> last_final_day(pd.Timestamp("2024-07-05 11:00", tz="America/New_York")).date()
    datetime.date(2024, 7, 4)
    >>> last_final_day(pd.Timestamp("2024-07-05 16:30", tz="America/New_York")).date()
    datetime.date(2024, 7, 5)
    """
    today = now.tz_convert("America/New_York").tz_localize(None).normalize()
    return max(last_closed_session(now - SETTLED_AFTER), today - pd.Timedelta(days=1))


def last_closed_session(now: pd.Timestamp) -> pd.Timestamp:
    """Return the newest session that has closed at `now`, on New York time.

    Parameters
    ----------
    now : Timestamp
        A moment with a time zone.

    Examples
    --------
    >>> friday = "2024-07-05 15:59"
    >>> last_closed_session(pd.Timestamp(friday, tz="America/New_York")).date()
    datetime.date(2024, 7, 3)
    >>> friday = "2024-07-05 16:00"
    >>> last_closed_session(pd.Timestamp(friday, tz="America/New_York")).date()
    datetime.date(2024, 7, 5)
    """
    closes = _calendar(now).closes
    return pd.Timestamp(closes.index[closes <= now.tz_convert("UTC")][-1])
