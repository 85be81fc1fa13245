"""Members, put/call ratio and cash rate: served whole, or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.checked import checked_prices, find_all
from trm_bt.feeds.series import load_cash_yield, load_put_call
from trm_bt.feeds.sources import CORE_SYMBOLS, DataSource
from trm_bt.market.bars import MAX_CARRIED_SESSIONS, Note, Provenance
from trm_bt.quality.findings import refuse

INSISTABLE: Final = ("members", "put_call")
_SERIES: Final = ("rates", "putcall")
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
    beyond : float or None
        What stands where there is no value, before the first, after the last and in
        long holes; without it values that do not cover all sessions do not serve.
    """

    values: pd.DataFrame
    source: str
    breaks: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    beyond: float | None = None

    def carried(self, calendar: pd.DatetimeIndex) -> pd.DataFrame:
        """Carry values over short holes, NaN elsewhere: (n_sessions, n_columns)."""
        index = self.values.index.union(calendar)
        values = self.values.reindex(index).ffill(limit=MAX_CARRIED_SESSIONS)
        return values.loc[calendar]

    def unreached(self, calendar: pd.DatetimeIndex) -> tuple[Note, ...]:
        """Say on which sessions there is no value, and what stands there."""
        is_absent = _is_absent(self.carried(calendar))
        if self.beyond is None or not is_absent.any() or is_absent.all():
            return ()
        sessions, inside = calendar[is_absent], calendar[~is_absent]
        served = f"{inside[0].date()} to {inside[-1].date()}"
        what = f"{self.beyond:g} stands where there is no value"
        words = f"serves {served}; {what}, on {len(sessions)} sessions, first "
        return (Note(f"{words}{sessions[0].date()}", sessions, what),)

    def said(self, calendar: pd.DatetimeIndex) -> list[str]:
        """Return what a caller is warned of where the values serve."""
        beyond = [f"{self.source}: {note}." for note in self.unreached(calendar)]
        return [*self.warnings, *beyond]

    def on(self, calendar: pd.DatetimeIndex) -> tuple[pd.DataFrame | None, Provenance]:
        """Return values, (n_sessions, n_columns), unless one lacks; provenance."""
        values = self.carried(calendar)
        first, last = calendar[0], calendar[-1]
        is_carried = self.values.reindex(calendar).isna().any(axis=1).to_numpy()
        is_carried = is_carried & values.notna().all(axis=1).to_numpy()
        notes: list[str] = [*self.unreached(calendar)]
        is_absent = _is_absent(values)
        if self.beyond is not None and not is_absent.all():
            values = values.where(~is_absent[:, None], self.beyond)
        elif is_absent.any():
            words = (
                f"not used: no value on {is_absent.sum()} of {len(calendar)} sessions, "
                f"first {calendar[int(is_absent.argmax())].date()}"
            )
            note = Note(words, calendar[is_absent], "not used: no value")
            return None, Provenance(self.source, first, last, "proxy", (note,))
        if is_carried.any():
            words = f"carried forward on {is_carried.sum()} sessions"
            notes.append(Note(words, calendar[is_carried], "carried forward"))
        for day, what in self.breaks.items():
            if first < pd.Timestamp(day) <= last:
                words = (
                    f"the CBOE's ratio breaks on {day}: {what}; a ratio to the "
                    "trailing mean forgets it within 252 sessions"
                )
                notes.append(Note(words, pd.DatetimeIndex([day]), words))
        notes += self.warnings
        return values, Provenance(self.source, first, last, "observed", tuple(notes))


def choose_inputs(
    requested: Sequence[str], members: Sequence[str], symbols: Sequence[str]
) -> tuple[tuple[str, ...], bool]:
    """Return which members serve, and whether the put/call ratio may.

    Parameters
    ----------
    requested : sequence of str
        "core" for no optional input, "all" for every one there is, else "members",
        "put_call" or symbols of members; names may be joined by commas.
    members : sequence of str
        The members that the source has.
    symbols : sequence of str
        All its symbols: any but the core and the series may be named as a member.

    Raises
    ------
    BarsError
        If a name is none of these, or not there.

    Examples
    --------
    >>> choose_inputs(["core"], ["XLE", "XLF"], ["SPY", "XLE", "XLF"])
    ((), False)
    >>> choose_inputs(["xlf,put_call"], ["XLE", "XLF"], ["XLE", "XLF", "putcall"])
    (('XLF',), True)
    """
    names = [name.strip() for text in requested for name in text.split(",")]
    if "all" in names:
        return tuple(members), True
    own = {*CORE_SYMBOLS.values(), *_SERIES}
    known = {name.upper(): name for name in (*symbols, *members) if name not in own}
    chosen: dict[str, None] = {}
    for name in names:
        if name == "members" and members:
            chosen |= dict.fromkeys(members)
        elif name.upper() in known:
            chosen[known[name.upper()]] = None
        elif name != "core" and not (name == "put_call" and "putcall" in symbols):
            there = ["put_call"] * ("putcall" in symbols) + list(known.values())
            raise BarsError(
                "`inputs` must be 'core', 'all', or name optional inputs of the bars: "
                f"'members', 'put_call' or a member's symbol. Got '{name}'; the bars "
                f"have {', '.join(there) or 'none'}."
            )
    return tuple(chosen), "put_call" in names


def read_optional_inputs(
    source: DataSource, span: slice, inputs: Sequence[str] = ("all",)
) -> dict[str, OptionalInput]:
    """Read the optional roles that the source has.

    Parameters
    ----------
    source : DataSource
        Where they are read from.
    span : slice of str
        First and last date that members are examined on, inclusive.
    inputs : sequence of str
        Which members, and whether put/call, as `choose_inputs` takes it.

    Raises
    ------
    BarsError
        If a table breaks a rule; a yield in decimals instead of percent is one. Or
        if an input is requested that the source does not have.
    """
    found: dict[str, OptionalInput] = {}
    symbols, has_put_call = choose_inputs(inputs, source.members(), source.symbols())
    closes = {}
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
    put_call = load_put_call(source) if has_put_call else None
    if put_call is not None:
        name = f"{source.origin('putcall')}: put/call ratio {put_call.name}"
        said = _said_of_series(source, "putcall", span)
        found["put_call"] = OptionalInput(
            put_call.to_frame(), name, _PUT_CALL_BREAKS, said
        )
    cash = load_cash_yield(source)
    if cash is not None:
        name = f"{source.origin('rates')}: {cash.name}, percent a year"
        said = _said_of_series(source, "rates", span)
        # cash earns nothing where no rate is known
        found["cash_rate"] = OptionalInput(
            cash.to_frame() / 100.0, name, warnings=said, beyond=0.0
        )
    return found


def _said_of_series(source: DataSource, symbol: str, span: slice) -> tuple[str, ...]:
    """Refuse what breaks a rule, and return the warnings; holes are said where carried.

    Raises
    ------
    BarsError
        If a row breaks a rule.
    """
    label = source.label(symbol)
    found = [
        finding
        for finding in find_all(source, symbol, "series", span, label)
        if finding.rule != "missing sessions"
    ]
    refuse(found, source.where(symbol), label)
    return tuple(finding.note for finding in found)


def _is_absent(values: pd.DataFrame) -> np.ndarray:
    """Mark the rows that lack a value, shape (n_rows,)."""
    return values.isna().any(axis=1).to_numpy()


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
                f"{calendar[-1].date()}, but has no value there."
            )
        calendar = calendar[n_skipped:]
    return calendar
