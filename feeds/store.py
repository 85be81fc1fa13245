"""A folder of raw daily bars, one parquet file a symbol, and a manifest.

The manifest names the live file of each symbol with its SHA-256. Its atomic
replacement is the one moment at which a symbol changes, so a process that dies leaves
each symbol's old or new bars, whole.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

import pandas as pd
from filelock import FileLock
from platformdirs import user_data_path
from pyarrow import BufferReader
from pyarrow.parquet import ParquetFile
from pydantic import BaseModel, ConfigDict, ValidationError

from trm_bt.errors import BarsError
from trm_bt.files import write_atomically, write_text_atomically
from trm_bt.market.adjustment import RAW_COLUMNS

MANIFEST: Final = "bars-manifest.json"
_FORMAT: Final = "trm_bt bar store"
_VERSION: Final = 1
_SYMBOL: Final = re.compile(r"\^?[A-Za-z0-9][A-Za-z0-9.=-]{0,19}")
_BARS_FILE: Final = re.compile(rf"{_SYMBOL.pattern}\.[0-9a-f]{{12}}\.parquet")
_DRAFT_FOLDER: Final = re.compile(
    rf"\.({_BARS_FILE.pattern}|{re.escape(MANIFEST)})\.[^.]+"
)
"""What `write_atomically` makes beside the file that it writes."""
_N_READS: Final = 5
"""A reader looks again this often when a writer replaces the file under its hands."""


class StoreEntry(BaseModel):
    """What the manifest says of one symbol.

    Parameters
    ----------
    file : str
        Name of the live parquet file.
    source : str
        Where the bars came from.
    retrieved_at : str
        Moment of the fetch that wrote the file, ISO 8601 in UTC.
    compared_at : str
        Moment at which the whole history was last held against the vendor's.
    start, end : str
        First and last session, YYYY-MM-DD.
    rows : int
        Number of sessions.
    sha256 : str
        Digest of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    source: str
    retrieved_at: str
    compared_at: str
    start: str
    end: str
    rows: int
    sha256: str


def default_store() -> Path:
    """Return the folder for bars in the user's data folder."""
    return user_data_path("trm-bt", appauthor=False) / "bars"


def is_store(folder: Path) -> bool:
    """Tell whether the folder has the manifest of a store, sound or damaged."""
    return (folder / MANIFEST).is_file()


class BarStore:
    """Raw bars by symbol; any number of processes may read and write at once.

    Parameters
    ----------
    folder : Path
        The store's folder; the first `write` makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that have bars, sorted."""
        return tuple(sorted(self._entries()))

    def entry(self, symbol: str) -> StoreEntry | None:
        """Return what the manifest says of `symbol`, None if it has no bars."""
        return self._entries().get(symbol)

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
        for _ in range(_N_READS):
            entry = self.entry(symbol)
            if entry is None:
                raise BarsError(
                    f"{self.folder}: must hold '{symbol}', and has none. "
                    f"{_remedy(symbol)}"
                )
            path = self.folder / entry.file
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # replaced since the manifest was read
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                raise BarsError(
                    f"{path}: must be the file that was written, its SHA-256 differs "
                    f"from the manifest's. {_remedy(symbol)}"
                )
            return _decode(content)
        raise BarsError(f"{path}: is in the manifest and missing. {_remedy(symbol)}")

    def write(
        self,
        symbol: str,
        raw: pd.DataFrame,
        *,
        source: str,
        retrieved_at: str,
        compared_at: str | None = None,
    ) -> StoreEntry:
        """Make `raw` the bars of `symbol`, whole or not at all.

        Parameters
        ----------
        symbol : str
            As the vendor spells it.
        raw : DataFrame of shape (n_sessions, 8)
            `RAW_COLUMNS`, oldest session first.
        source : str
            Where the bars came from.
        retrieved_at : str
            When, ISO 8601 in UTC.
        compared_at : str, optional
            When the whole history came or was compared, if it was another moment.

        Raises
        ------
        BarsError
            If the symbol is none, or there are no bars.
        OSError
            If they cannot be written; the old bars stay.
        """
        check_symbol(symbol)
        if raw.empty or list(raw.columns) != list(RAW_COLUMNS):
            raise BarsError(
                f"{symbol}: a store takes rows of {', '.join(RAW_COLUMNS)}, got "
                f"{len(raw)} of {', '.join(map(str, raw.columns))}."
            )
        buffer = BytesIO()
        raw.to_parquet(buffer, compression="zstd", write_page_checksum=True)
        content = buffer.getvalue()
        sha256 = hashlib.sha256(content).hexdigest()
        entry = StoreEntry(
            file=f"{symbol}.{sha256[:12]}.parquet",
            source=source,
            retrieved_at=retrieved_at,
            compared_at=compared_at or retrieved_at,
            start=raw.index[0].date().isoformat(),
            end=raw.index[-1].date().isoformat(),
            rows=len(raw),
            sha256=sha256,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".manifest.lock"):
            write_atomically(
                self.folder / entry.file, lambda draft: draft.write_bytes(content)
            )
            entries = {**self._entries(), symbol: entry}
            manifest = {
                "format": _FORMAT,
                "version": _VERSION,
                "symbols": {
                    name: entries[name].model_dump() for name in sorted(entries)
                },
            }
            write_text_atomically(
                self.folder / MANIFEST, json.dumps(manifest, indent=2) + "\n"
            )
            self._remove_strays(symbol, entry.file)
        return entry

    @contextmanager
    def updating(self, symbol: str) -> Iterator[None]:
        """Hold other processes off `symbol` while it is fetched and written."""
        check_symbol(symbol)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{symbol}.lock"):
            yield

    def _entries(self) -> dict[str, StoreEntry]:
        path = self.folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise BarsError(f"{path}: must be JSON. Delete it, fetch again.") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise BarsError(f"{path}: must be the manifest of a store, and is another.")
        if content.get("version") != _VERSION:
            raise BarsError(
                f"{path}: must be of version {_VERSION}, got {content.get('version')}. "
                "Fetch into a new store."
            )
        try:
            return {
                symbol: StoreEntry.model_validate(entry)
                for symbol, entry in content["symbols"].items()
            }
        except (KeyError, AttributeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise BarsError(f"{path}: is damaged: {reason}. Fetch again.") from error

    def _remove_strays(self, symbol: str, live: str) -> None:
        """Remove the symbol's replaced bars and all drafts of killed processes.

        The manifest's lock is held: no other process has a draft at this moment.
        """
        for path in self.folder.iterdir():
            is_bars = _BARS_FILE.fullmatch(path.name) and path.name != live
            if is_bars and path.name.rsplit(".", 2)[0] == symbol:
                path.unlink(missing_ok=True)
            elif _DRAFT_FOLDER.fullmatch(path.name):
                shutil.rmtree(path)


def _decode(content: bytes) -> pd.DataFrame:
    """Return the bars of a file, read without threads.

    Threads of pyarrow that have just begun can end a process with an abort when it
    exits, as `pandas.read_parquet` has them even with ``use_threads=False``.
    """
    file = ParquetFile(BufferReader(content), page_checksum_verification=True)
    frame: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
    return frame.rename_axis("session")


def _remedy(symbol: str) -> str:
    return f"Run `trm-bt fetch --symbols {symbol}` to take it again."


def check_symbol(symbol: str) -> None:
    """Raise `BarsError` unless `symbol` is one, such as SPY, ^VIX or BRK-B."""
    if not _SYMBOL.fullmatch(symbol):
        raise BarsError(
            "A symbol is at most 20 letters, digits and . = - after an optional ^, "
            f"got {symbol!r}."
        )
