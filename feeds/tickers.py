"""Whose bars a file holds: tickers in columns' names, a header line, or a column."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.spellings import PRICES, our_names, split_ticker, symbol_of
from trm_bt.quality.findings import Finding, on_whole
from trm_bt.text import shorten

TICKER_COLUMNS: Final = ("ticker", "symbol")


def fields_of(names: Sequence[str], tickers: Sequence[str]) -> list[tuple[str, str]]:
    """Return ticker and field of each column, the ticker empty where there is none."""
    if any(tickers):
        return list(zip(tickers, names, strict=True))
    pairs = [split_ticker(name) for name in names]
    fields = {field for ticker, field in pairs if ticker}
    plain = {*our_names(list(names))}
    # beside plain prices, the words in others such as Adj. Open are no tickers
    if len(fields & {*PRICES}) < 2 or len(plain & {*PRICES}) >= 2:
        return [("", name) for name in names]
    return [
        (ticker, field if ticker else name)
        for (ticker, field), name in zip(pairs, names, strict=True)
    ]


def symbol_of_ticker(ticker: str) -> str:
    """Return the symbol, in lower case, that a ticker such as SPY.US stands for."""
    return symbol_of(Path(f"{ticker.strip().replace('/', '-')}.csv"))


def rows_of_symbol(
    frame: pd.DataFrame, tickers: Sequence[str], wanted: str, path: Path
) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the columns and rows of one symbol, of which a file has one or more.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        The cells of the file.
    tickers : sequence of str
        Those of another header line, one a column; empty without one.
    wanted : str
        The symbol, in lower case.
    path : Path
        Begins the sentence of an error.

    Returns
    -------
    tuple of DataFrame of shape (n_own_rows, n_own_columns) and list of Finding
        A warning where the only ticker is another.

    Raises
    ------
    BarsError
        If the file has several symbols, but not this one, or rows without a ticker.
    """
    pairs = fields_of(list(frame.columns), tickers)
    named = [
        k
        for k, name in enumerate(frame)
        if str(name).strip(" <>").lower() in TICKER_COLUMNS
    ]
    rows = _tickers_of_rows(frame, named[0], path) if named else None
    symbols = {symbol_of_ticker(ticker): ticker for ticker, _ in pairs if ticker}
    if not symbols and rows is not None:
        symbols = {symbol_of_ticker(ticker): ticker.strip() for ticker in rows.unique()}
    if not symbols:
        return frame, []
    if len(symbols) > 1 and wanted not in symbols:
        raise BarsError(
            f"{path}: must hold {wanted.upper()}, has "
            f"{shorten(', '.join(sorted(symbols.values())))}."
        )
    found: list[Finding] = []
    if wanted not in symbols:
        (ticker,) = symbols.values()
        words = f"{path.name}: was read as {wanted.upper()}, but its ticker is {ticker}"
        found = [on_whole("other ticker", words, "warning")]
        wanted = symbol_of_ticker(ticker)
    if any(ticker for ticker, _ in pairs):
        is_wanted = [
            not ticker or symbol_of_ticker(ticker) == wanted for ticker, _ in pairs
        ]
        names = [name for _, name in pairs]
        frame = frame.set_axis(pd.Index(names), axis=1).loc[:, is_wanted]
    elif rows is not None:
        frame = frame[rows.map(symbol_of_ticker) == wanted]
    return frame, found


def _tickers_of_rows(frame: pd.DataFrame, column: int, path: Path) -> pd.Series | None:
    """Return the ticker of each row as text, shape (n_rows,); None without any."""
    tickers = frame.iloc[:, column]
    is_blank = tickers.isna()
    if is_blank.any() and not is_blank.all():
        raise BarsError(
            f"{path}: '{frame.columns[column]}' must name a ticker on every row, it is "
            f"empty on {is_blank.sum()}, first data row {int(is_blank.argmax()) + 1}. "
            "Fill it in, or remove the column."
        )
    return None if is_blank.all() else tickers.astype(str)
