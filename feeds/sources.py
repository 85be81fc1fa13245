"""Where the tables of symbols are read from: a folder of files, or a store of bars."""

from pathlib import Path
from typing import Final, Protocol

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.store import BarStore, default_store, is_store
from trm_bt.feeds.tables import SUFFIXES, file_of, read_table
from trm_bt.market.adjustment import RAW_COLUMNS, adjust
from trm_bt.market.bars import PRICE_COLUMNS

SECTORS: Final = ("XLB", "XLE", "XLF", "XLI", "XLK", "XLP", "XLU", "XLV", "XLY")
"""The nine sector funds of 1998, which all reach back as far as any."""
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


class FolderSource:
    """A folder with one CSV or parquet file a symbol.

    `members.txt` names the members; else they are the nine original sector funds, if
    all are there.
    """

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
        files = [path for path in self.folder.iterdir() if path.suffix in SUFFIXES]
        return tuple(sorted({path.stem for path in files}))

    def members(self) -> tuple[str, ...]:
        """Return the symbols in members.txt, else the sector funds."""
        listed = self.folder / "members.txt"
        if listed.is_file():
            try:
                return tuple(listed.read_text(encoding="utf-8").split())
            except UnicodeDecodeError as error:
                raise BarsError(f"{listed}: must be text in UTF-8.") from error
        has_all = all(file_of(self.folder, symbol) for symbol in SECTORS)
        return SECTORS if has_all else ()

    def table(self, symbol: str) -> pd.DataFrame | None:
        """Read the symbol's file."""
        path = file_of(self.folder, symbol)
        return None if path is None else read_table(path)

    def where(self, symbol: str) -> str:
        """Return the path of the symbol's file."""
        return str(file_of(self.folder, symbol) or self.folder / f"{symbol}.csv")


class StoreSource:
    """A store of raw bars; a `putcall.csv` in its folder is read beside them."""

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
        """Return the nine original sector funds, if all are there."""
        return SECTORS if set(SECTORS) <= set(self.store.symbols()) else ()

    def table(self, symbol: str) -> pd.DataFrame | None:
        """Read the symbol's raw bars."""
        if symbol == "rates":
            return self._yields()
        if symbol == "putcall":
            path = file_of(self.store.folder, symbol)
            return None if path is None else read_table(path)
        kept = _YAHOO_INDEXES.get(symbol, symbol)
        return self.store.read(kept) if self.store.entry(kept) else None

    def where(self, symbol: str) -> str:
        """Return the store's folder and the symbol as Yahoo spells it."""
        spelled = {**_YAHOO_INDEXES, "rates": "^IRX"}.get(symbol, symbol)
        return f"{self.store.folder}: {spelled}"

    def _yields(self) -> pd.DataFrame | None:
        closes = {
            name: self.store.read(symbol)["close"]
            for name, symbol in _YAHOO_YIELDS.items()
            if self.store.entry(symbol)
        }
        return pd.DataFrame(closes) if closes else None


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


def adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """Return the prices of a table, adjusted for dividends and splits.

    A column `adj close` adjusts by its ratio to the close, raw bars by their dividends
    and splits, and any other table holds adjusted prices already.

    Returns
    -------
    DataFrame of shape (n_sessions, 5)
        Columns open, high, low, close, and volume where there is one.
    """
    if set(RAW_COLUMNS) <= set(table.columns):
        return adjust(table)
    has_volume = "volume" in table.columns
    frame = table[[*PRICE_COLUMNS, *["volume"] * has_volume]].copy()
    if "adj close" in table.columns:
        ratio = table["adj close"] / table["close"]
        frame[list(PRICE_COLUMNS)] = frame[list(PRICE_COLUMNS)].mul(ratio, axis=0)
    return frame
