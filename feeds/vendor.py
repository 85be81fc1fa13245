"""A vendor whose bars are downloaded into a store and read from there."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from trm_bt.feeds.exchange import FIRST_SESSION, SETTLED_AFTER, last_closed_session
from trm_bt.feeds.intake import Download, TransientFetchError, take_in
from trm_bt.feeds.sources import FolderSource
from trm_bt.feeds.store import BarStore
from trm_bt.feeds.tables import files_holding


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a vendor is asked.

    Parameters
    ----------
    attempts : int
        Largest number of requests for a symbol.
    first_wait, max_wait : float
        Seconds: the wait before attempt k is drawn from 0 to ``first_wait * 2**k``, but
        at most to `max_wait`.
    total_seconds : float
        No attempt begins later than this after the first.
    request_timeout : float
        Seconds a single answer may take.
    """

    attempts: int = 5
    first_wait: float = 2.0
    max_wait: float = 60.0
    total_seconds: float = 180.0
    request_timeout: float = 20.0


class Vendor(FolderSource):
    """A vendor of daily bars, and the store that its bars are kept in.

    A subclass sets the attributes and implements `request`. `putcall.csv` and
    `members.txt` are read beside the bars.

    Parameters
    ----------
    folder : Path
        Folder of the store; the first fetch makes it.
    retry : RetryPolicy
        Attempts and waits of a download.

    Attributes
    ----------
    key : str
        Name for options and files, such as "yahoo".
    name : str
        Name for reports.
    default_symbols : tuple of str
        What a fetch takes by default, as the vendor spells it.
    spellings : mapping of str to str
        The vendor's symbol for each of ours that differs.
    yields : mapping of str to str
        The symbol whose closes are a yield in percent a year, by name; the first one
        is the cash rate.
    settled_after : Timedelta
        Time after the close from which on a session's bar is final.
    """

    key: ClassVar[str]
    name: ClassVar[str]
    default_symbols: ClassVar[tuple[str, ...]]
    spellings: ClassVar[Mapping[str, str]] = {}
    yields: ClassVar[Mapping[str, str]] = {}
    settled_after: ClassVar[pd.Timedelta] = SETTLED_AFTER

    def __init__(self, folder: Path, retry: RetryPolicy | None = None) -> None:
        super().__init__(folder)
        self.title = f"daily bars from {self.name}, adjusted on read"
        self.store = BarStore(folder, self.key)
        self.retry = retry or RetryPolicy()

    @abstractmethod
    def request(
        self, symbol: str, start: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """Ask once for a symbol's bars from `start` to `now`.

        Returns
        -------
        DataFrame of shape (n_rows, 9)
            `RAW_COLUMNS` as they were traded, splits undone, and `adj close` (NaN where
            the vendor has none), by tz-naive dates of the symbol's exchange. A row may
            be of an open session or of none, and lack prices.

        Raises
        ------
        TransientFetchError
            If another attempt may help.
        FetchError
            If none can.
        """

    def download(
        self, symbol: str, *, now: pd.Timestamp, start: pd.Timestamp | None = None
    ) -> Download:
        """Download a symbol's raw bars up to the last session that is final.

        Parameters
        ----------
        symbol : str
            As the vendor spells it.
        now : Timestamp
            The moment of the request, with a time zone.
        start : Timestamp, optional
            First session wanted; without it all there are.

        Returns
        -------
        Download
            Bars on NYSE sessions, and warnings.

        Raises
        ------
        FetchError
            If the vendor refuses, fails, knows no such symbol, or sends no usable
            history.
        """
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            stop_after_attempt,
            stop_before_delay,
            wait_random_exponential,
        )

        def attempt() -> Download:
            sent = self.request(symbol, start or FIRST_SESSION, now)
            closed = last_closed_session(now - self.settled_after)
            return take_in(sent, closed, symbol=symbol, vendor=self.name)

        attempts = Retrying(
            retry=retry_if_exception_type(TransientFetchError),
            stop=stop_after_attempt(self.retry.attempts)
            | stop_before_delay(self.retry.total_seconds),
            wait=wait_random_exponential(self.retry.first_wait, self.retry.max_wait),
            reraise=True,
        )
        return attempts(attempt)

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the store by our names, put/call included."""
        ours = {vendors: name for name, vendors in self.spellings.items()}
        kept = set(self.store.symbols())
        found = {ours.get(symbol, symbol) for symbol in kept - {*self.yields.values()}}
        if kept & {*self.yields.values()}:
            found.add("rates")
        if files_holding(self.folder, "putcall"):
            found.add("putcall")
        return tuple(sorted(found))

    def read(self, symbol: str) -> pd.DataFrame | None:
        """Read the symbol's raw bars from the store, shape (n_sessions, 8)."""
        if symbol == "putcall":
            return super().read(symbol)
        kept = self.store.symbols()
        if symbol == "rates":
            closes = {
                name: self.store.read(spelled)["close"]
                for name, spelled in self.yields.items()
                if spelled in kept
            }
            return pd.DataFrame(closes) if closes else None
        spelled = self.spellings.get(symbol, symbol)
        return self.store.read(spelled) if spelled in kept else None

    def where(self, symbol: str) -> str:
        """Return the store's folder and the symbol as the vendor spells it."""
        if symbol == "putcall":
            return super().where(symbol)
        return f"{self.folder}: {self._spelled(symbol)}"

    def label(self, symbol: str) -> str:
        """Return the symbol as the vendor spells it."""
        return super().label(symbol) if symbol == "putcall" else self._spelled(symbol)

    def unread(self) -> tuple[str, ...]:
        """Return none: a store is no folder that files are put into."""
        return ()

    def origin(self, symbol: str) -> str:
        """Return the symbol as the vendor spells it and when it was retrieved."""
        spelled = self._spelled(symbol)
        entry = self.store.entry(spelled)
        if entry is None:
            return super().origin(symbol)
        return f"{spelled} from {self.name}, retrieved {entry.retrieved_at[:10]}"

    def _spelled(self, symbol: str) -> str:
        """Return the vendor's symbol, of the yields the first."""
        if symbol == "rates":
            return next(iter(self.yields.values()), symbol)
        return self.spellings.get(symbol, symbol)
