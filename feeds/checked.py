"""A symbol's bars, refused if they break a rule."""

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.sources import Source
from trm_bt.market.adjustment import adjusted_prices
from trm_bt.quality.findings import Finding, Role, refuse
from trm_bt.quality.rules import examine
from trm_bt.quality.volumes import VOLUME_RULES


def checked_prices(
    source: Source,
    symbol: str,
    role: Role,
    *,
    start: str | None = None,
    end: str | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read one symbol's adjusted bars, examined as what its role says they are.

    Parameters
    ----------
    source : Source
        Folder or store.
    symbol : str
        As roles spell it.
    role : str
        What the bars are meant to be.
    start, end : str, optional
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
    findings = examine_span(table, role, where, start=start, end=end)
    if role == "member":  # closes alone are read of it
        findings = tuple(f for f in findings if f.rule not in VOLUME_RULES)
    refuse(findings, where)
    frame = adjusted_prices(table)
    sessions = nyse_sessions(frame.index[0], frame.index[-1])
    warnings = tuple(finding.sentence for finding in findings)
    return frame.loc[frame.index.isin(sessions)], warnings


def examine_span(
    table: pd.DataFrame,
    role: Role,
    name: str,
    *,
    start: str | None = None,
    end: str | None = None,
) -> tuple[Finding, ...]:
    """Examine what of a table lies between two dates, against the NYSE calendar.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        As it is kept.
    role : str
        What it is meant to be.
    name : str
        Begins each sentence.
    start, end : str, optional
        First and last date, inclusive. A table out of order is examined whole.

    Returns
    -------
    tuple of Finding
        None where no row lies between the dates.
    """
    if table.index.is_monotonic_increasing:
        table = table.loc[start:end]
    if table.empty:
        return ()
    sessions = nyse_sessions(table.index.min(), table.index.max())
    return examine(table, role=role, sessions=sessions, name=name)
