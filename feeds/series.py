"""Series of a source that are no bars: Treasury yields and the put/call ratio."""

import re
from collections.abc import Sequence
from typing import Final

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.sources import DataSource
from trm_bt.market.bars import (
    LARGEST_RATE_CHANGE,
    RATE_RANGE,
    check_positive,
    check_sessions,
)
from trm_bt.text import shorten

CASH_YIELD: Final = "dgs3mo"
LONG_YIELDS: Final = ("dgs30", "dgs20")
TEN_YEARS: Final = "dgs10"
_NO_CASH: Final = [*LONG_YIELDS, TEN_YEARS]
_RANGE: Final = tuple(100 * limit for limit in RATE_RANGE)
_LARGEST_CHANGE: Final = 100 * LARGEST_RATE_CHANGE
_PUBLISHED: Final = re.compile(r"dgs\d+(mo)?|d?tb\d+(ms)?|irx|dff|fedfunds|effr|sofr")
"""Yields whose levels are known; what a broker pays may be any."""
_LOW_RATES: Final = (
    ("1900-01-01", "1949-12-31"),
    ("2008-09-15", "2016-12-31"),
    ("2020-03-01", "2022-05-31"),
)
"""When short yields were below what they have been at all other times."""
_LEAST_PERCENT: Final = 0.3
"""Outside these times short yields, and at all times long ones, were higher; as a
decimal, it would be 30% a year."""
_LEAST_LOW_PERCENT: Final = 0.006
_MIN_LOW: Final = 60
"""In these times short yields were higher on some of so many sessions."""
_RATIO_LEVELS: Final = (0.1, 5.0)
_RATIO_SESSIONS: Final = 60
"""Between these lies the median of the ratio over so many sessions."""
_PUT_CALL_COLUMNS: Final = ("total_pc", "equity_pc", "p/c ratio")


def load_yields(source: DataSource) -> pd.DataFrame | None:
    """Load the yields that the source has.

    Returns
    -------
    DataFrame of shape (n_rows, n_yields) or None
        Percent a year, NaN where none was published; None without a table of them.

    Raises
    ------
    BarsError
        If the sessions break a rule, or a yield is in decimals.
    """
    table = source.read("rates")
    if table is None:
        return None
    where = source.where("rates")
    check_sessions(table.index, where)
    for name in table.columns.intersection([CASH_YIELD, *_NO_CASH]):
        _check_percent(table[name].dropna(), where)
    return table


def load_cash_yield(source: DataSource) -> pd.Series | None:
    """Load what pays for cash: `dgs3mo`, else the only column that is no long yield.

    Returns
    -------
    Series of shape (n_rows,) or None
        Percent a year, known at the close of its session; None without a table, or
        where it has long yields only.

    Raises
    ------
    BarsError
        If the yields break a rule, or several columns may be meant.
    """
    yields = load_yields(source)
    if yields is None:
        return None
    yields = yields[yields.columns.difference(_NO_CASH, sort=False)]
    if yields.columns.empty:
        return None
    where = source.where("rates")
    cash = _the_column(yields, [CASH_YIELD], where)
    if _PUBLISHED.fullmatch(str(cash.name)):
        _check_unit(cash, f"{where}: '{cash.name}' must be percent a year")
    return cash


def load_put_call(source: DataSource) -> pd.Series | None:
    """Load the put/call ratio: of all options, else of equities, else the only column.

    Returns
    -------
    Series of shape (n_rows,) or None
        Volume of puts over volume of calls, known at the close of its session; None
        without a table.

    Raises
    ------
    BarsError
        If the sessions break a rule, no column is known, or a ratio is not positive.
    """
    table = source.read("putcall")
    if table is None:
        return None
    where = source.where("putcall")
    check_sessions(table.index, where)
    ratio = _the_column(table, _PUT_CALL_COLUMNS, where)
    check_positive(ratio.to_frame(), where)
    _check_ratio(ratio, where)
    return ratio


def _the_column(table: pd.DataFrame, known: Sequence[str], where: str) -> pd.Series:
    """Return the first known column, else the only one, without its empty rows."""
    columns = list(table.columns)
    found = [column for column in known if column in columns]
    if not found and len(columns) != 1:
        raise BarsError(
            f"{where}: must have a column {' or '.join(known)}, or one column only, "
            f"got {shorten(columns)}."
        )
    return table[(found or columns)[0]].dropna()


def _check_ratio(ratio: pd.Series, where: str) -> None:
    median = ratio.rolling(_RATIO_SESSIONS, min_periods=1).median()
    is_wrong = ~median.between(*_RATIO_LEVELS)
    if is_wrong.any():
        first = ratio.index[is_wrong][0]
        least, most = _RATIO_LEVELS
        raise BarsError(
            f"{where}: '{ratio.name}' must be the volume of puts over that of calls, "
            f"with a median from {least:g} to {most:g} of {_RATIO_SESSIONS} sessions; "
            f"on {first.date()} it is {median[first]:g}. Give the ratio."
        )


def _check_percent(values: pd.Series, where: str) -> None:
    rule = f"{where}: '{values.name}' must be percent a year"
    _check_unit(values, rule)
    lowest, highest = _RANGE
    is_outside = (values < lowest) | (values > highest)
    is_leap = values.diff().abs() > _LARGEST_CHANGE
    for is_wrong, what in (
        (is_outside, f"from {lowest:g} to {highest:g}"),
        (is_leap, f"and change by {_LARGEST_CHANGE:g} at most in a session"),
    ):
        if is_wrong.any():
            first = values.index[is_wrong][0]
            raise BarsError(f"{rule}, {what}; on {first.date()} got {values[first]:g}.")


def _check_unit(values: pd.Series, rule: str) -> None:
    decimal = _decimals_in(values)
    if len(decimal):
        first, last = decimal.index[[0, -1]]
        raise BarsError(
            f"{rule}, got at most {decimal.max():g} on {len(decimal)} sessions from "
            f"{first.date()} to {last.date()}: these look like decimals. Multiply "
            "them by 100."
        )


def _decimals_in(values: pd.Series) -> pd.Series:
    """Return the yields that are too low to be percent, of those given by date."""
    above = values[values > 0]
    is_low = pd.Series(data=False, index=above.index)
    if values.name not in _NO_CASH:
        for first, last in _LOW_RATES:
            is_low |= (above.index >= first) & (above.index <= last)
    low, is_decimal = above[is_low], ~is_low & (above < _LEAST_PERCENT)
    if len(low) >= _MIN_LOW and low.max() < _LEAST_LOW_PERCENT:
        is_decimal |= is_low
    return above[is_decimal]
