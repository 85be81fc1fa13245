"""Yahoo Finance: daily histories asked for through yfinance, and how that can fail."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd

from trm_bt.errors import FetchError
from trm_bt.feeds.intake import TransientFetchError
from trm_bt.feeds.vendor import RetryPolicy, Vendor
from trm_bt.market.adjustment import EVENT_COLUMNS, undo_splits

if TYPE_CHECKING:
    from curl_cffi.requests import Response, Session

_COLUMNS: Final = {
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Dividends": "dividends",
    "Capital Gains": "capital_gains",
    "Stock Splits": "splits",
    "Adj Close": "adj close",
}


class Yahoo(Vendor):
    """Yahoo Finance.

    VIX is calculated until 16:15, and Yahoo is late by up to a quarter of an hour.

    Parameters
    ----------
    folder, retry
        As in `Vendor`.
    session : curl_cffi session, optional
        Passed on to yfinance.
    """

    key: ClassVar[str] = "yahoo"
    name: ClassVar[str] = "Yahoo Finance"
    default_symbols: ClassVar[tuple[str, ...]] = (
        "SPY", "TLT", "^VIX", "VUSTX", "^IRX",
        "XLB", "XLC", "XLE", "XLF", "XLI", "XLK", "XLP", "XLRE", "XLU", "XLV", "XLY",
    )  # fmt: skip
    """Core roles, the older bond fund, the cash rate and the eleven sector funds."""
    spellings: ClassVar[Mapping[str, str]] = {"VIX": "^VIX", "GSPC": "^GSPC"}
    yields: ClassVar[Mapping[str, str]] = {
        "dgs3mo": "^IRX",
        "dgs10": "^TNX",
        "dgs30": "^TYX",
    }

    def __init__(
        self,
        folder: Path,
        retry: RetryPolicy | None = None,
        session: "Session[Response] | None" = None,
    ) -> None:
        super().__init__(folder, retry)
        self.session = session

    def request(
        self, symbol: str, start: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """Ask yfinance once, without the answers that it keeps."""
        import yfinance
        from yfinance.data import YfData
        from yfinance.exceptions import YFException

        # yfinance keeps damaged answers too, which would defeat another attempt
        YfData.cache_get.cache_clear()
        ticker = yfinance.Ticker
        try:
            frame = _raising(
                lambda: ticker(symbol, session=self.session).history(
                    start=start.date().isoformat(),
                    end=(now + pd.Timedelta(days=2)).date().isoformat(),
                    auto_adjust=False,
                    keepna=True,
                    timeout=self.retry.request_timeout,
                )
            )
        except (YFException, ValueError, OSError, LookupError, TypeError) as error:
            raise _explained(error, symbol) from error
        if frame.empty:
            raise TransientFetchError(f"{symbol}: Yahoo sent an empty chart.")
        return _in_our_columns(frame)


def _raising(ask: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Call yfinance so that it raises what it would else log and swallow."""
    import yfinance

    debug = yfinance.config.debug
    before = debug.hide_exceptions
    debug.hide_exceptions = False
    try:
        return ask()
    finally:
        debug.hide_exceptions = before


def _explained(error: Exception, symbol: str) -> FetchError:
    """Return what a failure of yfinance means, and whether it may pass."""
    from yfinance.exceptions import (
        YFPricesMissingError,
        YFRateLimitError,
        YFTzMissingError,
    )

    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = getattr(error, "yahoo_reason", None)
    if isinstance(error, YFRateLimitError):
        what = "refuses for now, too many requests (HTTP 429)"
    elif isinstance(error, YFPricesMissingError) and reason is None:
        what = "sent an empty chart"
    elif isinstance(error, YFPricesMissingError | YFTzMissingError) or status == 404:
        reason = reason or ("HTTP 404" if status else "no time zone of it")
        return FetchError(f"{symbol}: Yahoo knows no such symbol ({reason}).")
    elif isinstance(error, json.JSONDecodeError) and error.doc.lstrip()[:1] == "{":
        what = f"sent an answer that breaks off after {len(error.doc)} characters"
    elif isinstance(error, ValueError):
        what = "sent an answer that is no chart (a server error, most often)"
    else:
        first_line = next(iter(str(error).splitlines()), "")[:120]
        what = f"cannot be read ({type(error).__name__}: {first_line})"
    return TransientFetchError(f"{symbol}: Yahoo {what}.")


def _in_our_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ours by dates of the symbol's own exchange, splits undone."""
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    table = frame.rename(columns=_COLUMNS).reindex(columns=list(_COLUMNS.values()))
    table = table.astype(np.float64)
    events = list(EVENT_COLUMNS)
    table[events] = table[events].fillna(0.0)  # yfinance has no column without one
    days = index.tz_localize(None).normalize()
    table.index = pd.DatetimeIndex(days, name="session").as_unit("ns")
    table = table[~table.index.duplicated(keep="last")].sort_index()
    # a split of today is in all prices already, though its session has not closed
    return undo_splits(table)
