"""Prices and volumes that cannot be, and adjusted prices mixed with raw ones."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.adjustment import RAW_COLUMNS
from trm_bt.market.bars import PRICE_COLUMNS, is_outside_range
from trm_bt.quality.findings import Finding, Subject, on_rows, on_whole

_RATIO_STEP: Final = (0.012, 0.12)
"""Distributions in one day, as a share of the price: SPY pays .008 at most."""
_RATIO_ROUNDING: Final = 1e-4
"""Vendors round the factor too, beside the prices."""
_MOST_DECIMALS: Final = 6
_VENDOR_EVENTS: Final = (
    *("dividends", "capital gains", "stock splits", "capital_gains", "splits"),
)
"""As yfinance writes them into files, and as raw bars spell them."""
_ZERO_SHARE: Final = 0.01
_MEDIAN_LOOKBACK: Final = 20
_MOST_GROWTH: Final = 8.0
"""From 20 sessions to the next: SPY and TLT grew or fell 5.1 times at most."""
_SINGLE: Final = 100.0
"""A single volume to the median around, or the reverse: SPY and TLT reached 47."""
_SAME_RUN: Final = 4


def find_bad_prices(bars: Subject) -> Iterator[Finding]:
    """Look for prices that are not positive, and closes outside high and low."""
    prices, is_bad = _examined_prices(bars)
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        yield on_rows(
            "error",
            "prices",
            prices.index[np.flatnonzero(is_bad.any(axis=1))],
            f"{bars.name}: '{prices.columns[column]}' must be above 0, got "
            f"{prices.to_numpy(np.float64)[row, column]}",
        )
        return
    is_wrong = is_outside_range(prices)
    if is_wrong.any():
        first = prices.index[is_wrong][0]
        yield on_rows(
            "warning" if bars.role == "volatility" else "error",
            "high and low",
            prices.index[is_wrong],
            f"{bars.name}: high must be the highest and low the lowest price of a bar, "
            f"got {prices.loc[first].to_dict()}",
        )


def _examined_prices(bars: Subject) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the columns of prices, and which of them are not positive."""
    names = [*PRICE_COLUMNS, *bars.frame.columns.intersection(["adj close"])]
    prices = bars.frame[names]
    numbers = prices.to_numpy(np.float64)
    return prices, ~(np.isfinite(numbers) & (numbers > 0))


def find_volumes(bars: Subject) -> Iterator[Finding]:
    """Find invalid volumes; amounts are checked for equity and bond only."""
    if "volume" not in bars.frame or _examined_prices(bars)[1].any():
        return
    volume: pd.Series = bars.frame["volume"]
    is_bad = ~(np.isfinite(volume) & (volume >= 0))
    if is_bad.any():
        if bars.role != "member":
            yield on_rows(
                "error",
                "volume",
                volume.index[is_bad],
                f"{bars.name}: 'volume' must be at least 0, got "
                f"{volume[is_bad].iloc[0]}",
            )
        return
    is_zero = volume == 0
    if is_zero.all() and bars.role == "bond":
        return  # closes only, as of a bond that is repriced from yields
    if is_zero.any():
        is_error = bars.role == "equity" and is_zero.mean() > _ZERO_SHARE
        yield on_rows(
            "error" if is_error else "warning",
            "zero volume",
            volume.index[is_zero],
            f"{bars.name}: a session must have trades, {is_zero.sum()} have "
            "a volume of 0",
        )
    if bars.role != "member":
        yield from _find_other_units(volume[~is_zero], bars.name)


def _find_other_units(volume: pd.Series, name: str) -> Iterator[Finding]:
    """Look for volumes in hundreds, times a thousand, or all the same."""
    median = volume.rolling(_MEDIAN_LOOKBACK).median()
    growth = median / median.shift(_MEDIAN_LOOKBACK)
    around = volume.rolling(_MEDIAN_LOOKBACK, center=True, min_periods=1).median()
    is_same = volume.diff() == 0
    run = is_same.groupby((~is_same).cumsum()).cumsum().astype(float)
    is_odd = (
        (growth > _MOST_GROWTH)
        | (growth < 1 / _MOST_GROWTH)
        | (volume > _SINGLE * around)
        | (volume < around / _SINGLE)
        | (run >= _SAME_RUN)
    )
    if is_odd.any():
        yield on_rows(
            "warning",
            "volume of another unit",
            volume.index[is_odd],
            f"{name}: volumes grow or fall over {_MOST_GROWTH:g} times in 20 sessions, "
            f"one is {_SINGLE:g} times those around, or they are the same",
        )


def find_unadjustable(bars: Subject) -> Iterator[Finding]:
    """Look for a distribution as large as the price."""
    try:
        _ = bars.adjusted
    except BarsError as error:
        yield on_whole("prices", f"{bars.name}: {error}")


def find_mixed(bars: Subject) -> Iterator[Finding]:
    """Look for prices that are adjusted in part, or may not be adjusted."""
    frame = bars.frame
    events = list(frame.columns.intersection(list(_VENDOR_EVENTS)))
    if "adj close" in frame:
        yield from _find_steps(frame, events, bars.name)
    elif events and not set(RAW_COLUMNS) <= set(frame.columns):
        is_event = (frame[events] > 0).any(axis=1)
        if is_event.any():
            yield on_rows(
                "warning",
                "adjusted and raw mixed",
                frame.index[is_event],
                f"{bars.name}: there are distributions or splits, but no adjusted "
                "closes: the prices are assumed to be adjusted for all "
                f"{is_event.sum()}",
            )


def _find_steps(frame: pd.DataFrame, events: list[str], name: str) -> Iterator[Finding]:
    """Look at adjusted over raw closes: a distribution raises the ratio for good.

    Where both kinds are mixed the ratio jumps, or comes down.
    """
    ratio = frame["adj close"] / frame["close"]
    step = ratio / ratio.shift() - 1
    slack = _RATIO_ROUNDING + _rounding(frame["adj close"]) + _rounding(frame["close"])
    slack = slack + slack.shift()
    if "dividends" in events and {"stock splits", "splits"} & {*events}:
        is_wrong = (step.abs() > slack) & ~(frame[events] > 0).any(axis=1)
        is_error = is_wrong
    else:
        warning, error = _RATIO_STEP
        is_wrong = (step < -slack) | (step > warning + slack)
        is_error = (step < -slack) | (step > error + slack)
    if is_wrong.any():
        rows = frame.index[is_wrong]
        yield on_rows(
            "error" if is_error.any() else "warning",
            "adjusted and raw mixed",
            rows,
            f"{name}: the ratio of adjusted to raw closes may change at a distribution "
            f"only, it changes by {step.loc[rows[0]]:.2%}",
        )


def _rounding(values: pd.Series) -> pd.Series:
    """Return how far rounding may have moved each value, relative to it."""
    for decimals in range(_MOST_DECIMALS + 1):
        if np.allclose(values, values.round(decimals), rtol=1e-6, atol=0.0):
            return 0.5 * 10.0**-decimals / values
    return 0.0 * values
