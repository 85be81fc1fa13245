"""Where the tables of symbols are read from: a folder of files, or a store of bars."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.store import BarStore, default_store, is_store
from trm_bt.feeds.tables import file_of, files_of, read_table, symbol_of

SECTORS: Final = ("XLB", "XLE", "XLF", "XLI", "XLK", "XLP", "XLU", "XLV", "XLY")
"""The nine sector funds of 1998, which all reach back as far as any."""
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_YAHOO_INDEXES: Final = {"VIX": "^VIX"}
_YAHOO_YIELDS: Final = {"dgs3mo": "^IRX", "dgs30": "^TYX"}


class Source(Protocol):
    """Something that has a table for each of its symbols.

    `VIX` names the volatility index, `rates` yields in percent a year by the names of
    the Federal Reserve (dgs3mo, dgs20, dgs30), `putcall` the put/call ratio.
    """

    @property
    def title(self) -> str:
        """What is read, for a report."""

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that the source has, sorted."""

    def members(self) -> tuple[str, ...]:
        """Return the symbols whose closes are the members, none if there are none."""

    def table(self, symbol: str) -> pd.DataFrame | None:
        """Return a symbol's table as it is kept, unchecked; None without one."""

    def where(self, symbol: str) -> str:
        """Say where the table of `symbol` is, or would have to be."""

    def origin(self, symbol: str) -> str:
        """Say what the table of `symbol` is and whose, for a report."""


class FolderSource:
    """A folder with one CSV or parquet file a symbol."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BarsError(
                f"{folder}: must be a folder with SPY, TLT and VIX files, a store of "
                "bars, or the word 'sample' or 'yahoo'; there is no such folder."
            )
        self.folder = folder

    @property
    def title(self) -> str:
        """What is read, for a report."""
        return f"files of the folder {self.folder.resolve().name}"

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that have a file."""
        return tuple(sorted({_spelled(path) for path in files_of(self.folder)}))

    def members(self) -> tuple[str, ...]:
        """Return the symbols in members.txt, else the sector funds."""
        return _members(self.folder, self.symbols())

    def table(self, symbol: str) -> pd.DataFrame | None:
        """Read the symbol's file."""
        path = file_of(self.folder, symbol)
        return None if path is None else read_table(path)

    def where(self, symbol: str) -> str:
        """Return the path of the symbol's file."""
        return str(file_of(self.folder, symbol) or self.folder / f"{symbol}.csv")

    def origin(self, symbol: str) -> str:
        """Return the name of the symbol's file."""
        return Path(self.where(symbol)).name


class StoreSource:
    """A store of raw bars; `putcall.csv` and `members.txt` are read beside them."""

    def __init__(self, store: BarStore) -> None:
        self.store = store

    @property
    def title(self) -> str:
        """What is read, for a report."""
        return "daily bars from Yahoo Finance, adjusted on read"

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the store by our names, put/call included."""
        named = {vendor: name for name, vendor in _YAHOO_INDEXES.items()}
        kept = {named.get(symbol, symbol) for symbol in self.store.symbols()}
        rates = {"rates"} if kept & set(_YAHOO_YIELDS.values()) else set()
        put_call = {"putcall"} if file_of(self.store.folder, "putcall") else set()
        return tuple(sorted(kept - set(_YAHOO_YIELDS.values()) | rates | put_call))

    def members(self) -> tuple[str, ...]:
        """Return the symbols in members.txt, else the sector funds."""
        return _members(self.store.folder, self.store.symbols())

    def table(self, symbol: str) -> pd.DataFrame | None:
        """Read the symbol's raw bars."""
        if symbol == "rates":
            return self._yields()
        if symbol == "putcall":
            path = file_of(self.store.folder, symbol)
            return None if path is None else read_table(path)
        kept = self._spelled(symbol)
        return self.store.read(kept) if self.store.entry(kept) else None

    def where(self, symbol: str) -> str:
        """Return the store's folder and the symbol as Yahoo spells it."""
        if symbol == "putcall":
            return str(file_of(self.store.folder, symbol))
        return f"{self.store.folder}: {self._spelled(symbol)}"

    def origin(self, symbol: str) -> str:
        """Return the symbol as Yahoo spells it and when it was retrieved."""
        entry = self.store.entry(self._spelled(symbol))
        if entry is None:
            return Path(self.where(symbol)).name
        day = entry.retrieved_at[:10]
        return f"{self._spelled(symbol)} from {entry.source}, retrieved {day}"

    def _spelled(self, symbol: str) -> str:
        return {**_YAHOO_INDEXES, "rates": "^IRX"}.get(symbol, symbol)

    def _yields(self) -> pd.DataFrame | None:
        closes = {
            name: self.store.read(symbol)["close"]
            for name, symbol in _YAHOO_YIELDS.items()
            if self.store.entry(symbol)
        }
        return pd.DataFrame(closes) if closes else None


def _spelled(path: Path) -> str:
    """Return a file's symbol as roles spell it: SPY, but rates and putcall."""
    symbol = symbol_of(path)
    return symbol if symbol in ("rates", "putcall") else symbol.upper()


def _members(folder: Path, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return what members.txt lists, else the nine sector funds if all are there."""
    listed = folder / "members.txt"
    if not listed.is_file():
        return SECTORS if set(SECTORS) <= set(symbols) else ()
    try:
        return tuple(listed.read_text(encoding="utf-8").split())
    except UnicodeDecodeError as error:
        raise BarsError(f"{listed}: must be text in UTF-8.") from error


def open_source(source: str | Path) -> Source:
    """Return the store for "yahoo", else what a folder holds: a store, or files.

    Raises
    ------
    BarsError
        If there is no such folder, or no store yet.
    """
    folder = default_store() if str(source) == "yahoo" else Path(source)
    if is_store(folder):
        return StoreSource(BarStore(folder))
    if str(source) == "yahoo":
        raise BarsError(
            f"{folder}: must be a store of bars, and is none yet. Run `trm-bt fetch`."
        )
    return FolderSource(folder)


def check_span(start: str | None, end: str | None) -> None:
    """Raise `BarsError` unless both are dates as YYYY-MM-DD, where given."""
    for name, value in (("start", start), ("end", end)):
        if value is None:
            continue
        try:
            if not _DATE.fullmatch(value):
                raise ValueError("another form")
            pd.Timestamp(value)
        except ValueError as error:
            raise BarsError(
                f"`{name}` must be a date as YYYY-MM-DD, got '{value}'."
            ) from error
