"""The days for which Treasury yields were published, 1962 to 1989.

The bond market kept New York's bank holidays: Lincoln's birthday to 1985, election days
to 1984, Columbus and Veterans' Day throughout, Good Friday.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import pandas as pd
from dateutil.relativedelta import MO, TU, weekday
from pandas.tseries.holiday import (
    AbstractHolidayCalendar,
    GoodFriday,
    Holiday,
    USLaborDay,
    USThanksgivingDay,
    nearest_workday,
    sunday_to_monday,
)

FIRST: Final = pd.Timestamp("1962-01-02")
LAST: Final = pd.Timestamp("1989-12-29")

CLOSED: Final = pd.DatetimeIndex(
    [
        *("1963-11-25", "1968-04-09", "1969-03-31"),  # Kennedy, King, Eisenhower buried
        *("1964-02-21", "1964-05-29"),  # holidays on Saturdays, in this year alone
        "1969-07-21",  # men on the moon
        "1973-12-24",  # a Monday before Christmas
        "1977-07-14",  # New York without power
        *("1978-05-30", "1979-05-30"),  # Memorial Day as it was, beside the new one
        "1985-09-27",  # Hurricane Gloria
    ]
)
"""Days without yields that follow no rule."""


def _fixed(
    name: str,
    month: int,
    day: int,
    years: tuple[int, int] = (1962, 1989),
    observance: Callable[[datetime], datetime] = sunday_to_monday,
) -> Holiday:
    """Return a holiday on a date, moved from Sundays unless `observance` says more."""
    return Holiday(name, month=month, day=day, observance=observance, **_within(*years))


def _nth(
    name: str, month: int, day: int, when: weekday, years: tuple[int, int]
) -> Holiday:
    """Return a holiday on a weekday, counted from a day of the month."""
    offset = pd.DateOffset(weekday=when)
    return Holiday(name, month=month, day=day, offset=offset, **_within(*years))


def _within(first: int, last: int) -> dict[str, pd.Timestamp]:
    return {
        "start_date": pd.Timestamp(first, 1, 1),
        "end_date": pd.Timestamp(last, 12, 31),
    }


class BondHolidays(AbstractHolidayCalendar):
    """Holidays of the bond market that follow a rule."""

    rules: Final = [
        _fixed("New Year", 1, 1),
        _nth("King's birthday", 1, 1, MO(3), (1985, 1989)),
        _fixed("Lincoln's birthday", 2, 12, (1962, 1985)),
        _fixed("Washington's birthday", 2, 22, (1962, 1970)),
        _nth("Washington's birthday", 2, 1, MO(3), (1971, 1989)),
        GoodFriday,
        _fixed("Memorial Day", 5, 30, (1962, 1970)),
        _nth("Memorial Day", 5, 31, MO(-1), (1971, 1989)),
        _fixed("Independence Day", 7, 4, observance=nearest_workday),
        USLaborDay,
        _fixed("Columbus Day", 10, 12, (1962, 1970)),
        _nth("Columbus Day", 10, 1, MO(2), (1971, 1989)),
        _nth("Election Day", 11, 2, TU(1), (1962, 1984)),
        _fixed("Veterans' Day", 11, 11, (1962, 1970)),
        _nth("Veterans' Day", 10, 1, MO(4), (1971, 1973)),
        _fixed("Veterans' Day", 11, 11, (1974, 1989)),
        USThanksgivingDay,
        _fixed("Christmas", 12, 25, observance=nearest_workday),
    ]


def bond_days() -> pd.DatetimeIndex:
    """Return the days from 1962-01-02 to 1989-12-29 that have yields, (n_days,)."""
    weekdays = pd.bdate_range(FIRST, LAST)
    holidays = BondHolidays().holidays(FIRST, LAST)
    return weekdays.difference(holidays).difference(CLOSED)
