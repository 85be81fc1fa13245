"""Files of bars: found by symbol, read as a table, checked as prices."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.bars import (
    PRICE_COLUMNS,
    check_ohlc,
    check_positive,
    check_sessions,
)

SUFFIXES: Final = (".csv", ".parquet")


def file_of(folder: Path, symbol: str) -> Path | None:
    """Return the file that holds `symbol`, None if there is none."""
    for suffix in SUFFIXES:
        path = folder / f"{symbol}{suffix}"
        if path.is_file():
            return path
    return None


def read_symbol(folder: Path, symbol: str, *, has_volume: bool = True) -> pd.DataFrame:
    """Read one symbol's checked bars, adjusted, with a volume unless it has none."""
    path = file_of(folder, symbol)
    if path is None:
        present = sorted(p.name for p in folder.iterdir() if p.suffix in SUFFIXES)
        raise BarsError(
            f"{folder}: must hold {symbol}.csv or {symbol}.parquet, got "
            f"{', '.join(present[:12]) if present else 'no CSV or parquet file'}."
        )
    frame = read_table(path)
    if has_volume and "volume" not in frame.columns:
        raise BarsError(
            f"{path}: column 'volume' is missing, got {list(frame.columns)}."
        )
    check_ohlc(frame, str(path))
    adjusted = next((c for c in ("adj close", "adj_close") if c in frame), None)
    if adjusted is not None:
        check_positive(frame[[adjusted]], str(path))
        ratio = frame[adjusted] / frame["close"]
        frame[list(PRICE_COLUMNS)] = frame[list(PRICE_COLUMNS)].mul(ratio, axis=0)
    return frame[[*PRICE_COLUMNS, *["volume"] * has_volume]]


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or parquet file of numbers with one row a session.

    The sessions are the column `date` (or the first column, or a parquet index);
    column names are lower-cased.

    Raises
    ------
    BarsError
        If the file cannot be read, a date or number cannot be parsed, or the sessions
        are not unique and in order.
    """
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BarsError(f"{path}: cannot be read as a table: {reason}.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = frame.columns.astype(str).str.strip().str.lower()
    date_column = "date" if "date" in frame.columns else frame.columns[0]
    written = frame.pop(date_column).astype(str)
    dates = pd.to_datetime(written, errors="coerce", format="%Y-%m-%d")
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        raise BarsError(
            f"{path}: every row needs a New York trading date as YYYY-MM-DD, data row "
            f"{row + 1} has '{written.iloc[row]}'."
        )
    frame.index = pd.DatetimeIndex(dates, name="session")
    check_sessions(frame.index, str(path))
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    is_text = (numbers.isna() & frame.notna()).to_numpy()
    if is_text.any():
        row, column = np.argwhere(is_text)[0]
        raise BarsError(
            f"{path}: '{frame.columns[column]}' must be a number, on "
            f"{frame.index[row].date()} got {frame.iat[row, column]!r}."
        )
    return pd.DataFrame(numbers.astype(np.float64))
