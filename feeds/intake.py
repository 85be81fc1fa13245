"""What a vendor sends, taken into raw bars: whatever is doubtful is refused or said.

No value is made up. A row without prices is left out and counted, as is one on a day
without a session.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError, FetchError
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.market.adjustment import EVENT_COLUMNS, RAW_COLUMNS, adjust, drop_rows
from trm_bt.market.bars import PRICE_COLUMNS

_FEW_MISSING: Final = 3
_MOST_MISSING: Final = 0.05
"""A history that lacks more of its sessions than both is refused. Treasury yields lack
the two bond holidays of a year, which is less than 1%."""
_ADJUSTMENT_SLACK: Final = 0.01
"""Vendors round dividends and prices; a distribution that one side lacks shows above.
"""


@dataclass(frozen=True)
class Download:
    """Raw bars of one symbol, and a sentence for all that is odd about them.

    Parameters
    ----------
    raw : DataFrame of shape (n_sessions, 8)
        `RAW_COLUMNS` on NYSE sessions, oldest session first.
    warnings : tuple of str
        What was left out, is missing, or does not agree.
    """

    raw: pd.DataFrame
    warnings: tuple[str, ...] = ()


class TransientFetchError(FetchError):
    """A failure that may be gone at the next attempt."""


def take_in(
    sent: pd.DataFrame, closed: pd.Timestamp, *, symbol: str, vendor: str
) -> Download:
    """Take the rows of closed sessions that have prices, and name the others.

    Parameters
    ----------
    sent : DataFrame of shape (n_rows, 9)
        `RAW_COLUMNS` and `adj close`, by tz-naive dates in order.
    closed : Timestamp
        The last session whose bar is final.
    symbol, vendor : str
        For the sentences.

    Raises
    ------
    FetchError
        If no session has closed yet.
    TransientFetchError
        If there are no prices, many sessions are missing, or a distribution is as
        large as the price.
    """
    table = sent.loc[:closed, list(RAW_COLUMNS)]
    if table.empty:
        raise FetchError(
            f"{symbol}: {vendor} sent no session that has closed by {closed.date()}."
        )
    dates = pd.DatetimeIndex(table.index)
    sessions = nyse_sessions(dates[0], dates[-1])
    is_session = dates.isin(sessions)
    has_prices = np.isfinite(table[list(PRICE_COLUMNS)].to_numpy()).all(axis=1)
    has_event = (table[list(EVENT_COLUMNS)] > 0).any(axis=1).to_numpy()
    is_kept = is_session & has_prices
    missing, blank = sessions.difference(dates), dates[is_session & ~has_prices]
    _refuse_holes(missing.union(blank), len(sessions), f"{symbol}: {vendor}")
    oddities = {
        "rows left out, on days without a session": dates[~is_session],
        "rows left out, without prices": blank,
        f"sessions are missing because {vendor} lacks them": missing,
        "rows left out had a distribution or split, moved to the next row": dates[
            has_event & ~is_kept
        ],
    }
    warnings = [
        f"{symbol}: {len(rows)} {what}, first {rows[0].date()}."
        for what, rows in oddities.items()
        if len(rows)
    ]
    raw = drop_rows(table, is_kept)
    warnings += _compare_adjusted(raw, sent["adj close"], symbol, vendor)
    return Download(raw, tuple(warnings))


def _refuse_holes(lacking: pd.DatetimeIndex, n_sessions: int, subject: str) -> None:
    """Raise unless nearly every session is there and has prices."""
    if len(lacking) == n_sessions:
        raise TransientFetchError(f"{subject} sent no row with prices.")
    if len(lacking) > max(_FEW_MISSING, _MOST_MISSING * n_sessions):
        raise TransientFetchError(
            f"{subject} must send nearly every session, its history lacks "
            f"{len(lacking)} of {n_sessions}, first {lacking[0].date()}."
        )


def _compare_adjusted(
    raw: pd.DataFrame, vendors: pd.Series, symbol: str, vendor: str
) -> list[str]:
    """Compare our adjusted closes with the vendor's own."""
    try:
        ours = adjust(raw)["close"]
    except BarsError as error:
        raise TransientFetchError(f"{symbol}: {error}") from error
    ratio = ours / vendors.loc[ours.index]
    gap = (ratio / ratio.iloc[-1] - 1).abs()
    if not (gap > _ADJUSTMENT_SLACK).any():
        return []
    last = gap.index[gap > _ADJUSTMENT_SLACK][-1]
    return [
        f"{symbol}: adjusted closes of {vendor} differ from dividends and splits by "
        f"up to {gap.max():.1%}, until {last.date()}; ours follow the latter."
    ]
