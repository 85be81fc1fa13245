"""A symbol's bars, refused if they break a rule."""

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.sources import DataSource
from trm_bt.market.adjustment import adjusted_prices
from trm_bt.quality.findings import Finding, Role, Subject, refuse
from trm_bt.quality.rules import VOLUME_RULES, examine


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
        present = ", ".join(source.symbols()[:12]) or "nothing"
        raise BarsError(f"{where}: is needed and missing; there is {present}.")
    if table.empty:
        raise BarsError(f"{where}: there must be at least one session, got none.")
    findings = examine_span(table, role, where, span)
    if role == "member":  # closes alone are read of it
        findings = tuple(f for f in findings if f.rule not in VOLUME_RULES)
    refuse(findings, where)
    frame = adjusted_prices(table)
    sessions = nyse_sessions(frame.index[0], frame.index[-1])
    warnings = tuple(finding.sentence for finding in findings)
    return frame.loc[frame.index.isin(sessions)], warnings


def cut_span(table: pd.DataFrame, span: slice) -> pd.DataFrame:
    """Cut a table, shape (n_rows, n_columns), to two dates; all if out of order."""
    return table.loc[span] if table.index.is_monotonic_increasing else table


def examine_span(
    table: pd.DataFrame, role: Role, name: str, span: slice
) -> tuple[Finding, ...]:
    """Examine what of a table lies between two dates, against the NYSE calendar.

    The table has shape (n_rows, n_columns), indexed by date.

    Returns
    -------
    tuple of Finding
        None where no row lies between the dates.
    """
    cut = cut_span(table, span)
    if cut.empty:
        return ()
    sessions = nyse_sessions(cut.index.min(), cut.index.max())
    return examine(Subject(cut, role, sessions, name))
