"""A folder of raw daily bars, one sealed parquet file for each symbol of a vendor.

A file holds all that is known about a symbol: its bars, when they were retrieved, and a
SHA-256 of the whole file. Its atomic replacement is the one moment at which a symbol
changes, so a process that dies leaves the old or the new bars, whole.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from platformdirs import user_data_path
from pydantic import BaseModel

from trm_bt.errors import BarsError
from trm_bt.files import remove_leftovers, write_atomically
from trm_bt.market.adjustment import RAW_COLUMNS
from trm_bt.parquet import decode_parquet, open_parquet
from trm_bt.reading import TABLE_BYTES, check_json, read_bytes
from trm_bt.text import reason_of, shorten, shown

_VERSION: Final = 2
_OLD_MANIFEST: Final = "bars-manifest.json"
"""What stores of version 1 kept beside the bars."""
_SYMBOL: Final = re.compile(r"\^?[A-Za-z0-9][A-Za-z0-9.=-]{0,19}")
_KEY: Final = b"trm_bt"
_SEAL: Final = b'"sha256":"'
_UNSEALED: Final = b"0" * 64


class StoreEntry(BaseModel, frozen=True, extra="forbid"):
    """What a file of the store says of its bars.

    Parameters
    ----------
    version : 2
        Version of the format.
    vendor, symbol : str
        Whose bars, as the vendor spells the symbol.
    retrieved_at : str
        Moment of the fetch that wrote the file, ISO 8601 in UTC.
    compared_at : str
        Moment at which the whole history was last compared with the vendor's.
    start, end : str
        First and last session, YYYY-MM-DD.
    rows : int
        Number of sessions.
    sha256 : str
        Digest of the file with 64 zeros in the place of the digest.
    """

    version: Literal[2]
    vendor: str
    symbol: str
    retrieved_at: str
    compared_at: str
    start: str
    end: str
    rows: int
    sha256: str


def default_store() -> Path:
    """Return the folder for bars in the user's data folder."""
    return user_data_path("trm-bt", appauthor=False) / "bars"


class BarStore:
    """Raw bars by symbol; any number of processes may read and write at once.

    Parameters
    ----------
    folder : Path
        The store's folder; the first `write` makes it.
    vendor : str
        Name of the vendor; a folder may hold bars of several.
    """

    def __init__(self, folder: Path, vendor: str) -> None:
        self.folder = folder
        self.vendor = vendor

    def path(self, symbol: str) -> Path:
        """Return the path of the symbol's file, there or not."""
        return self.folder / f"{symbol}.{self.vendor}.parquet"

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that have a file, sorted.

        Raises
        ------
        BarsError
            If there are none, but bars in the format of an older version.
        """
        suffix = f".{self.vendor}.parquet"
        found = sorted(
            path.name.removesuffix(suffix) for path in self.folder.glob(f"*{suffix}")
        )
        if not found and (self.folder / _OLD_MANIFEST).is_file():
            raise BarsError(
                f"{self.folder}: must hold bars in format {_VERSION}, but holds those "
                "of an older version, which cannot be read. Run `trm-bt fetch --store "
                f"{self.folder}` to fetch them again; the old files stay."
            )
        return tuple(found)

    def entry(self, symbol: str) -> StoreEntry | None:
        """Return what the file of `symbol` says of its bars, None without a file.

        Raises
        ------
        BarsError
            If the file is not the one that was written.
        """
        return self._open(symbol)[0] if self.path(symbol).is_file() else None

    def read(self, symbol: str) -> pd.DataFrame:
        """Return the raw bars of `symbol`, as they were traded.

        Returns
        -------
        DataFrame of shape (n_sessions, 8)
            `RAW_COLUMNS`, indexed by tz-naive sessions named "session".

        Raises
        ------
        BarsError
            If there are none, or the file is not the one that was written.
        """
        content = self._open(symbol)[1]
        try:
            raw = decode_parquet(content).set_index("session")
            _check(raw)
            return raw
        except (OSError, ValueError, KeyError) as error:
            raise BarsError(
                f"{self.path(symbol)}: its bars are damaged: "
                f"{shorten(reason_of(error), 80)}. {_remedy(symbol)}"
            ) from error

    def write(
        self,
        symbol: str,
        raw: pd.DataFrame,
        *,
        retrieved_at: str,
        compared_at: str | None = None,
    ) -> None:
        """Make `raw` the bars of `symbol`, whole or not at all.

        Parameters
        ----------
        symbol : str
            As the vendor spells it.
        raw : DataFrame of shape (n_sessions, 8)
            `RAW_COLUMNS`, oldest session first.
        retrieved_at : str
            When they were retrieved, ISO 8601 in UTC.
        compared_at : str, optional
            When the whole history came or was compared, if it was another moment.

        Raises
        ------
        BarsError
            If the symbol is invalid, or there are no bars.
        OSError
            If they cannot be written; the old bars stay.
        """
        check_symbol(symbol)
        if raw.empty or list(raw.columns) != list(RAW_COLUMNS):
            raise BarsError(
                f"{symbol}: a store takes rows of {', '.join(RAW_COLUMNS)}, got "
                f"{len(raw)} of {', '.join(map(str, raw.columns))}."
            )
        entry = StoreEntry(
            version=_VERSION,
            vendor=self.vendor,
            symbol=symbol,
            retrieved_at=retrieved_at,
            compared_at=compared_at or retrieved_at,
            start=raw.index[0].date().isoformat(),
            end=raw.index[-1].date().isoformat(),
            rows=len(raw),
            sha256=_UNSEALED.decode(),
        )
        content = _encode(raw, entry)
        start, digest = _seal(content)
        content = content[:start] + digest + content[start + len(digest) :]
        write_atomically(self.path(symbol), lambda draft: draft.write_bytes(content))

    @contextmanager
    def updating(self, symbol: str) -> Iterator[None]:
        """Hold other processes off `symbol` while it is fetched and written."""
        check_symbol(symbol)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{symbol}.{self.vendor}.lock"):
            remove_leftovers(self.path(symbol))  # also where nothing is written
            yield

    def _open(self, symbol: str) -> tuple[StoreEntry, bytes]:
        """Return what the symbol's file says and holds, if it is sealed."""
        path = self.path(symbol)
        remedy = _remedy(symbol)
        try:
            content = read_bytes(path, TABLE_BYTES)
        except FileNotFoundError:
            raise BarsError(
                f"{self.folder}: must hold '{symbol}', but has none. {remedy}"
            ) from None
        except ValueError as error:
            raise BarsError(f"{path}: {error}. {remedy}") from error
        except OSError as error:  # not damaged: `fetch` must not take it for that
            raise type(error)(f"{path}: {error}") from error
        start, digest = _seal(content)
        if content[start : start + len(digest)] != digest:
            raise BarsError(
                f"{path}: must be the file that was written, its SHA-256 differs from "
                f"what it says. {remedy}"
            )
        try:
            stated = open_parquet(content).metadata.metadata[_KEY]
            check_json(stated)
            entry = StoreEntry.model_validate_json(stated, strict=True)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise BarsError(
                f"{path}: must be in format {_VERSION}, but is in that of another "
                f"version. {remedy}"
            ) from error
        if (entry.vendor, entry.symbol) != (self.vendor, symbol):
            raise BarsError(
                f"{path}: must be the bars of {symbol} from {self.vendor}, got those "
                f"of {entry.symbol} from {entry.vendor}. {remedy}"
            )
        return entry, content


def _check(raw: pd.DataFrame) -> None:
    """Raise `ValueError` unless a table has the columns and types of raw bars."""
    is_dated = isinstance(raw.index, pd.DatetimeIndex) and raw.index.tz is None
    is_plain = raw.select_dtypes("number").columns.tolist() == list(RAW_COLUMNS)
    if not is_dated or not is_plain or len(raw.columns) != len(RAW_COLUMNS):
        raise ValueError(
            f"must be numbers {', '.join(RAW_COLUMNS)} by session, got "
            f"{', '.join(map(str, raw.dtypes))} by {raw.index.dtype}"
        )


def _remedy(symbol: str) -> str:
    return f"Run `trm-bt fetch --symbols {symbol}` to fetch it again."


def _encode(raw: pd.DataFrame, entry: StoreEntry) -> bytes:
    """Return bars and entry as a parquet file, which has the entry's text once."""
    table = pa.Table.from_pandas(raw.rename_axis("session").reset_index())
    buffer = BytesIO()
    with pq.ParquetWriter(
        buffer, table.schema, compression="zstd", store_schema=False
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: entry.model_dump_json()})
    return buffer.getvalue()


def _seal(content: bytes) -> tuple[int, bytes]:
    """Return where a file states its digest, and the digest that it has."""
    start = content.rfind(_SEAL) + len(_SEAL)
    unsealed = content[:start] + _UNSEALED + content[start + len(_UNSEALED) :]
    return start, hashlib.sha256(unsealed).hexdigest().encode()


def check_symbol(symbol: str) -> None:
    """Raise `BarsError` unless `symbol` is one, such as SPY, ^VIX or BRK-B."""
    if not _SYMBOL.fullmatch(symbol):
        raise BarsError(
            "A symbol is at most 20 letters, digits and . = - after an optional ^, "
            f"got {shown(symbol)}."
        )
