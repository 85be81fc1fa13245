"""Prices as they were traded, and the total-return prices derived from them on read.

Raw bars never change when a later dividend is paid or a share is split, so older and
newer raw bars can be joined. Adjusted ones cannot: every later dividend lowers all
earlier adjusted prices.
"""

from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.bars import PRICE_COLUMNS, is_outside_range

EVENT_COLUMNS: Final = ("dividends", "capital_gains", "splits")
RAW_COLUMNS: Final = (*PRICE_COLUMNS, "volume", *EVENT_COLUMNS)
"""Prices, shares traded, cash paid a share and new shares for an old one (0: none)."""
_FEW_PAID: Final = 5
"""Fewer distributions are not a history of their own."""
_PAID_AROUND: Final = 13
_MANY_TIMES: Final = 4.0
_DECISIVE: Final = 3.0
"""Robust deviations of the fall of a price over night."""
_LEAST_NOISE: Final = 5e-4


def undo_splits(vendor: pd.DataFrame) -> pd.DataFrame:
    """Turn bars that a vendor has adjusted for splits back into those traded.

    Parameters
    ----------
    vendor : DataFrame of shape (n_sessions, 8)
        `RAW_COLUMNS`, with prices, cash and volume in shares of the last session; all
        splits up to the vendor's last session must be among the rows.

    Returns
    -------
    DataFrame of shape (n_sessions, 8)
        The same, in shares of each row's own session. The cash of a session on which
        shares were split is in new shares.
    """
    later = _later_splits(vendor["splits"])
    raw = vendor.copy()
    in_cash = [*PRICE_COLUMNS, "dividends", "capital_gains"]
    raw[in_cash] = vendor[in_cash].mul(later, axis=0)
    raw["volume"] = vendor["volume"] / later
    return raw


def drop_rows(raw: pd.DataFrame, is_kept: np.ndarray) -> pd.DataFrame:
    """Leave rows out, but not their distributions and splits.

    These move to the next row that is kept, so that adjusted prices of the rows kept
    stay what they were. After the last row kept they are left out too.

    Parameters
    ----------
    raw : DataFrame of shape (n_sessions, 8)
        `RAW_COLUMNS`, oldest session first.
    is_kept : ndarray of shape (n_sessions,), bool
        The rows to keep.

    Returns
    -------
    DataFrame of shape (n_kept, 8)
        The rows kept.

    Examples
    --------
    >>> raw = pd.DataFrame(0.0, index=range(3), columns=list(RAW_COLUMNS))
    >>> raw[list(PRICE_COLUMNS)] = [[10.0] * 4, [np.nan] * 4, [9.0] * 4]
    >>> raw.loc[1, "dividends"] = 1.0
    >>> drop_rows(raw, np.array([True, False, True]))["dividends"].tolist()
    [0.0, 1.0]
    """
    cash = raw[["dividends", "capital_gains"]].to_numpy(np.float64).copy()
    splits = raw["splits"].to_numpy(np.float64).copy()
    for row in np.flatnonzero(~is_kept[:-1]):
        # the cash is in shares of its own row, which the next row may split again
        cash[row + 1] += cash[row] / (splits[row + 1] or 1.0)
        if splits[row]:
            splits[row + 1] = splits[row] * (splits[row + 1] or 1.0)
    moved = raw.copy()
    moved[["dividends", "capital_gains"]] = cash
    moved["splits"] = splits
    return moved[is_kept]


def adjust(raw: pd.DataFrame) -> pd.DataFrame:
    r"""Derive total-return prices from raw bars.

    Parameters
    ----------
    raw : DataFrame of shape (n_sessions, 8)
        `RAW_COLUMNS`, oldest session first.

    Returns
    -------
    DataFrame of shape (n_sessions, 5)
        Columns open, high, low, close, volume. The last session's prices are those
        traded; volume is in shares of the last session. Ratios of prices are known
        at the close of the later of the two sessions, levels are not.

    Raises
    ------
    BarsError
        If a distribution is as large as the close before it.

    Notes
    -----
    With raw closes :math:`C`, cash :math:`D` a new share and :math:`s` new shares for
    an old one, prices before session t are multiplied by

    .. math:: (1 - s_t D_t / C_{t-1}) / s_t

    which is the method of the Center for Research in Security Prices (CRSP).

    Examples
    --------
    >>> raw = pd.DataFrame(0.0, index=range(2), columns=list(RAW_COLUMNS))
    >>> raw[list(PRICE_COLUMNS)] = [[100.0] * 4, [49.0] * 4]
    >>> raw.loc[1, ["dividends", "splits"]] = [1.0, 2.0]
    >>> adjust(raw)["close"].tolist()
    [49.0, 49.0]
    """
    split = raw["splits"].where(raw["splits"] > 0, 1.0)
    cash = raw["dividends"] + raw["capital_gains"]
    share_kept = 1.0 - cash * split / raw["close"].shift()
    share_kept = share_kept.where(cash > 0, 1.0)
    share_kept.iloc[:1] = 1.0
    if (share_kept <= 0).any():
        first = raw.index[int((share_kept <= 0).to_numpy().argmax())]
        raise BarsError(
            "A distribution must be below the close before it, on "
            f"{first.date()} it is {cash.loc[first]:g}. Fetch the symbol again."
        )
    factor = _product_of_later(share_kept) / _later_splits(raw["splits"])
    adjusted = raw[list(PRICE_COLUMNS)].mul(factor, axis=0)
    adjusted["volume"] = raw["volume"] * _later_splits(raw["splits"])
    return adjusted


def doubtful_cash(raw: pd.DataFrame) -> pd.DataFrame:
    """Hold each distribution against the fall of the price and the fund's own history.

    Parameters
    ----------
    raw : DataFrame of shape (n_sessions, 8)
        `RAW_COLUMNS`, oldest session first.

    Returns
    -------
    DataFrame of shape (n_doubtful, 4)
        By session: `share`, what is said to be paid as a share of the close before;
        `usual`, the median of the fund's distributions around; `fall`, the fall of the
        price over night, or to the close where there is no open of its own; and
        `cash`, what the price says was paid, NaN where it does not decide.

    Notes
    -----
    In doubt is a distribution over four times the usual one that the price does not
    show, and one beside capital gains. Of what it may be instead, a tenth, a hundredth
    or one of the two, the price decides if it lies three deviations nearer.
    """
    gains, paid = raw["capital_gains"], raw["dividends"]
    split = raw["splits"].where(raw["splits"] > 0, 1.0)
    before = raw["close"].shift() / split
    share = ((paid + gains) / before).where(paid + gains > 0)
    if share.notna().sum() < _FEW_PAID:
        return pd.DataFrame(columns=["share", "usual", "fall", "cash"], dtype=float)
    is_closes = (raw["open"] == raw["close"]).mean() > 0.5
    fall = 1.0 - (raw["close"] if is_closes else raw["open"]) / before
    noise = max(1.4826 * fall[share.isna()].abs().median(), _LEAST_NOISE)
    usual = share.dropna().rolling(_PAID_AROUND, center=True, min_periods=1).median()
    events = pd.DataFrame(
        {"share": share, "usual": usual, "fall": fall, "cash": np.nan}
    ).loc[usual.index]
    is_large = events["share"] > _MANY_TIMES * events["usual"]
    is_double = (paid > 0) & (gains > 0)
    for session in events.index[is_large | is_double.loc[events.index]]:
        event, base = events.loc[session], before[session]
        candidates = [paid[session], gains[session]] if is_double[session] else []
        if is_large[session]:
            candidates += [base * event["share"] / size for size in (10.0, 100.0)]
        misses = {
            cash: abs(event["fall"] - cash / base) for cash in candidates if cash > 0
        }
        best = min(misses, key=lambda cash: misses[cash])
        miss = abs(event["fall"] - event["share"])
        if miss - misses[best] > _DECISIVE * noise:
            events.loc[session, "cash"] = best
        elif misses[best] - miss > _DECISIVE * noise:
            is_large[session] = False  # the price shows it
    return events[is_large | events["cash"].notna()]


def with_believed_cash(raw: pd.DataFrame) -> pd.DataFrame:
    """Return raw bars whose distributions are what the price decides that they were."""
    cash = doubtful_cash(raw)["cash"].dropna()
    if cash.empty:
        return raw
    believed = raw.copy()
    believed.loc[cash.index, "dividends"] = cash
    believed.loc[cash.index, "capital_gains"] = 0.0
    return believed


def with_closes(table: pd.DataFrame) -> pd.DataFrame:
    """Return bars whose open, high and low are the close, of a table of closes alone.

    Parameters
    ----------
    table : DataFrame of shape (n_sessions, n_columns)
        With `close`; where it has one of open, high and low it is returned as it is.
    """
    others = [name for name in PRICE_COLUMNS if name != "close"]
    given = table.columns.intersection(others)
    if "close" not in table or table[given].notna().to_numpy().any():
        return table
    return table.assign(**dict.fromkeys(others, table["close"]))


def with_widest(table: pd.DataFrame) -> pd.DataFrame:
    """Return bars whose high and low hold open and close, where they did not.

    Of an index the close alone is read; the others are kept so that its bars are bars.
    """
    prices = table[list(PRICE_COLUMNS)]
    is_wrong = is_outside_range(prices)
    if not is_wrong.any():
        return table
    widest = table.copy()
    widest.loc[is_wrong, "high"] = prices[is_wrong].max(axis=1)
    widest.loc[is_wrong, "low"] = prices[is_wrong].min(axis=1)
    return widest


def adjusted_prices(table: pd.DataFrame) -> pd.DataFrame:
    """Return the prices of a table, adjusted for dividends and splits.

    Raw bars are adjusted by their dividends and splits, as far as the price bears them
    out (`doubtful_cash`), a column `adj close` adjusts by
    its ratio to the close, and any other table holds adjusted prices already.

    Parameters
    ----------
    table : DataFrame of shape (n_sessions, n_columns)
        Columns open, high, low, close, oldest session first.

    Returns
    -------
    DataFrame of shape (n_sessions, 4 or 5)
        Columns open, high, low, close, and volume where there is one.

    Raises
    ------
    BarsError
        If a distribution is as large as the close before it.
    """
    if set(RAW_COLUMNS) <= set(table.columns):
        return adjust(with_believed_cash(table))
    has_volume = "volume" in table.columns
    frame = table[[*PRICE_COLUMNS, *["volume"] * has_volume]].copy()
    if "adj close" in table.columns:
        ratio = table["adj close"] / table["close"]
        frame[list(PRICE_COLUMNS)] = frame[list(PRICE_COLUMNS)].mul(ratio, axis=0)
    return frame


def _later_splits(splits: pd.Series) -> pd.Series:
    return _product_of_later(splits.where(splits > 0, 1.0))


def _product_of_later(values: pd.Series) -> pd.Series:
    """Return the product of all later values, 1 on the last session."""
    products = np.cumprod(values.to_numpy(np.float64)[::-1])[::-1]
    return pd.Series(np.append(products[1:], 1.0)[: len(values)], values.index)
