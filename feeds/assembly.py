"""Bars of all roles put together from a source's symbols, on one NYSE calendar.

`SPY`, `TLT` and `VIX` are needed. Only they make the calendar; a session that one of
them lacks is dropped from all, and the provenance says so.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

import pandas as pd

from trm_bt.errors import BarsError, BarsWarning
from trm_bt.feeds.checked import checked_prices
from trm_bt.feeds.long_bond import LongBond, older_closes, splice
from trm_bt.feeds.older_history import (
    Extended,
    History,
    declare,
    lengthen_bond,
    lengthen_index,
)
from trm_bt.feeds.optional_inputs import read_optional_inputs, shorten_for
from trm_bt.feeds.sources import CORE_SYMBOLS, DataSource
from trm_bt.market.bars import PRICE_COLUMNS, Bars, Note, Provenance
from trm_bt.quality.core_roles import examine_together
from trm_bt.quality.findings import Role, refuse

_LEGS: Final[tuple[Role, ...]] = ("equity", "bond")


def assemble(
    source: DataSource,
    span: slice,
    *,
    observed: Sequence[str] = (),
    long_bond: LongBond = "fund",
    history: History = "none",
    inputs: Sequence[str] = ("all",),
) -> Bars:
    """Load the bars of a source on the calendar that SPY, TLT and VIX share.

    An optional input serves only if it covers the whole span without a hole over five
    sessions; the provenance says so, and what was spliced, dropped or carried forward.

    Parameters
    ----------
    source : DataSource
        Folder or store.
    span : slice of str
        First and last date wanted, inclusive.
    observed, long_bond, history
        As in `trm_bt.feeds.load_bars`, which also says what is warned of.
    inputs : sequence of str
        The members and put/call to read, as `choose_inputs` takes it, beside those
        that must be observed.

    Raises
    ------
    BarsError
        If a table is missing or breaks a rule; the sentence names where, the rule and
        the first offending session.
    """
    frames, notes = _read_core(source, span)
    firsts = {role: frame.index[0] for role, frame in frames.items()}
    extended: Extended = {}
    if history == "index":
        extended = lengthen_index(source, frames, notes, span)
    older = _splice_older(source, frames, notes, span, long_bond)
    if history == "index":
        extended |= lengthen_bond(source, frames)
    optional = read_optional_inputs(source, span, [*inputs, *observed])
    calendar = _shared_calendar(frames, source.title, span)
    calendar = shorten_for(observed, optional, calendar, source.title)
    for role in frames:
        notes[role] += _dropped(frames, role, calendar)
    served = {name: entry.on(calendar) for name, entry in optional.items()}
    _warn_caller(
        *notes.values(),
        *(entry.said(calendar) for entry in optional.values()),
        *(_unserved(entry) for values, entry in served.values() if values is None),
    )
    for role, frame in frames.items():
        notes[role] += _unused(frame.loc[span.start :], calendar)
    values = {role: frame.loc[calendar].copy() for role, frame in frames.items()}
    _fill_at_closes(values, notes, firsts, older, extended)
    provenance = _core_provenance(source, notes, calendar)
    provenance |= {name: entry for name, (_, entry) in served.items()}
    series = {name: table for name, (table, _) in served.items()}
    return declare(_bars(source.title, values, series, provenance), extended)


def _bars(
    title: str,
    values: Mapping[Role, pd.DataFrame],
    series: Mapping[str, pd.DataFrame | None],
    provenance: dict[str, Provenance],
) -> Bars:
    """Return the bars of the core roles, and of the optional inputs that serve."""
    return Bars(
        equity=values["equity"],
        bond=values["bond"],
        volatility=values["volatility"][list(PRICE_COLUMNS)],
        members=series.get("members"),
        put_call=_only_column(series.get("put_call")),
        cash_rate=_only_column(series.get("cash_rate")),
        source=title,
        provenance=provenance,
    )


def _read_core(
    source: DataSource, span: slice
) -> tuple[dict[Role, pd.DataFrame], dict[Role, tuple[str, ...]]]:
    """Read the core roles, examined one by one and together, with their warnings."""
    frames: dict[Role, pd.DataFrame] = {}
    notes: dict[Role, tuple[str, ...]] = {}
    for role, symbol in CORE_SYMBOLS.items():
        frames[role], notes[role] = checked_prices(source, symbol, role, span)
    cut = {str(role): frame.loc[span] for role, frame in frames.items()}
    if not any(frame.empty for frame in cut.values()):
        found = examine_together(cut)
        findings = source.judgement.of(found, CORE_SYMBOLS["volatility"])
        refuse(findings, source.title)
        notes["bond"] += tuple(finding.note for finding in findings)
    return frames, notes


def _splice_older(
    source: DataSource,
    frames: dict[Role, pd.DataFrame],
    notes: dict[Role, tuple[str, ...]],
    span: slice,
    long_bond: LongBond,
) -> str | None:
    """Put older closes before the bond's bars, and return what they are."""
    first_wanted = frames["equity"].index[0]
    if span.start is not None:
        first_wanted = max(first_wanted, pd.Timestamp(span.start))
    older = older_closes(source, frames["bond"], long_bond, first_wanted)
    if older is None:
        return None
    closes, name, warnings = older
    frames["bond"] = splice(frames["bond"], closes)
    notes["bond"] += warnings
    return name


def _core_provenance(
    source: DataSource,
    notes: Mapping[Role, tuple[str, ...]],
    calendar: pd.DatetimeIndex,
) -> dict[str, Provenance]:
    unread = source.unread()
    if unread:
        words = f"files of the folder not read: {', '.join(unread)}"
        notes = {**notes, "equity": (*notes["equity"], words)}
    return {
        str(role): Provenance(
            source.origin(symbol), calendar[0], calendar[-1], notes=notes[role]
        )
        for role, symbol in CORE_SYMBOLS.items()
    }


def _unserved(entry: Provenance) -> list[str]:
    return [f"{entry.source}: {note}." for note in entry.notes]


def _warn_caller(*sentences: Iterable[str]) -> None:
    """Warn the caller of `load_bars`, with each sentence once."""
    for sentence in dict.fromkeys(chain.from_iterable(sentences)):
        warnings.warn(sentence, BarsWarning, stacklevel=4)


def _shared_calendar(
    frames: Mapping[Role, pd.DataFrame], title: str, span: slice
) -> pd.DatetimeIndex:
    """Return the sessions that all roles have, inside the span."""
    calendar = frames["equity"].index
    for frame in frames.values():
        calendar = calendar.intersection(frame.index)
    if not len(calendar):
        raise BarsError(f"The {title} must share sessions, but share none.")
    wanted = calendar[calendar.slice_indexer(span.start, span.stop)]
    if not len(wanted):
        raise BarsError(
            f"The {title} have no session between {span.start or 'the start'} and "
            f"{span.stop or 'the end'}; SPY, TLT and VIX share {calendar[0].date()} to "
            f"{calendar[-1].date()}."
        )
    return pd.DatetimeIndex(wanted, name="session")


def _dropped(
    frames: Mapping[Role, pd.DataFrame], role: Role, calendar: pd.DatetimeIndex
) -> tuple[str, ...]:
    """Name the sessions that another role has and this one lacks."""
    first, last = calendar[0], calendar[-1]
    others = [frame.loc[first:last].index for frame in frames.values()]
    union = others[0].union(others[1]).union(others[2])
    lacking = union.difference(frames[role].index)
    if not len(lacking):
        return ()
    words = f"{role} lacks {len(lacking)} sessions that other roles have, first "
    what = f"{role} lacks sessions that other roles have, dropped from all"
    note = f"{words}{lacking[0].date()}: dropped from all."
    return (Note(note, pd.DatetimeIndex(lacking), what),)


def _unused(frame: pd.DataFrame, calendar: pd.DatetimeIndex) -> tuple[str, ...]:
    """Count the sessions that a role has before all of them have one."""
    n_before = int((frame.index < calendar[0]).sum())
    if not n_before:
        return ()
    first = calendar[0].date()
    return (f"{n_before} earlier sessions are not used: the run begins on {first}",)


def _fill_at_closes(
    values: Mapping[Role, pd.DataFrame],
    notes: dict[Role, tuple[str, ...]],
    firsts: Mapping[Role, pd.Timestamp],
    older_bond: str | None,
    extended: Extended,
) -> None:
    """Set both opens to the closes where what stands before one leg has closes only.

    `firsts` are the first sessions of the roles' own bars.
    """
    has_older = {
        "bond": older_bond or "bond" in extended,
        "equity": "equity" in extended,
    }
    begin = values["equity"].index[0]
    own = [firsts[role] for role in _LEGS if has_older[role] and begin < firsts[role]]
    if not own:
        return
    until = max(own)
    fills = (
        f"open set to the close before {until.date()}, so that both legs fill at the "
        "next close: what stands before TLT has closes only"
    )
    for role in _LEGS:
        is_before = values[role].index < until
        values[role].loc[is_before, "open"] = values[role].loc[is_before, "close"]
        notes[role] = (fills, *notes[role])
    if older_bond and begin < firsts["bond"]:
        spliced = f"before {firsts['bond'].date()} {older_bond}"
        notes["bond"] = (spliced, *notes["bond"])


def _only_column(values: pd.DataFrame | None) -> pd.Series | None:
    return None if values is None else values.iloc[:, 0]
