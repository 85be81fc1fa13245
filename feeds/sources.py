"""Where the table of each symbol is read from; a folder of files is the simplest."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.exchange import last_final_day
from trm_bt.feeds.rates import read_rates
from trm_bt.feeds.spellings import symbol_of
from trm_bt.feeds.tables import (
    FileTable,
    files_holding,
    files_of,
    rate_files,
    read_one_after_another,
    symbols_of,
)
from trm_bt.quality.findings import AS_RULED, Finding, Judgement, Role, on_rows
from trm_bt.reading import read_text
from trm_bt.text import iso_date, shown

CORE_SYMBOLS: Final[Mapping[Role, str]] = {
    "equity": "SPY",
    "bond": "TLT",
    "volatility": "VIX",
}
"""The symbols that a source must have, by role."""
OLDER_FUND: Final = "VUSTX"
INDEX: Final = "GSPC"
"""The S&P 500, which may stand before SPY."""
ROLE_OF_SYMBOL: Final[Mapping[str, Role]] = {
    **{symbol: role for role, symbol in CORE_SYMBOLS.items()},
    OLDER_FUND: "fund_nav",
    INDEX: "index",
    "rates": "series",
    "putcall": "series",
}
"""What a symbol is examined as; any other with prices is a member."""
SECTORS: Final = ("XLB", "XLE", "XLF", "XLI", "XLK", "XLP", "XLU", "XLV", "XLY")
"""The nine sector funds of 1998, which all reach back as far as any."""
_NAMED: Final = {*map(str.lower, (*ROLE_OF_SYMBOL, *SECTORS))}
"""Symbols that a file is believed to hold by its name."""
_NO_BARS: Final = re.compile(r"[.~]|(members|readme|licen[cs]e|notes)\b", re.IGNORECASE)
_MAX_MEMBERS: Final = 1000
_MAX_SYMBOL: Final = 40


class DataSource(ABC):
    """Something that has a table for each of its symbols.

    `VIX` names the volatility index, `rates` yields in percent a year by the names of
    the Federal Reserve (dgs3mo, dgs20, dgs30), `putcall` the put/call ratio.

    Attributes
    ----------
    title : str
        What is read, for a report.
    judgement : Judgement
        Which findings refuse its bars.
    """

    title: str
    judgement: Judgement = AS_RULED

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

    def label(self, symbol: str) -> str:
        """Return what findings call the table of `symbol`, without a folder."""
        return Path(self.where(symbol)).name

    def origin(self, symbol: str) -> str:
        """Say what the table of `symbol` is and whose, for a report."""
        return self.label(symbol)

    def oddities(self, symbol: str) -> tuple[Finding, ...]:
        """Return what was odd about the table of `symbol` when it was read."""
        del symbol
        return ()

    def unread(self) -> tuple[str, ...]:
        """Return the names of files next to those read so far, sorted."""
        return ()

    def members(self) -> tuple[str, ...]:
        """Return the symbols whose closes are the members, none if there are none."""
        return ()


class FolderSource(DataSource):
    """A folder with one CSV or parquet file for each symbol.

    Parameters
    ----------
    folder : Path
        Folder of the files, and of `members.txt` if there is one.
    now : Timestamp, optional
        The moment, with a time zone, after which a session has not closed.
    """

    def __init__(self, folder: Path, now: pd.Timestamp | None = None) -> None:
        self.folder = folder
        self.title = f"files of the folder {folder.resolve().name}"
        self._now = pd.Timestamp.now("UTC") if now is None else now
        self._tables: dict[str, FileTable] = {}
        self._paths: set[Path] = set()

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that have a file, sorted."""
        found: set[str] = set()
        for path in files_of(self.folder):
            own, held = symbol_of(path), {*symbols_of(path)}
            found |= {own, *(held & _NAMED)} if own in _NAMED else held or {own}
        return tuple(sorted(map(_spelled, found)))

    def read(self, symbol: str) -> pd.DataFrame | None:
        """Read the symbol's file, without the sessions that have not closed."""
        if symbol not in self._tables:
            paths = self._files(symbol)
            if not paths:
                return None
            if symbol == "rates":
                table = read_rates(paths)
            else:
                table = read_one_after_another(paths, symbol)
            self._tables[symbol] = self._closed(table, paths[0].name)
            self._paths |= {*paths}
        return self._tables[symbol].frame

    def oddities(self, symbol: str) -> tuple[Finding, ...]:
        """Return what was odd about the symbol's file when it was read."""
        return self._tables[symbol].findings if symbol in self._tables else ()

    def where(self, symbol: str) -> str:
        """Return the path of the symbol's file."""
        paths = self._files(symbol)
        return str(paths[0] if paths else self.folder / f"{symbol}.csv")

    def unread(self) -> tuple[str, ...]:
        """Return the names of the files that were not read, sorted."""
        paths = (path for path in self.folder.iterdir() if path.is_file())
        names = (path.name for path in paths if path not in self._paths)
        return tuple(sorted(name for name in names if not _NO_BARS.match(name)))

    def _files(self, symbol: str) -> list[Path]:
        """Return the files of a symbol: one, or several that each have a part."""
        if symbol == "rates":
            return rate_files(self.folder)
        return files_holding(self.folder, symbol)

    def _closed(self, table: FileTable, name: str) -> FileTable:
        """Leave out the bars of sessions that have not closed, and say so."""
        index = table.frame.index
        is_open = index > last_final_day(self._now)
        if not is_open.any():
            return table
        words = f"{name}: a bar is final when its session has closed, {is_open.sum()} "
        finding = on_rows(
            "warning", "not closed", index[is_open], f"{words}later ones were left out"
        )
        return FileTable(table.frame[~is_open], (*table.findings, finding))

    def members(self) -> tuple[str, ...]:
        """Return what members.txt lists, else the nine sector funds if all are there.

        Raises
        ------
        BarsError
            If members.txt is no text in UTF-8, or no list of symbols.
        """
        listed = self.folder / "members.txt"
        if not listed.is_file():
            return SECTORS if set(SECTORS) <= set(self.symbols()) else ()
        try:
            lines = read_text(listed).splitlines()
            names = [
                _spelled(name.removesuffix(",").lower())
                for line in lines
                for name in line.split("#")[0].split()
            ]
        except (OSError, ValueError) as error:
            raise BarsError(f"{listed}: cannot be read: {error}.") from error
        long = next((name for name in names if len(name) > _MAX_SYMBOL), None)
        repeated = next((name for name, n in Counter(names).items() if n > 1), None)
        if len(names) > _MAX_MEMBERS or long or repeated:
            what = shown(long) if long else f"{len(names)}"
            what = f"{shown(repeated)} twice" if repeated else what
            raise BarsError(
                f"{listed}: must list at most {_MAX_MEMBERS} symbols of "
                f"{_MAX_SYMBOL} characters at most, each once, got {what}."
            )
        return tuple(names)


def _spelled(symbol: str) -> str:
    """Return a lower-cased symbol as roles spell it: SPY, but rates and putcall."""
    return symbol if symbol in ("rates", "putcall") else symbol.upper()


def check_span(start: object, end: object) -> None:
    """Raise `BarsError` unless both are dates as YYYY-MM-DD, where given."""
    for name, value in (("start", start), ("end", end)):
        if value is None:
            continue
        try:
            iso_date(str(value))
        except ValueError as error:
            raise BarsError(f"`{name}` {error}.") from error
