"""The tables of a run as CSV, for a spreadsheet."""

from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.report.templating import spreadsheet_safe
from trm_bt.runfolder.records import OUT_OF_SAMPLE
from trm_bt.runfolder.store import RunFolder

CSV_TABLES: Final = ("equity.csv", "weights.csv", "decisions.csv", "trades.csv")
"""The continuous run out of sample: of all portfolios the first, of TRM the others."""
_DIGITS: Final = "%.8g"


def write_csv_tables(folder: RunFolder, new: Path) -> None:
    """Write equity, weights, decisions and trades into `new`; no text is a formula."""
    tables = (
        folder.equity.reset_index(names="session"),
        *(_ours(table) for table in (folder.weights, folder.decisions, folder.orders)),
    )
    for name, table in zip(CSV_TABLES, tables, strict=True):
        safe = table.apply(_safe)
        safe.to_csv(new / name, index=False, float_format=_DIGITS)


def _ours(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the allocator's continuous run."""
    rows = table[table["run"] == OUT_OF_SAMPLE]
    if "strategy" in rows:
        rows = rows[rows["strategy"] == "trm"]
    return rows.drop(columns=["run", "strategy"], errors="ignore")


def _safe(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) or column.dtype.kind == "M":
        return column
    return column.map(
        lambda one: spreadsheet_safe(one) if isinstance(one, str) else one
    )
