"""What stands before SPY and VIX: nothing, or the S&P 500 and what is estimated of it.

The index's returns with its dividends go before SPY, the 10-year yield's bond before
the long bond, and an estimate of implied volatility before VIX.
"""

from dataclasses import replace
from typing import Final, Literal

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.checked import checked_prices
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.series import TEN_YEARS, load_yields
from trm_bt.feeds.sources import CORE_SYMBOLS, INDEX, DataSource
from trm_bt.market.bars import PRICE_COLUMNS, Bars, Note
from trm_bt.market.index_history import (
    INDEX_DIVIDENDS,
    estimated_volatility,
    index_growth,
)
from trm_bt.market.par_bond import TEN_YEAR_BOND_YEARS, par_bond_closes
from trm_bt.quality.findings import Role

History = Literal["none", "index"]
Frames = dict[Role, pd.DataFrame]
Extended = dict[Role, tuple[pd.Timestamp, Note]]
_WARM_UP: Final = 63
"""Sessions of the index before its estimated volatility counts."""
_MIN_SHARED: Final = 120
_SAME_MARKET: Final = 0.9
"""SPY and the index have had a correlation of .97 or more in any three years."""


def lengthen_index(
    source: DataSource, frames: Frames, notes: dict[Role, tuple[str, ...]], span: slice
) -> Extended:
    """Put the index before equity's bars, and its estimated volatility before VIX's.

    Parameters
    ----------
    source : DataSource
        Where the index is read from.
    frames : dict of str to DataFrame of shape (n_sessions, n_columns)
        Adjusted bars by role, which are lengthened.
    notes : dict of str to tuple of str
        What is odd by role; what is odd about the index is added to equity's.
    span : slice of str
        First and last date that is examined, inclusive.

    Returns
    -------
    dict of str to (Timestamp, Note)
        By role that was lengthened, the first session of its own bars and what stands
        before it.

    Raises
    ------
    BarsError
        If the index is missing, breaks a rule, or is another market's.
    """
    bars, odd = checked_prices(source, INDEX, "index", span)
    notes["equity"] += odd
    _check_same_market(bars["close"], frames["equity"]["close"], source)
    origin = source.origin(INDEX)
    return _put_before(
        frames,
        "equity",
        _older_equity(bars, frames["equity"]),
        f"the returns of {origin}, with the dividends of each calendar year spread "
        "evenly over its sessions; high and low before 1982-04-21 are those of its "
        "stocks added up",
    ) | _put_before(
        frames,
        "volatility",
        _older_volatility(bars, frames["volatility"].index[0]),
        f"an estimate from ranges and drift of {origin}, before 1982-04-21 from its "
        "closes alone",
    )


def lengthen_bond(source: DataSource, frames: Frames) -> Extended:
    """Put a bond from the 10-year yield before the bond's bars.

    Parameters and result are those of `lengthen_index`.

    Raises
    ------
    BarsError
        If the yield is missing.
    """
    return _put_before(
        frames,
        "bond",
        _older_bond(source, frames["equity"].index, frames["bond"]),
        f"a par bond of {TEN_YEAR_BOND_YEARS:g} years, repriced each session from "
        f"{TEN_YEARS}; a session without a yield earns the coupon only",
    )


def _put_before(frames: Frames, role: Role, older: pd.DataFrame, what: str) -> Extended:
    """Lengthen a role by what is older than its own bars; say what, if anything."""
    first = frames[role].index[0]
    before = older.loc[older.index < first]
    if before.empty:
        return {}
    frames[role] = pd.concat([before, frames[role]])
    words = f"before {first.date()} {what}"
    return {role: (first, Note(words, pd.DatetimeIndex(before.index), words))}


def _check_same_market(index: pd.Series, equity: pd.Series, source: DataSource) -> None:
    moves = pd.concat([index, equity], axis=1, join="inner").pct_change()
    together = moves.iloc[:, 0].corr(moves.iloc[:, 1])
    if len(moves) < _MIN_SHARED or not together > _SAME_MARKET:
        raise BarsError(
            f"{source.where(INDEX)}: must move as SPY does to stand before it, on "
            f"{_MIN_SHARED} shared sessions or more, got a correlation of "
            f"{together:.2f} on {len(moves)}. Give the S&P 500 itself."
        )


def _older_equity(bars: pd.DataFrame, equity: pd.DataFrame) -> pd.DataFrame:
    """Return bars that grow as the index and its dividends do, up to SPY's first."""
    first = equity.index[0]
    if first.year > max(INDEX_DIVIDENDS) or first not in bars.index:
        raise BarsError(
            f"SPY: must begin on a session of the index, and by {max(INDEX_DIVIDENDS)}"
            f", the last year of its dividends, to be lengthened by it; it begins on "
            f"{first.date()}."
        )
    begin = pd.Timestamp(bars.index[0].year, 1, 1)
    whole = nyse_sessions(begin, pd.Timestamp(first.year, 12, 31))
    growth = index_growth(bars["close"].reindex(whole).ffill()).loc[:first]
    levels = growth.fillna(1.0).cumprod()
    older = bars.loc[:first, [*PRICE_COLUMNS, "volume"]]
    close = levels.loc[older.index] * (equity["close"].iloc[0] / levels.iloc[-1])
    scale = close / older["close"]
    prices = older[list(PRICE_COLUMNS)].mul(scale, axis=0)
    return prices.assign(open=close, close=close, volume=older["volume"])


def _older_bond(
    source: DataSource, sessions: pd.Index, bond: pd.DataFrame
) -> pd.DataFrame:
    """Return closes of the 10-year yield's bond up to the first of the long bond."""
    rates = load_yields(source)
    if rates is None or TEN_YEARS not in rates:
        raise BarsError(
            f"{source.where('rates')}: must hold the 10-year yield, {TEN_YEARS}, to "
            "stand before the long bond, but has none. Add it (^TNX in a store), or "
            "set `bars.history` to 'none'."
        )
    first = bond.index[0]
    yields = (rates[TEN_YEARS] / 100.0).reindex(sessions).loc[:first]
    yields = yields.loc[yields.first_valid_index() :]
    if yields.empty or yields.index[-1] != first:
        return bond.iloc[:0]
    closes = par_bond_closes(yields, years=TEN_YEAR_BOND_YEARS)
    closes *= bond["close"].iloc[0] / closes.iloc[-1]
    return pd.DataFrame(dict.fromkeys(PRICE_COLUMNS, closes)).assign(volume=0.0)


def _older_volatility(bars: pd.DataFrame, first: pd.Timestamp) -> pd.DataFrame:
    levels = estimated_volatility(bars.loc[:first]).iloc[_WARM_UP:]
    return pd.DataFrame(dict.fromkeys(PRICE_COLUMNS, levels))


def declare(bars: Bars, extended: Extended) -> Bars:
    """Return bars that say in their source and in each role what stands before."""
    kept = {
        role: (first, note)
        for role, (first, note) in extended.items()
        if bars.sessions[0] < first
    }
    if not kept:
        return bars
    provenance = dict(bars.provenance)
    for role, (_, note) in kept.items():
        entry = provenance[role]
        status = "proxy" if role == "volatility" else entry.status
        notes = (note, *entry.notes)
        provenance[role] = replace(entry, status=status, notes=notes)
    parts = [
        f"{CORE_SYMBOLS[role]} before {first.date()}"
        for role, (first, _) in kept.items()
    ]
    words = f"; from the S&P 500 and Treasury yields {', '.join(parts)}"
    return replace(bars, source=bars.source + words, provenance=provenance)
