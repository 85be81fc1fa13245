"""The sessions of the New York Stock Exchange: which there were, and which has closed."""

from functools import cache
from typing import TYPE_CHECKING, Final

import pandas as pd

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

FIRST_SESSION: Final = pd.Timestamp("1962-01-02")
"""No bar before this one is looked for: Yahoo's daily history begins here."""


@cache
def _calendar(end: pd.Timestamp) -> "ExchangeCalendar":
    from exchange_calendars import get_calendar

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
    year_end = max(end, FIRST_SESSION) + pd.offsets.YearEnd(0)
    sessions = _calendar(year_end.normalize()).sessions
    found = sessions[(sessions >= start) & (sessions <= end)]
    return pd.DatetimeIndex(found, freq=None, name="session")


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
    year_end = (now.tz_convert(None) + pd.offsets.YearEnd(0)).normalize()
    closes = _calendar(year_end).closes
    return closes.index[closes <= now.tz_convert("UTC")][-1]
