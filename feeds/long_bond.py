"""What stands before the first session of TLT: an older fund, yields, or nothing."""

from typing import Literal

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.checked import checked_prices
from trm_bt.feeds.series import LONG_YIELDS, load_yields
from trm_bt.feeds.sources import OLDER_FUND, DataSource
from trm_bt.market.accrual import accrue, monthly_income
from trm_bt.market.adjustment import RAW_COLUMNS, with_believed_cash
from trm_bt.market.bars import PRICE_COLUMNS
from trm_bt.market.par_bond import par_bond_closes

LongBond = Literal["fund", "yields", "none"]


OlderBond = tuple[pd.Series, str, tuple[str, ...]]
"""Closes up to TLT's first session, that one included; what they are; what is odd."""


def older_closes(
    source: DataSource,
    bond: pd.DataFrame,
    long_bond: LongBond,
    first_wanted: pd.Timestamp,
) -> OlderBond | None:
    """Return what serves before TLT.

    Parameters
    ----------
    source : DataSource
        Where VUSTX or the yields are read from.
    bond : DataFrame of shape (n_sessions, 5)
        TLT's adjusted bars.
    long_bond : {"fund", "yields", "none"}
        "fund" takes VUSTX where the source has it, "yields" a par bond repriced from
        constant-maturity yields.
    first_wanted : Timestamp
        The first session that the other roles have.

    Returns
    -------
    OlderBond or None
        None if TLT reaches back far enough, or nothing older is there or wanted.

    Raises
    ------
    BarsError
        If yields are asked for and missing, or TLT's first session has no older close.
    """
    first = bond.index[0]
    if first <= first_wanted or long_bond == "none":
        return None
    if long_bond == "yields":
        return _from_yields(source, first_wanted, first)
    if source.read(OLDER_FUND) is None:
        return None
    span = slice(first_wanted.date().isoformat(), first.date().isoformat())
    fund, warnings = checked_prices(source, OLDER_FUND, "fund_nav", span)
    closes = fund["close"].loc[:first]
    if closes.empty or closes.index[-1] != first:
        raise BarsError(
            f"{source.where(OLDER_FUND)}: must hold TLT's first session "
            f"{first.date()} to be spliced before it, but does not."
        )
    name = f"the returns of {source.origin(OLDER_FUND)}"
    income = _income(source, closes)
    if len(income):
        closes = accrue(closes, income)
        name += (
            f", whose income of a month, {income.mean():.2%} on average, is paid on "
            "its last session and accrued over all of them"
        )
    return closes, name, warnings


def _income(source: DataSource, closes: pd.Series) -> pd.Series:
    """Return what the older fund pays by session: as it says, else as its closes do."""
    table = source.read(OLDER_FUND)
    assert table is not None
    if not set(RAW_COLUMNS) <= set(table.columns):
        return monthly_income(closes)
    raw = with_believed_cash(table)
    split = raw["splits"].where(raw["splits"] > 0, 1.0)
    paid = raw["dividends"] * split / raw["close"].shift()
    return paid[(paid > 0) & paid.index.isin(closes.index[1:])]


def _from_yields(
    source: DataSource, first_wanted: pd.Timestamp, first: pd.Timestamp
) -> OlderBond:
    rates = load_yields(source)
    names = [] if rates is None else [n for n in LONG_YIELDS if n in rates]
    if rates is None or not names:
        raise BarsError(
            f"{source.where('rates')}: must hold yields {' or '.join(LONG_YIELDS)} to "
            "stand before TLT, but has none. Add them, or set `bars.long_bond` to "
            "'fund' or 'none'."
        )
    yields = rates.loc[first_wanted:first, names] / 100.0
    present = yields.index[yields.notna().any(axis=1)]
    if not len(present) or present[-1] != first:
        raise BarsError(
            f"{source.where('rates')}: must hold a yield on TLT's first session "
            f"{first.date()} to be spliced before it, but does not."
        )
    yields = yields.loc[present[0] :]
    twenty = yields["dgs20"] if "dgs20" in names else None
    closes = par_bond_closes(yields[names[0]], twenty)
    n_carried = int(yields.isna().all(axis=1).sum())
    name = (
        f"a par bond of 24 years, repriced each session from {' and '.join(names)} "
        f"({n_carried} sessions without a yield earn the coupon only)"
    )
    return closes, name, ()


def splice(bond: pd.DataFrame, older: pd.Series) -> pd.DataFrame:
    """Put older closes before the bond's bars so that every return is one source's own.

    Parameters
    ----------
    bond : DataFrame of shape (n_sessions, 5)
        Adjusted bars.
    older : Series of shape (n_older,)
        Closes up to the bond's first session, scaled to meet its close there.

    Returns
    -------
    DataFrame of shape (n_older - 1 + n_sessions, 5)
        Before the bond's first session open, high, low and close are equal, and the
        volume is 0.
    """
    scaled = older.iloc[:-1] * (bond["close"].iloc[0] / older.iloc[-1])
    before = pd.DataFrame(dict.fromkeys(PRICE_COLUMNS, scaled)).assign(volume=0.0)
    return pd.concat([before, bond])
