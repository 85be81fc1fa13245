"""Members, put/call ratio and cash rate: served whole, or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.checked import checked_prices
from trm_bt.feeds.series import load_cash_yield, load_put_call
from trm_bt.feeds.sources import DataSource
from trm_bt.market.bars import MAX_CARRIED_SESSIONS, Provenance

INSISTABLE: Final = ("members", "put_call")
_PUT_CALL_BREAKS: Final = {
    "2003-05-19": "placeholders up to 2003-05-21, another basis by 2006",
    "2012-06-11": "the basis changed",
    "2019-10-07": "the basis changed",
}
"""Where the CBOE's ratio is no longer what it was before."""


@dataclass(frozen=True)
class OptionalInput:
    """Values of an optional role as its tables give them, and where they are from.

    Parameters
    ----------
    values : DataFrame of shape (n_rows, n_columns)
        Values on the sessions of the source.
    source : str
        Name for the provenance.
    breaks : mapping of str to str
        Sessions at which the series changes its meaning, and how.
    warnings : tuple of str
        What is odd about the values.
    """

    values: pd.DataFrame
    source: str
    breaks: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def carried(self, calendar: pd.DatetimeIndex) -> pd.DataFrame:
        """Carry values over short holes, NaN elsewhere: (n_sessions, n_columns)."""
        index = self.values.index.union(calendar)
        values = self.values.reindex(index).ffill(limit=MAX_CARRIED_SESSIONS)
        return values.loc[calendar]

    def on(self, calendar: pd.DatetimeIndex) -> tuple[pd.DataFrame | None, Provenance]:
        """Return values, (n_sessions, n_columns), unless one lacks; provenance."""
        values = self.carried(calendar)
        first, last = calendar[0], calendar[-1]
        is_absent = values.isna().any(axis=1).to_numpy()
        if is_absent.any():
            note = (
                f"not used: no value on {is_absent.sum()} of {len(calendar)} sessions, "
                f"first {calendar[int(is_absent.argmax())].date()}"
            )
            return None, Provenance(self.source, first, last, "proxy", (note,))
        is_carried = self.values.reindex(calendar).isna().any(axis=1)
        notes = [
            f"the CBOE's ratio breaks on {day}: {what}; a ratio to the trailing mean "
            "forgets it within 252 sessions"
            for day, what in self.breaks.items()
            if first < pd.Timestamp(day) <= last
        ]
        if is_carried.any():
            notes.insert(0, f"carried forward on {is_carried.sum()} sessions")
        notes += self.warnings
        return values, Provenance(self.source, first, last, "observed", tuple(notes))


def read_optional_inputs(source: DataSource, span: slice) -> dict[str, OptionalInput]:
    """Read the optional roles that the source has.

    Parameters
    ----------
    source : DataSource
        Where they are read from.
    span : slice of str
        First and last date that members are examined on, inclusive.

    Raises
    ------
    BarsError
        If a table breaks a rule; a yield in decimals instead of percent is one.
    """
    found: dict[str, OptionalInput] = {}
    symbols, closes = source.members(), {}
    warnings: list[str] = []
    for symbol in symbols:
        frame, said = checked_prices(source, symbol, "member", span)
        closes[symbol] = frame["close"]
        warnings += said
    if symbols:
        name = ", ".join(symbols)
        found["members"] = OptionalInput(
            pd.DataFrame(closes), name, warnings=tuple(warnings)
        )
    put_call = load_put_call(source)
    if put_call is not None:
        name = f"{source.origin('putcall')}: put/call ratio {put_call.name}"
        found["put_call"] = OptionalInput(put_call.to_frame(), name, _PUT_CALL_BREAKS)
    cash = load_cash_yield(source)
    if cash is not None:
        name = f"{source.origin('rates')}: {cash.name}, percent a year"
        found["cash_rate"] = OptionalInput(cash.to_frame() / 100.0, name)
    return found


def shorten_for(
    observed: Sequence[str],
    optional: Mapping[str, OptionalInput],
    calendar: pd.DatetimeIndex,
    title: str,
) -> pd.DatetimeIndex:
    """Start the calendar after the last session on which an insisted input lacks.

    The calendar, shape (n_sessions,), loses its first sessions alone.

    Raises
    ------
    BarsError
        If an input cannot be insisted on, is missing, or ends before the calendar.
    """
    for name in observed:
        if name not in INSISTABLE:
            raise BarsError(
                f"`observed` takes {' or '.join(INSISTABLE)}, got '{name}'."
            )
        if name not in optional:
            raise BarsError(f"The {title} must hold '{name}' to observe it: none does.")
        is_absent = optional[name].carried(calendar).isna().any(axis=1).to_numpy()
        n_skipped = int(np.flatnonzero(is_absent)[-1]) + 1 if is_absent.any() else 0
        if n_skipped == len(calendar):
            raise BarsError(
                f"The {title} must hold '{name}' up to the last session "
                f"{calendar[-1].date()}, and have no value there."
            )
        calendar = calendar[n_skipped:]
    return calendar
