"""How a text file of a table is laid out: encoding, separator, header lines."""

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from typing import Final

from trm_bt.errors import BarsError
from trm_bt.feeds.spellings import is_date, is_known
from trm_bt.reading import TABLE_BYTES, read_bytes
from trm_bt.text import shown

_MOST_HEADER_LINES: Final = 50
_SEPARATORS: Final = (";", "\t", "|")
"""Those that are looked for before the comma, which may be a decimal sign."""
_ENCODINGS: Final = ("utf-8-sig", "cp1252")
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_PAGE: Final = re.compile(r"\s*(<(!doctype|html|head|body|\?xml)|[{\[])", re.IGNORECASE)
_VALUE: Final = re.compile(
    r"[-+$€]?\s?\d[\d.,\s]*[KMB%]?"
    r"|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*|\d{1,2}[- ][A-Za-z]{3,9}\.?[- ,]+\d{2,4}.*"
    r"|[A-Za-z]{3,9} \d{1,2}, \d{4}"
)
"""A number or a date: what a header has none of."""


@dataclass(frozen=True)
class TableLayout:
    """How the cells of a text file are found.

    Parameters
    ----------
    separator : str
        What stands between two cells.
    n_skipped : int
        Lines before the first row.
    header : tuple of str
        The cells of the header.
    tickers : tuple of str
        Those of another header line, one a cell of the header; empty without one.
    """

    separator: str
    n_skipped: int
    header: tuple[str, ...]
    tickers: tuple[str, ...] = ()


def layout_of(path: Path) -> tuple[TableLayout, str]:
    """Read a text file whole, and find its layout by its first lines.

    Raises
    ------
    BarsError
        If the file is empty, or a page or a message instead of a table, or has no
        header, or more cells in a row than in the header.
    OSError, ValueError
        If it cannot be read, or is too large.
    """
    text = _text_of(path)
    lines = list(islice(StringIO(text, newline=""), _MOST_HEADER_LINES))
    if not "".join(lines).strip():
        raise BarsError(f"{path}: must be a table, but is empty.")
    try:
        separator, rows = _rows(lines)
    except csv.Error as error:
        raise BarsError(f"{path}: cannot be read as a table: {error}.") from error
    values = [i for i, row in enumerate(rows) if any(map(_is_value, row))]
    n_skipped = values[0] if values else len(rows)
    n_known = [sum(map(is_known, row)) for row in rows[:n_skipped]]
    is_message = not values and not any(n_known)
    if _PAGE.match("".join(lines)) or is_message or max(map(len, rows)) < 2:
        came = shown(" ".join("".join(lines).split()))
        raise BarsError(
            f"{path}: must be a table, but is a saved page or a message: {came}. "
            "Download it again."
        )
    if not n_known:
        raise BarsError(
            f"{path}: must begin with a header that names the columns, but begins "
            f"with {shown(separator.join(rows[0]))}."
        )
    # of lines that name as much the last one stands nearest to the rows
    at = max(range(n_skipped), key=lambda i: (n_known[i], i))
    header = [cell.strip() for cell in rows[at]]
    tickers = _tickers(rows, at, n_skipped)
    if tickers:  # the first cell names the header lines, and dates may stand in either
        above = rows[:n_skipped]
        dates = [
            k for row in above for k, cell in enumerate(row) if k and is_date(cell)
        ]
        header[dates[0] if dates else 0] = "date"
        header[0] = "index" if dates else "date"
    for row in rows[n_skipped : n_skipped + 1]:
        _refuse_longer(path, row, header, separator)
    return TableLayout(separator, n_skipped, tuple(header), tickers), text


def _rows(lines: Sequence[str]) -> tuple[str, list[list[str]]]:
    """Return the separator of some lines, and their cells."""
    tail = [line for line in lines if line.strip()][-2:]
    found = (sign for sign in _SEPARATORS if all(sign in line for line in tail))
    separator = next(found, ",")
    return separator, list(csv.reader(lines, delimiter=separator))


def _text_of(path: Path) -> str:
    """Return the text of a file, which may be compressed, without a byte order mark."""
    content = read_bytes(path, TABLE_BYTES)
    if content.startswith(_GZIP):
        try:
            with gzip.open(BytesIO(content)) as file:
                content = file.read(TABLE_BYTES + 1)
        except (EOFError, zlib.error) as error:
            raise ValueError("it is damaged, or was not received whole") from error
        if len(content) > TABLE_BYTES:
            raise ValueError(f"must have at most {TABLE_BYTES:,} bytes, unpacked")
    if content.startswith(_ZIP):
        raise ValueError("it is a workbook or a zip archive; save its table as CSV")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    for encoding in _ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BarsError(f"{path}: must be text in UTF-8.")


def _is_value(cell: str) -> bool:
    return _VALUE.fullmatch(cell.strip()) is not None


def _tickers(rows: Sequence[Sequence[str]], at: int, end: int) -> tuple[str, ...]:
    """Return the line next to the header that names a ticker for each column."""
    for i in (at + 1, at - 1):
        if not 0 <= i < end or len(rows[i]) != len(rows[at]):
            continue
        cells = ["", *("" if is_date(cell) else cell.strip() for cell in rows[i][1:])]
        named = [cell for cell in cells if cell]
        if named and len(named) >= len(cells) // 2 and not any(map(is_known, named)):
            return tuple(cells)
    return ()


def _refuse_longer(
    path: Path, row: Sequence[str], header: Sequence[str], separator: str
) -> None:
    if any(cell.strip() for cell in row[len(header) :]):
        raise BarsError(
            f"{path}: every row must have as many cells as the header, "
            f"{len(header)}, the first has {len(row)}. Are its commas decimal commas? "
            f"Separate the cells by semicolons, they are by '{separator}'."
        )
