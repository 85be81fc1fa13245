"""Files of numbers with one row per session, in the spellings that people have.

`spellings` knows the names of columns and files, `layout` separators and header lines,
`cells` dates and numbers. Only what is unambiguous is read; anything odd is reported.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from trm_bt.errors import BarsError
from trm_bt.feeds.cells import parse_dates, parse_numbers
from trm_bt.feeds.layout import TableLayout, layout_of
from trm_bt.feeds.spellings import (
    PRICES,
    date_column,
    is_date,
    is_read,
    is_unread,
    our_names,
    symbol_of,
    symbols_in,
    table_suffix,
)
from trm_bt.feeds.tickers import (
    TICKER_COLUMNS,
    fields_of,
    rows_of_symbol,
    symbol_of_ticker,
)
from trm_bt.parquet import open_parquet, read_parquet
from trm_bt.quality.findings import Finding, on_whole
from trm_bt.reading import TABLE_BYTES, read_bytes
from trm_bt.text import shorten, shown

_MISSING: Final = (".", "-", "ND")
_EVENT_ROW: Final = re.compile(
    r"(?i)^(?:(?P<dividends>[\d.]+) dividend|(?P<gains>[\d.]+) capital gains?|"
    r"(?P<new>[\d.]+)[:/](?P<old>[\d.]+) stock splits?)$"
)
_DAILY_TIMES: Final = frozenset(
    (*("0", "00", "000", "0000", "000000"), *("930", "0930", "93000", "093000")),
) | {"1600", "160000", "2200", "220000"}
_SPLITS: Final = ("stock splits", "splits")


@dataclass(frozen=True)
class FileTable:
    """What a file holds of a symbol, and what is odd about the file.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Floats by tz-naive dates named "session"; order and values are not checked.
    findings : tuple of Finding
        What was turned round, or is not known.
    """

    frame: pd.DataFrame
    findings: tuple[Finding, ...] = ()


def files_holding(folder: Path, symbol: str) -> list[Path]:
    """Return the files that hold `symbol`, by name, of which there may be none.

    Case does not matter; neither do the ^ before an index, the .us of Stooq and what
    else vendors put around a symbol. Where no file is named for the symbol, those whose
    columns or tickers are the symbol's serve.
    """
    paths = files_of(folder)
    found = [path for path in paths if symbol_of(path) == symbol.lower()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise BarsError(f"{folder}: must hold {symbol} once, has {names}. Remove one.")
    return found or [path for path in paths if symbol.lower() in symbols_of(path)]


def rate_files(folder: Path) -> list[Path]:
    """Return the file called rates, else those whose names or columns are yields."""
    paths = files_of(folder)
    named = [path for path in paths if symbol_of(path) == "rates"]
    called = [path for path in named if path.name.lower().startswith("rates.")]
    if len(called) > 1:
        names = " and ".join(path.name for path in called)
        raise BarsError(f"{folder}: must hold rates once, has {names}. Remove one.")
    return called or [
        path for path in paths if path in named or "rates" in symbols_of(path)
    ]


def files_of(folder: Path) -> list[Path]:
    """Return the files of tables in `folder`, by name."""
    return sorted(path for path in folder.iterdir() if _is_table(path))


def _is_table(path: Path) -> bool:
    """Tell whether a file is a table by its name, or a text by its header too."""
    if not table_suffix(path).startswith(".txt"):
        return bool(table_suffix(path))
    try:
        return any(map(is_date, _header(path)[0]))
    except (BarsError, OSError, ValueError):
        return False


def symbols_of(path: Path) -> tuple[str, ...]:
    """Return the symbols, in lower case, that a file's columns and tickers name.

    A file is looked into by its header; only one with a column of tickers is read.
    """
    try:
        header, tickers = _header(path)
        pairs = fields_of(header, tickers)
        named = [name for name in header if name.lower() in TICKER_COLUMNS]
        found = {ticker for ticker, _ in pairs}
        if named and not any(found):
            found = set(_raw(path)[0][named[0]].dropna().astype(str))
    except (BarsError, OSError, ValueError):
        return ()  # says so where it is read
    symbols = {symbol_of_ticker(ticker) for ticker in found if ticker.strip()}
    return tuple(sorted(symbols | {name.lower() for name in symbols_in(header)}))


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, text or parquet file of numbers; order and values are not checked.

    Parameters
    ----------
    path : Path
        The sessions are a column such as `date` or `datetime` (else the first column,
        or a parquet index), as YYYY-MM-DD or in another format of `cells`.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        Lower-cased columns of floats, indexed by tz-naive dates named "session".

    Raises
    ------
    BarsError
        If the file cannot be read, or a date or number cannot be parsed.
    """
    return read_file(path).frame


def read_file(path: Path, symbol: str | None = None) -> FileTable:
    """Read a file as `read_table` does, with what is odd about it.

    Parameters
    ----------
    path : Path
        The file.
    symbol : str, optional
        Whose bars are wanted of several in one file; by default that of its name.
    """
    wanted = (symbol or symbol_of(path)).lower()
    try:
        frame, tickers = _raw(path)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        if isinstance(error, BarsError):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        reason = shorten(reason, 160)
        raise BarsError(f"{path}: cannot be read as a table: {reason}.") from error
    if not len(frame.columns):
        raise BarsError(f"{path}: must have a column of dates, but has no column.")
    frame = frame.dropna(how="all")  # the tail that a spreadsheet leaves
    frame, found = rows_of_symbol(frame, tickers, wanted, path)
    frame.columns = pd.Index(our_names(list(frame.columns)))
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise BarsError(f"{path}: column {shown(repeated[0])} must be there only once.")
    sessions = parse_dates(frame.pop(date_column(list(frame.columns))), path)
    frame = _with_events(frame.set_index(sessions))
    odd = _odd_times(frame, path)
    frame, others = _of_numbers(frame, path)
    odd += others
    if {"close", "adj close"} & set(frame):
        frame = frame[frame.notna().any(axis=1)]
    if len(frame) > 1 and frame.index.is_monotonic_decreasing and frame.index.is_unique:
        frame = frame.iloc[::-1]
        words = f"{path.name}: the newest row comes first, the rows were reversed"
        odd.append(on_whole("newest first", words, "warning"))
    return FileTable(frame, (*found, *odd))


def read_one_after_another(paths: Sequence[Path], symbol: str) -> FileTable:
    """Read the files that hold a symbol, each of which has its own sessions.

    Raises
    ------
    BarsError
        If a file cannot be read, or two have a session in common.
    """
    tables = [read_file(path, symbol) for path in paths]
    joined = tables[0].frame
    for table, path in zip(tables[1:], paths[1:], strict=True):
        joined = appended(joined, table.frame, symbol, (paths[0], path))
    return FileTable(joined, tuple(odd for table in tables for odd in table.findings))


def appended(
    frame: pd.DataFrame, other: pd.DataFrame, symbol: str, paths: tuple[Path, Path]
) -> pd.DataFrame:
    """Return the rows of both frames by session, (n_rows, n_columns); none is in two.

    Raises
    ------
    BarsError
        If a session is in both; the sentence names `paths`, where they are from.
    """
    both = frame.index.intersection(other.index)
    if len(both):
        first, second = paths
        raise BarsError(
            f"{first.parent}: must hold {symbol} once, {first.name} and {second.name} "
            f"have {both[0].date()}. Remove one."
        )
    joined = pd.concat([frame, other])
    is_sorted = frame.index.is_monotonic_increasing
    return joined.sort_index() if is_sorted else joined


def _header(path: Path) -> tuple[list[str], Sequence[str]]:
    """Return the names of the columns, and their tickers where they have some."""
    if table_suffix(path) == ".parquet":
        return open_parquet(read_bytes(path, TABLE_BYTES)).schema_arrow.names, ()
    layout, _ = layout_of(path)
    return list(layout.header), layout.tickers


def _raw(path: Path) -> tuple[pd.DataFrame, Sequence[str]]:
    """Return a file's cells under the names of its header, and tickers of columns."""
    if table_suffix(path) == ".parquet":
        return _of_parquet(path)
    layout, text = layout_of(path)
    frame = _cells(text, layout)
    names = our_names(list(layout.header))
    prices = [k for k, name in enumerate(names) if name in (*PRICES, "adj close")]
    if any(_has_commas(frame.iloc[:, k]) for k in prices or range(1, len(names))):
        # of 24,13 and 1.234 all cells are needed as they are
        frame = _cells(text, layout, dtype=str)
    return frame, layout.tickers


def _cells(
    text: str, layout: TableLayout, dtype: type[str] | None = None
) -> pd.DataFrame:
    cells = pd.read_csv(
        StringIO(text),
        header=None,
        names=range(len(layout.header)),
        index_col=False,
        skiprows=layout.n_skipped,
        sep=layout.separator,
        na_values=_MISSING,
        dtype=dtype,
        low_memory=False,
    )
    return cells.set_axis(pd.Index(layout.header), axis=1)


def _of_parquet(path: Path) -> tuple[pd.DataFrame, Sequence[str]]:
    """Return a frame's columns, and their tickers where they have two levels."""
    frame = read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    if frame.columns.nlevels == 1:
        return frame.set_axis(frame.columns.astype(str), axis=1), ()
    first, second = (list(map(str, frame.columns.get_level_values(k))) for k in (0, 1))
    is_named = [sum(map(is_read, our_names(names))) for names in (first, second)]
    pairs = zip(first, second, strict=True)
    if is_named[0] < is_named[1]:
        pairs = zip(second, first, strict=True)
    # the names of an index stand in the first level, and nothing in the other
    found = [(name or other, other if name else "") for name, other in pairs]
    fields = [name for name, _ in found]
    tickers = ["" if is_date(ticker) else ticker for _, ticker in found]
    return frame.set_axis(pd.Index(fields), axis=1), tickers


def _has_commas(cells: pd.Series) -> bool:
    is_text = cells.dtype == object
    return is_text and bool(cells.astype(str).str.contains(r"\d,\d").any())


def _with_events(frame: pd.DataFrame) -> pd.DataFrame:
    """Take rows such as `0.5 Dividend` and `2:1 Stock Split` out, into columns.

    The site of Yahoo has them between its rows of prices, under the dates of these.
    """
    cells = frame.get("open")
    if cells is None or cells.dtype.kind in "fiu":
        return frame
    found = cells.astype(str).str.extract(_EVENT_ROW)
    is_event = found.notna().any(axis=1).to_numpy()
    if not is_event.any():
        return frame
    rows = frame[~is_event].copy()
    values = found[is_event].apply(pd.to_numeric)
    values["capital gains"] = values.pop("gains")
    values["stock splits"] = values.pop("new") / values.pop("old")
    for name in values.columns.difference(frame.columns):
        paid = values[name].groupby(level=0).sum()
        rows[name] = paid.reindex(rows.index).fillna(0.0)
    return rows


def _odd_times(frame: pd.DataFrame, path: Path) -> list[Finding]:
    """Look whether a column of times is that of daily bars; it is not read."""
    if "time" not in frame.columns:
        return []
    times = frame["time"].dropna().astype(str)
    is_odd = ~times.str.replace(r"\D", "", regex=True).isin(_DAILY_TIMES)
    if not is_odd.any():
        return []
    words = (
        f"{path.name}: bars must be of whole sessions, its column 'time' has "
        f"{shown(times[is_odd].iloc[0])}; it is not read"
    )
    return [on_whole("time of day", words, "warning")]


def _of_numbers(frame: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the columns of numbers, without unused text."""
    is_bars = "close" in frame.columns
    unread = [name for name in map(str, frame) if is_unread(name)]
    for name in map(str, frame.select_dtypes(exclude="number")):
        is_text = pd.to_numeric(frame[name], errors="coerce").isna()
        is_odd = frame[name].dtype.kind in "bmM" or is_text.all()
        if not is_read(name) and (is_odd or (is_bars and is_text.any())):
            unread.append(name)
    frame = parse_numbers(frame.drop(columns=unread), path)
    for name in frame.columns.intersection(list(_SPLITS)):
        frame[name] = frame[name].where(frame[name] != 1.0, 0.0)  # one for one is none
    unknown = [name for name in map(str, frame) if is_bars and not is_read(name)]
    if not unknown:
        return frame, []
    words = (
        f"{path.name}: column {shown(unknown[0])} is not known and not read"
        f"{f', nor are {len(unknown) - 1} others' * (len(unknown) > 1)}"
    )
    return frame, [on_whole("unknown column", words, "warning")]
