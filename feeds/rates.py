"""Treasury yields from the files that vendors give: one of all, or one for each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.feeds.tables import FileTable, appended, read_file

_QUOTED: Final = {"irx": "dgs3mo", "tnx": "dgs10", "tyx": "dgs30"}
"""Yields that Yahoo quotes like an index, by the name of the file."""


def read_rates(paths: Sequence[Path]) -> FileTable:
    """Read files of yields side by side, or one after another where each has its years.

    Raises
    ------
    BarsError
        If a file cannot be read, or two give one yield on one date.
    """
    tables = [read_file(path, "rates") for path in paths]
    frames = [
        _named(table.frame, path) for table, path in zip(tables, paths, strict=True)
    ]
    joined = frames[0]
    for frame, path in zip(frames[1:], paths[1:], strict=True):
        if not joined.columns.intersection(frame.columns).empty:
            joined = appended(joined, frame, "each yield", (paths[0], path))
        else:
            joined = joined.join(frame, how="outer")
    return FileTable(
        joined, tuple(found for table in tables for found in table.findings)
    )


def _named(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    for quoted, name in _QUOTED.items():
        if quoted in path.name.lower() and "close" in frame:
            return frame[["close"]].set_axis([name], axis=1)
    return frame
