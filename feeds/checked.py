"""A symbol's bars, refused if they break a rule."""

from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.sources import DataSource
from trm_bt.feeds.spellings import table_suffix
from trm_bt.market.adjustment import adjusted_prices, with_closes, with_widest
from trm_bt.quality.findings import Finding, Role, Subject, refuse
from trm_bt.quality.rules import VOLUME_RULES, examine

CLOSES_READ: Final[tuple[Role, ...]] = ("volatility", "member", "fund_nav")
"""Roles of which a run reads the closes alone."""


def checked_prices(
    source: DataSource, symbol: str, role: Role, span: slice
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read one symbol's adjusted bars, examined as what its role says they are.

    Parameters
    ----------
    source : DataSource
        Where the symbol is read from.
    symbol : str
        As roles spell it.
    role : str
        What the bars are meant to be.
    span : slice of str
        First and last date that is examined, inclusive.

    Returns
    -------
    tuple of DataFrame of shape (n_sessions, 4 or 5) and tuple of str
        Adjusted bars on NYSE sessions, and a sentence for each warning.

    Raises
    ------
    BarsError
        If the symbol is missing or its bars break a rule.
    """
    table = source.read(symbol)
    where = source.where(symbol)
    if table is None:
        raise BarsError(missing_sentence(source, symbol))
    if table.empty:
        raise BarsError(f"{where}: there must be at least one session, got none.")
    label = source.label(symbol)
    findings = find_all(source, symbol, role, span, label)
    if role == "member":  # closes alone are read of it
        findings = tuple(f for f in findings if f.rule not in VOLUME_RULES)
    refuse(findings, where, label)
    notes = tuple(finding.note for finding in findings)
    if role in CLOSES_READ:
        whole = with_closes(table)
        if whole is not table:
            notes = (f"{label}: closes only", *notes)
        table = with_widest(whole) if role == "volatility" else whole
    frame = adjusted_prices(table)
    sessions = nyse_sessions(frame.index[0], frame.index[-1])
    return frame.loc[frame.index.isin(sessions)], notes


def missing_sentence(source: DataSource, symbol: str) -> str:
    """Return the sentence for a symbol that a source lacks, with what it has."""
    present = ", ".join(source.symbols()[:12]) or "nothing"
    unread = [name for name in source.unread() if not table_suffix(Path(name))]
    if unread:
        present += f" (files not read: {', '.join(unread[:12])}: save them as CSV)"
    return f"{source.where(symbol)}: is needed and missing; there is {present}."


def cut_span(table: pd.DataFrame, span: slice) -> pd.DataFrame:
    """Cut a table, shape (n_rows, n_columns), to two dates; all if out of order."""
    return table.loc[span] if table.index.is_monotonic_increasing else table


def find_all(
    source: DataSource, symbol: str, role: Role, span: slice, label: str
) -> tuple[Finding, ...]:
    """Examine what of a symbol lies between two dates, against the NYSE calendar.

    Sentences about its rows begin with `label`.

    The table has shape (n_rows, n_columns), indexed by date.

    Returns
    -------
    tuple of Finding
        What was odd when it was read comes first; of the rows nothing where none lies
        between the dates.
    """
    table = source.read(symbol)
    assert table is not None
    found, cut = source.oddities(symbol), cut_span(table, span)
    if role in CLOSES_READ:
        cut = with_closes(cut)
    if not cut.empty:
        sessions = nyse_sessions(cut.index.min(), cut.index.max())
        found += examine(Subject(cut, role, sessions, label, symbol))
    return source.judgement.of(found, symbol)
