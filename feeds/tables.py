"""Files of numbers with one row a session, in the spellings that people have.

Understood are the columns of Yahoo (``Date, Open, ..., Adj Close``), of Stooq
(``<DATE>, <OPEN>, ..., <VOL>``), of Backtrader (``datetime, ..., openinterest``) and of
the CBOE's put/call files, whose header follows lines of prose.
"""

import csv
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError

SUFFIXES: Final = (".csv", ".parquet")
_DATE_COLUMNS: Final = ("date", "datetime", "session", "trade date")
_SPELLINGS: Final = {"vol": "volume", "adj_close": "adj close", "adjclose": "adj close"}
_NO_NUMBERS: Final = ("ticker", "symbol", "per", "time")
_DATE_FORMATS: Final = ("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y")
_NEW_YORK_MIDNIGHT: Final = r"[ T]00:00:00(?:-0[45]:00)?$"
"""What yfinance and Backtrader write after the date of a daily bar."""
_MOST_HEADER_LINES: Final = 10


def file_of(folder: Path, symbol: str) -> Path | None:
    """Return the file that holds `symbol`, None if there is none."""
    for suffix in SUFFIXES:
        path = folder / f"{symbol}{suffix}"
        if path.is_file():
            return path
    return None


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
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, skiprows=_n_lines_before_header(path))
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise BarsError(f"{path}: cannot be read as a table: {reason}.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    if not len(frame.columns):
        raise BarsError(f"{path}: must have a column of dates, and has no column.")
    frame.columns = frame.columns.astype(str).str.strip(" <>").str.lower()
    frame = frame.rename(columns=_SPELLINGS)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise BarsError(f"{path}: column '{repeated[0]}' must be there once only.")
    dates = [name for name in _DATE_COLUMNS if name in frame.columns]
    written = frame.pop(dates[0] if dates else frame.columns[0])
    frame = frame.drop(columns=[name for name in _NO_NUMBERS if name in frame])
    frame.index = _parse_dates(written, path)
    return _parse_numbers(frame, path)


def _n_lines_before_header(path: Path) -> int:
    """Count the lines before the first that begins with the name of a date column."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for i, cells in enumerate(csv.reader(file)):
            names = {cell.strip(" <>").lower() for cell in cells}
            if names & {*_DATE_COLUMNS}:
                return i
            if i >= _MOST_HEADER_LINES:
                break
    return 0


def _parse_dates(written: pd.Series, path: Path) -> pd.DatetimeIndex:
    """Return the sessions; all of them must be written in one of the formats."""
    text = written.astype(str).str.strip()
    days = text.str.replace(_NEW_YORK_MIDNIGHT, "", regex=True)
    for date_format in _DATE_FORMATS:
        dates = pd.to_datetime(days, errors="coerce", format=date_format)
        if dates.notna().any():
            break
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        raise BarsError(
            f"{path}: every row needs a New York trading date as YYYY-MM-DD, data row "
            f"{row + 1} has '{text.iloc[row]}'."
        )
    return pd.DatetimeIndex(dates, name="session").as_unit("ns")


def _parse_numbers(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    is_text = (numbers.isna() & frame.notna()).to_numpy()
    if is_text.any():
        row, column = np.argwhere(is_text)[0]
        raise BarsError(
            f"{path}: '{frame.columns[column]}' must be a number, on "
            f"{frame.index[row].date()} got {frame.iat[row, column]!r}."
        )
    return pd.DataFrame(numbers.astype(np.float64))
