"""A symbol's bars, refused if they break a rule."""

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.sources import Source
from trm_bt.market.adjustment import adjusted_prices
from trm_bt.market.findings import Role, refuse
from trm_bt.market.validation import examine


def checked_prices(
    source: Source, symbol: str, role: Role
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read one symbol's adjusted bars, examined as what its role says they are.

    Returns
    -------
    tuple of DataFrame of shape (n_sessions, 4 or 5) and tuple of str
        Adjusted bars on NYSE sessions, and a sentence for each warning.

    Raises
    ------
    BarsError
        If the symbol is missing or its bars break a rule.
    """
    table = source.table(symbol)
    where = source.where(symbol)
    if table is None:
        present = ", ".join(source.symbols()[:12]) or "nothing"
        raise BarsError(f"{where}: is needed and missing; there is {present}.")
    if table.empty:
        raise BarsError(f"{where}: there must be at least one session, got none.")
    if role == "member":
        table = table.drop(columns="volume", errors="ignore")  # of no use to a member
    sessions = nyse_sessions(table.index.min(), table.index.max())
    findings = examine(table, role=role, sessions=sessions, name=where)
    refuse(findings, where)
    frame = adjusted_prices(table)
    warnings = tuple(finding.sentence for finding in findings)
    return frame.loc[frame.index.isin(sessions)], warnings
