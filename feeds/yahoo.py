"""One symbol's daily history from Yahoo Finance, and every way it can fail.

Whatever cannot be believed is refused or named in a warning; no value is made up. A row
without prices is left out and counted, as is one on a day without a session.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError, FetchError
from trm_bt.feeds.exchange import FIRST_SESSION, last_closed_session, nyse_sessions
from trm_bt.market.adjustment import RAW_COLUMNS, adjust, drop_rows, undo_splits
from trm_bt.market.bars import PRICE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE: Final = "Yahoo Finance"
_SETTLED_AFTER: Final = pd.Timedelta(minutes=30)
"""VIX is calculated until 16:15, and Yahoo is late by up to a quarter of an hour."""
_COLUMNS: Final = {
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Dividends": "dividends",
    "Capital Gains": "capital_gains",
    "Stock Splits": "splits",
}
_EVENTS: Final = ["dividends", "capital_gains", "splits"]
_FEW_MISSING: Final = 3
_MOST_MISSING: Final = 0.05
"""A history that lacks more of its sessions than both is refused. Treasury yields lack
the two bond holidays of a year, which is less than 1 %."""
_ADJUSTMENT_SLACK: Final = 0.01
"""Yahoo rounds dividends and prices; a distribution that one side lacks shows above."""


@dataclass(frozen=True)
class Patience:
    """How long a vendor is waited for.

    Parameters
    ----------
    attempts : int
        Requests a symbol at most.
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


@dataclass(frozen=True)
class Download:
    """Raw bars of one symbol, and a sentence for all that is odd about them."""

    raw: pd.DataFrame
    warnings: tuple[str, ...] = ()


class _TransientError(FetchError):
    """A failure that may be gone at the next attempt."""


def download(
    symbol: str,
    *,
    now: pd.Timestamp,
    start: pd.Timestamp | None = None,
    session: object = None,
    patience: Patience | None = None,
) -> Download:
    """Download one symbol's raw bars up to the last session closed half an hour ago.

    Parameters
    ----------
    symbol : str
        As Yahoo spells it.
    now : Timestamp
        The moment of the request, with a time zone.
    start : Timestamp, optional
        First session wanted; without it all there are.
    session : requests-like session, optional
        Passed on to yfinance.
    patience : Patience, optional
        Attempts and waits.

    Returns
    -------
    Download
        `RAW_COLUMNS` on NYSE sessions, splits undone, with warnings.

    Raises
    ------
    FetchError
        If Yahoo refuses, fails, knows no such symbol, or sends no usable history.
    """
    from tenacity import (
        Retrying,
        retry_if_exception_type,
        stop_after_attempt,
        stop_before_delay,
        wait_random_exponential,
    )

    limits = patience or Patience()
    attempts = Retrying(
        retry=retry_if_exception_type(_TransientError),
        stop=stop_after_attempt(limits.attempts)
        | stop_before_delay(limits.total_seconds),
        wait=wait_random_exponential(limits.first_wait, limits.max_wait),
        reraise=True,
    )

    def attempt() -> Download:
        frame = _ask(symbol, start or FIRST_SESSION, now, session, limits)
        return _believe(symbol, frame, last_closed_session(now - _SETTLED_AFTER))

    return attempts(attempt)


def _ask(
    symbol: str,
    start: pd.Timestamp,
    now: pd.Timestamp,
    session: object,
    limits: Patience,
) -> pd.DataFrame:
    """Return what yfinance makes of one answer."""
    import yfinance
    from yfinance.data import YfData
    from yfinance.exceptions import (
        YFPricesMissingError,
        YFRateLimitError,
        YFTzMissingError,
    )

    # yfinance keeps answers, damaged ones too, which would defeat another attempt
    YfData.cache_get.cache_clear()
    end = (now + pd.Timedelta(days=2)).date().isoformat()
    try:
        return _raising(
            lambda: yfinance.Ticker(symbol, session=session).history(
                start=start.date().isoformat(),
                end=end,
                auto_adjust=False,
                keepna=True,
                timeout=limits.request_timeout,
            )
        )
    except YFRateLimitError as error:
        raise _TransientError(
            f"{symbol}: Yahoo refuses for now, too many requests (HTTP 429)."
        ) from error
    except (YFTzMissingError, YFPricesMissingError) as error:
        reason = getattr(error, "yahoo_reason", None)
        if reason is None and isinstance(error, YFPricesMissingError):
            raise _TransientError(f"{symbol}: Yahoo sent an empty chart.") from error
        raise FetchError(
            f"{symbol}: Yahoo knows no such symbol ({reason or 'no time zone of it'})."
        ) from error
    except ValueError as error:
        raise _TransientError(f"{symbol}: Yahoo's answer {_say(error)}.") from error
    except (OSError, KeyError, TypeError, IndexError) as error:
        if getattr(getattr(error, "response", None), "status_code", None) == 404:
            raise FetchError(f"{symbol}: Yahoo knows no such symbol.") from error
        first_line = next(iter(str(error).splitlines()), "")[:120]
        what = f"{type(error).__name__}: {first_line}"
        raise _TransientError(f"{symbol}: Yahoo cannot be read ({what}).") from error


def _raising(ask: "Callable[[], pd.DataFrame]") -> pd.DataFrame:
    """Call yfinance so that it raises what it would else log and swallow."""
    import yfinance

    debug = yfinance.config.debug
    before = debug.hide_exceptions
    debug.hide_exceptions = False
    try:
        return ask()
    finally:
        debug.hide_exceptions = before


def _say(error: ValueError) -> str:
    """Tell a body cut short from one that never was a chart."""
    body = getattr(error, "doc", "")
    if isinstance(error, json.JSONDecodeError) and body.lstrip().startswith("{"):
        return f"breaks off after {len(body)} characters"
    return "is no chart (a server error, most often)"


def _believe(symbol: str, frame: pd.DataFrame, closed: pd.Timestamp) -> Download:
    """Take the rows of closed sessions, and say what is wrong with the others."""
    if frame.empty:
        raise _TransientError(f"{symbol}: Yahoo sent an empty chart.")
    sent = _in_our_columns(frame)
    # a split of today is in all prices already, though its session has not closed
    table = undo_splits(sent[list(RAW_COLUMNS)]).loc[:closed]
    if table.empty:
        raise FetchError(
            f"{symbol}: Yahoo sent no session that has closed by {closed.date()}."
        )
    sessions = nyse_sessions(table.index[0], table.index[-1])
    is_session = table.index.isin(sessions)
    has_prices = np.isfinite(table[list(PRICE_COLUMNS)].to_numpy()).all(axis=1)
    is_kept = is_session & has_prices
    if not is_kept.any():
        raise _TransientError(f"{symbol}: Yahoo sent no row with prices.")
    blank = table.index[is_session & ~has_prices]
    missing = sessions.difference(pd.DatetimeIndex(table.index))
    n_lacking = len(missing) + len(blank)
    if n_lacking > max(_FEW_MISSING, _MOST_MISSING * len(sessions)):
        raise _TransientError(
            f"{symbol}: Yahoo's history must hold nearly every session, it lacks "
            f"{n_lacking} of {len(sessions)}, first {missing.union(blank)[0].date()}."
        )
    warnings = [
        *_name_rows(
            symbol, table.index[~is_session], "rows left out, on days without a session"
        ),
        *_name_rows(symbol, blank, "rows left out, without prices"),
    ]
    if len(missing):
        warnings.append(
            f"{symbol}: Yahoo lacks {len(missing)} sessions, first "
            f"{missing[0].date()}; they stay missing."
        )
    has_event = (table[_EVENTS] > 0).any(axis=1).to_numpy()
    warnings += _name_rows(
        symbol,
        table.index[has_event & ~is_kept],
        "rows left out had a distribution or split, which the next row has now",
    )
    raw = drop_rows(table, is_kept)
    return Download(raw, (*warnings, *_compare_adjusted(symbol, raw, sent)))


def _in_our_columns(frame: pd.DataFrame) -> pd.DataFrame:
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    table = frame.rename(columns={**_COLUMNS, "Adj Close": "adj close"})
    table = table.reindex(columns=[*RAW_COLUMNS, "adj close"]).astype(np.float64)
    table[_EVENTS] = table[_EVENTS].fillna(0.0)  # yfinance has no column without one
    days = index.tz_localize(None).normalize()  # dates of the symbol's own exchange
    table.index = pd.DatetimeIndex(days, name="session").as_unit("ns")
    return table[~table.index.duplicated(keep="last")].sort_index()


def _name_rows(symbol: str, rows: pd.Index, what: str) -> list[str]:
    if not len(rows):
        return []
    return [f"{symbol}: {len(rows)} {what}, first {pd.Timestamp(rows[0]).date()}."]


def _compare_adjusted(
    symbol: str, raw: pd.DataFrame, sent: pd.DataFrame
) -> tuple[str, ...]:
    """Hold our adjusted closes against the vendor's own."""
    try:
        ours = adjust(raw)["close"]
    except BarsError as error:
        raise _TransientError(f"{symbol}: {error}") from error
    ratio = ours / sent["adj close"].loc[ours.index]
    gap = (ratio / ratio.iloc[-1] - 1).abs()
    if not (gap > _ADJUSTMENT_SLACK).any():
        return ()
    last = gap.index[gap > _ADJUSTMENT_SLACK][-1]
    return (
        f"{symbol}: Yahoo's own adjusted closes part from dividends and splits by up "
        f"to {gap.max():.1%}, up to {last.date()}; ours follow dividends and splits.",
    )
