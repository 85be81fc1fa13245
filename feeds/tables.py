"""Files of numbers with one row a session, in the spellings that people have.

Understood are the columns of Yahoo (``Date, Open, ..., Adj Close``), of Stooq
(``<DATE>, <OPEN>, ..., <VOL>``), of Backtrader (``datetime, ..., openinterest``) and of
the CBOE's put/call files, whose header follows lines of prose.
"""

import csv
import re
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.parquet import read_parquet
from trm_bt.reading import TABLE_BYTES, read_text
from trm_bt.text import shown

SUFFIXES: Final = (".csv", ".parquet")
_DATE_COLUMNS: Final = ("date", "datetime", "session", "trade date")
_SPELLINGS: Final = {"vol": "volume"}
_ADJUSTED_CLOSE: Final = re.compile(r"adj(usted)?[ ._*]*close[*]*")
_NO_NUMBERS: Final = ("ticker", "symbol", "per", "time")
_DATE_FORMATS: Final = ("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y")
_AMERICAN_MIDNIGHT: Final = r"[ T]00:00:00(?:-0[456]:00)?$"
"""What yfinance and Backtrader write after the date of a daily bar: midnight in New
York or, for the indexes of the CBOE, in Chicago."""
_MOST_HEADER_LINES: Final = 10


def file_of(folder: Path, symbol: str) -> Path | None:
    """Return the file that holds `symbol`, None if there is none.

    Case does not matter; neither do the ^ before an index nor the .us of Stooq.
    """
    found = [path for path in files_of(folder) if symbol_of(path) == symbol.lower()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise BarsError(f"{folder}: must hold {symbol} once, has {names}. Remove one.")
    return found[0] if found else None


def files_of(folder: Path) -> list[Path]:
    """Return the files of tables in `folder`, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def symbol_of(path: Path) -> str:
    """Return the symbol that a file is named for, in lower case.

    Examples
    --------
    >>> [symbol_of(Path(name)) for name in ("SPY.csv", "^vix.csv", "spy.us.parquet")]
    ['spy', 'vix', 'spy']
    """
    return path.stem.lower().removeprefix("^").removesuffix(".us")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or parquet file of numbers; order and values are not checked.

    Parameters
    ----------
    path : Path
        The sessions are the column `date`, `datetime` or `session` (else the first
        column, or a parquet index), as YYYY-MM-DD, YYYYMMDD or MM/DD/YYYY, or as
        midnight in New York.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        Lower-cased columns of floats, indexed by tz-naive dates named "session".

    Raises
    ------
    BarsError
        If the file cannot be read, or a date or number cannot be parsed.
    """
    try:
        if path.suffix == ".parquet":
            frame = read_parquet(path)
        else:
            text = read_text(path, TABLE_BYTES)
            skipped = _lines_beside_header(text, path)
            frame = pd.read_csv(StringIO(text), skiprows=skipped, thousands=",")
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise BarsError(f"{path}: cannot be read as a table: {reason}.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    if not len(frame.columns):
        raise BarsError(f"{path}: must have a column of dates, and has no column.")
    frame.columns = frame.columns.astype(str).str.strip(" <>").str.lower()
    frame = frame.rename(columns=_spell)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise BarsError(f"{path}: column '{repeated[0]}' must be there once only.")
    dates = [name for name in _DATE_COLUMNS if name in frame.columns]
    written = frame.pop(dates[0] if dates else frame.columns[0])
    frame = frame.drop(columns=[name for name in _NO_NUMBERS if name in frame])
    frame.index = _parse_dates(written, path)
    return _parse_numbers(frame, path)


def _spell(column: str) -> str:
    """Return our spelling of a lower-cased column."""
    if _ADJUSTED_CLOSE.fullmatch(column):
        return "adj close"
    return _SPELLINGS.get(column, column)


def _lines_beside_header(text: str, path: Path) -> list[int]:
    """Return the lines that are to be skipped: prose before the header, and more.

    What `yfinance.download` writes has a header of three lines, the columns in the
    first.
    """
    lines = list(islice(csv.reader(StringIO(text)), _MOST_HEADER_LINES))
    starts = [cells[0].strip(" <>").lower() if cells else "" for cells in lines]
    if starts[:3] == ["price", "ticker", "date"]:
        tickers = {cell for cell in lines[1][1:] if cell}
        if len(tickers) > 1:
            raise BarsError(
                f"{path}: must hold one symbol, has {', '.join(sorted(tickers))}."
            )
        return [1, 2]
    for i, cells in enumerate(lines):
        if {cell.strip(" <>").lower() for cell in cells} & {*_DATE_COLUMNS}:
            return list(range(i))
    return []


def _parse_dates(written: pd.Series, path: Path) -> pd.DatetimeIndex:
    """Return the sessions; all of them must be written in one of the formats."""
    text = written.astype(str).str.strip()
    days = text.str.replace(_AMERICAN_MIDNIGHT, "", regex=True)
    for date_format in _DATE_FORMATS:
        dates = pd.to_datetime(days, errors="coerce", format=date_format)
        if dates.notna().any():
            break
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        raise BarsError(
            f"{path}: every row needs a New York trading date as YYYY-MM-DD, data row "
            f"{row + 1} has {shown(text.iloc[row])}."
        )
    return pd.DatetimeIndex(dates, name="session").as_unit("ns")


def _parse_numbers(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    is_text = (numbers.isna() & frame.notna()).to_numpy()
    if is_text.any():
        row, column = np.argwhere(is_text)[0]
        raise BarsError(
            f"{path}: '{frame.columns[column]}' must be a number, on "
            f"{frame.index[row].date()} got {shown(frame.iat[row, column])}."
        )
    return pd.DataFrame(numbers.astype(np.float64))
