"""Where the table of each symbol is read from; a folder of files is the simplest."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.tables import file_of, files_of, read_table, symbol_of
from trm_bt.quality.findings import Role
from trm_bt.reading import read_text
from trm_bt.text import iso_date, shown

CORE_SYMBOLS: Final[Mapping[Role, str]] = {
    "equity": "SPY",
    "bond": "TLT",
    "volatility": "VIX",
}
"""The symbols that a source must have, by role."""
SECTORS: Final = ("XLB", "XLE", "XLF", "XLI", "XLK", "XLP", "XLU", "XLV", "XLY")
"""The nine sector funds of 1998, which all reach back as far as any."""
_MAX_MEMBERS: Final = 1000


class DataSource(ABC):
    """Something that has a table for each of its symbols.

    `VIX` names the volatility index, `rates` yields in percent a year by the names of
    the Federal Reserve (dgs3mo, dgs20, dgs30), `putcall` the put/call ratio.

    Attributes
    ----------
    title : str
        What is read, for a report.
    """

    title: str

    @abstractmethod
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that the source has, sorted."""

    @abstractmethod
    def read(self, symbol: str) -> pd.DataFrame | None:
        """Return a symbol's table as it is kept, unchecked; None without one.

        Returns
        -------
        DataFrame of shape (n_rows, n_columns) or None
            Indexed by sessions. Bars have the columns open, high, low, close and
            volume; `trm_bt.market.adjustment.adjusted_prices` says how they are
            adjusted.
        """

    @abstractmethod
    def where(self, symbol: str) -> str:
        """Say where the table of `symbol` is, or would have to be."""

    def origin(self, symbol: str) -> str:
        """Say what the table of `symbol` is and whose, for a report."""
        return Path(self.where(symbol)).name

    def members(self) -> tuple[str, ...]:
        """Return the symbols whose closes are the members, none if there are none."""
        return ()


class FolderSource(DataSource):
    """A folder with one CSV or parquet file for each symbol.

    Parameters
    ----------
    folder : Path
        Folder of the files, and of `members.txt` if there is one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.title = f"files of the folder {folder.resolve().name}"

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that have a file, sorted."""
        return tuple(sorted({_spelled(path) for path in files_of(self.folder)}))

    def read(self, symbol: str) -> pd.DataFrame | None:
        """Read the symbol's file."""
        path = file_of(self.folder, symbol)
        return None if path is None else read_table(path)

    def where(self, symbol: str) -> str:
        """Return the path of the symbol's file."""
        return str(file_of(self.folder, symbol) or self.folder / f"{symbol}.csv")

    def members(self) -> tuple[str, ...]:
        """Return what members.txt lists, else the nine sector funds if all are there.

        Raises
        ------
        BarsError
            If members.txt is no text in UTF-8.
        """
        listed = self.folder / "members.txt"
        if not listed.is_file():
            return SECTORS if set(SECTORS) <= set(self.symbols()) else ()
        try:
            names = read_text(listed).split()
        except (OSError, ValueError) as error:
            raise BarsError(f"{listed}: cannot be read: {error}.") from error
        repeated = [name for name in names if names.count(name) > 1]
        if len(names) > _MAX_MEMBERS or repeated:
            what = f"has {shown(repeated[0])} twice" if repeated else f"{len(names)}"
            raise BarsError(
                f"{listed}: must list at most {_MAX_MEMBERS} symbols, each once, got "
                f"{what}."
            )
        return tuple(names)


def _spelled(path: Path) -> str:
    """Return a file's symbol as roles spell it: SPY, but rates and putcall."""
    symbol = symbol_of(path)
    return symbol if symbol in ("rates", "putcall") else symbol.upper()


def check_span(start: str | None, end: str | None) -> None:
    """Raise `BarsError` unless both are dates as YYYY-MM-DD, where given."""
    for name, value in (("start", start), ("end", end)):
        if value is None:
            continue
        try:
            iso_date(value)
        except ValueError as error:
            raise BarsError(f"`{name}` {error}.") from error
