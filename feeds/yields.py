"""Treasury yields of a source, checked to be percent a year."""

from typing import Final

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.sources import Source
from trm_bt.market.bars import check_sessions

CASH_YIELD: Final = "dgs3mo"
LONG_YIELDS: Final = ("dgs30", "dgs20")
_LOWEST_PEAK_PERCENT: Final = 0.09
"""Since 1990 the 3-month yield in decimals has stayed below this, and in percent it has
peaked above it in any two years."""
_RANGE: Final = (-2.0, 20.0)
_LARGEST_CHANGE: Final = 3.0
"""Treasury yields since 1962 have stayed between 0 and 18, and moved by less than 2."""


def read_yields(source: Source) -> pd.DataFrame | None:
    """Read the yields that the source has.

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
    for name in table.columns.intersection([CASH_YIELD, *LONG_YIELDS]):
        _check_percent(table[name].dropna(), where)
    return table


def _check_percent(values: pd.Series, where: str) -> None:
    rule = f"{where}: '{values.name}' must be percent a year"
    if 0 < values.max() < _LOWEST_PEAK_PERCENT:
        raise BarsError(
            f"{rule}, got at most {values.max():g}: these look like decimals."
        )
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


def read_cash_yield(source: Source) -> pd.Series | None:
    """Read what pays for cash: `dgs3mo`, else the table's only column.

    Returns
    -------
    Series of shape (n_rows,) or None
        Percent a year; None without a table, or where it has long yields only.

    Raises
    ------
    BarsError
        If there are several columns and none is `dgs3mo`.
    """
    yields = read_yields(source)
    if yields is None:
        return None
    if CASH_YIELD in yields:
        return yields[CASH_YIELD].dropna()
    others = yields.columns.difference(list(LONG_YIELDS))
    if not len(others):
        return None
    if len(others) > 1:
        raise BarsError(
            f"{source.where('rates')}: must have a column {CASH_YIELD}, or one column "
            f"only, got {list(yields.columns)}."
        )
    return yields[others[0]].dropna()
