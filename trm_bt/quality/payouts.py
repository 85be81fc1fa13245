"""Whether prices hold what a fund has paid: adjusted in every year, once, and no more.

A traded price lies on the grid of cents. One adjusted for a later dividend lies on that
grid times a factor, which steps at each dividend: a year that lies on one grid from end
to end has none of its dividends in its returns.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.market.adjustment import RAW_COLUMNS, doubtful_cash
from trm_bt.quality.findings import Finding, Subject, on_rows

PAYERS: Final = frozenset(
    (
        *("SPY", "TLT", "VUSTX", "IVV", "VOO", "VTI", "QQQ", "DIA", "IWM", "RSP"),
        *("XLB", "XLC", "XLE", "XLF", "XLI", "XLK", "XLP", "XLRE", "XLU", "XLV", "XLY"),
        *("EFA", "EEM", "VNQ", "AGG", "BND", "LQD", "HYG", "IEF", "SHY", "TIP"),
    )
)
"""Funds that pay every year; of other members it is not known whether they do."""
_WHOLE_YEAR: Final = 230
_SHORT: Final = 130
"""Sessions of a history of less than a year that must hold a distribution."""
_RATIO_STEP: Final = 2e-4
_ON_GRID: Final = 0.99
"""Share of a year's closes. Of adjusted ones .005 to .08 lie on cents by chance."""
_DECIMALS_FROM: Final = 2001
_COHERENCE: Final = 0.8
"""Length of the mean phase of daily steps against one grid: .3 where a fund pays four
times a year, .97 where it pays nothing."""
_FINEST: Final = 0.0015
_LEAST_FACTOR: Final = 0.4
"""Of an adjusted to a traded price: all that a fund pays in twenty to thirty years."""
_SMALL_STEPS: Final = 40
_SINGLE_CENTS: Final = 1e-5
_DOUBLE_CENTS: Final = 1e-7
"""How far from a cent a traded price of float32 or float64 lies, relative to it."""
_MOST_CENTS: Final = 1e5
_MANY_PAID: Final = 12
_LONG_GAP: Final = 3.5
_LEAST_GAP: Final = 60
"""Sessions without a distribution, in the usual time between two and at least."""


def find_unadjusted(bars: Subject) -> Iterator[Finding]:
    """Look for years whose returns lack the distributions of a fund that pays some."""
    if bars.role == "member" and bars.symbol not in PAYERS:
        return
    frame = bars.frame
    if set(RAW_COLUMNS) <= set(frame.columns):
        is_paid = frame["dividends"] + frame["capital_gains"] > 0
        years, how = _without(is_paid), "have no distribution"
    elif "adj close" in frame.columns:
        ratio = frame["adj close"] / frame["close"]
        step = ratio.pct_change().abs() > _RATIO_STEP
        is_raw = step.any() or abs(ratio.iloc[0] - 1) < _RATIO_STEP
        years = _without(step) if is_raw else []
        how = "have adjusted closes whose distance from the closes never grows"
    else:
        years, how = _on_one_grid(frame["close"], bars.role), "lie on one grid of cents"
    if not years:
        return
    rows = frame.index[np.isin(pd.DatetimeIndex(frame.index).year, years)]
    yield on_rows(
        "warning",
        "not adjusted",
        rows,
        f"{bars.name}: prices must be adjusted for distributions, those of "
        f"{_spans(years)} {how}, as traded prices do: their returns lack what the fund "
        "paid",
    )


def find_distributions(bars: Subject) -> Iterator[Finding]:
    """Look at distributions that the price does not show, or that are missing."""
    if not set(RAW_COLUMNS) <= set(bars.frame.columns):
        return
    doubtful = doubtful_cash(bars.frame)
    for session, event in doubtful.iterrows():
        believed = "it is used for adjustment nevertheless"
        if np.isfinite(event["cash"]):
            believed = f"{event['cash']:.3g} is used, as the price shows"
        yield on_rows(
            "warning",
            "distributions",
            pd.Index([session]),
            f"{bars.name}: a distribution is as large as the fall of the price, "
            f"{event['share']:.1%} is reported where {event['usual']:.1%} is "
            f"usual and the price fell by {event['fall']:.1%}; {believed}",
        )
    yield from _find_gaps(bars)


def _find_gaps(bars: Subject) -> Iterator[Finding]:
    """Look for long times without a distribution of a fund that pays regularly."""
    is_paid = bars.frame["dividends"] + bars.frame["capital_gains"] > 0
    places = np.flatnonzero(is_paid)
    if len(places) < _MANY_PAID:
        return
    gaps = np.diff(np.append(places, len(is_paid)))
    usual = float(np.median(gaps[:-1]))
    for k in np.flatnonzero(gaps > max(_LONG_GAP * usual, _LEAST_GAP)):
        rows = bars.frame.index[places[k] + 1 : places[k] + gaps[k]]
        yield on_rows(
            "warning",
            "distributions",
            rows,
            f"{bars.name}: the fund pays every {usual:.0f} sessions, but no "
            f"payment is reported in {len(rows)}",
        )


def _without(is_step: pd.Series) -> list[int]:
    """Return the whole years in which nothing is marked."""
    by_year = is_step.groupby(pd.DatetimeIndex(is_step.index).year)
    sizes, counts = by_year.size(), by_year.sum()
    whole = sizes.index[sizes >= _WHOLE_YEAR]
    if whole.empty and len(is_step) >= _SHORT and not is_step.any():
        return [int(year) for year in sizes.index]
    return [int(year) for year in whole if not counts[year]]


def _on_one_grid(close: pd.Series, role: str) -> list[int]:
    """Return the years whose closes lie on the grid of traded prices, times a factor.

    A factor other than 1 is looked for in equity and bond alone: it takes time.
    """
    index = pd.DatetimeIndex(close.index)
    values = close.to_numpy(np.float64)
    is_single = bool((values == values.astype(np.float32)).all())
    tolerance = _SINGLE_CENTS if is_single else _DOUBLE_CENTS
    cents = np.abs(100.0 * values - np.round(100.0 * values)) < tolerance * values
    parts = np.abs(64.0 * values - np.round(64.0 * values)) < 0.005
    is_on = np.where(index.year > _DECIMALS_FROM, cents, cents | parts)
    by_year = pd.Series(is_on).groupby(index.year)
    share, sizes = by_year.mean(), by_year.size()
    whole = sizes.index[sizes >= _WHOLE_YEAR]
    if whole.empty:
        is_raw = len(close) >= _SHORT and is_on.mean() >= _ON_GRID
        return [int(year) for year in sizes.index] if is_raw else []
    found = {int(year) for year in whole if share[year] >= _ON_GRID}
    if role in ("equity", "bond"):
        rest = [int(year) for year in whole if year > _DECIMALS_FROM]
        found |= {year for year in rest if _is_coherent(values, index, year)}
    return sorted(found)


def _is_coherent(values: np.ndarray, index: pd.DatetimeIndex, year: int) -> bool:
    """Tell whether a year lies on one grid, and twelve months across its ends too.

    A fund that pays once a year, in December, does so in every year itself.
    """
    if not _fits_one(values[index.year == year]):
        return False
    months = index.year * 12 + index.month - 1
    for first in (12 * year - 6, 12 * year + 6):
        across = values[(months >= first) & (months < first + 12)]
        if len(across) >= _WHOLE_YEAR and _fits_one(across):
            return True
    return False


def _fits_one(values: np.ndarray) -> bool:
    """Tell whether all values are multiples of a cent times one factor up to one.

    The factor is found by the small steps, then by all, then by the values themselves,
    each of which needs it more exactly than the one before.
    """
    steps = np.diff(values)
    steps = steps[steps != 0]
    small = np.sort(np.abs(steps))[: len(steps) // 4]
    if len(small) < _SMALL_STEPS:
        return False
    n_units = int(np.log(1 / _LEAST_FACTOR) / _FINEST)
    units = 0.01 * np.exp(-_FINEST * np.arange(n_units))
    # a traded price has at most so many cents; finer grids are those of rounding
    units = units[units > np.median(values) / _MOST_CENTS]
    coarse = _coherence(small, units)
    for unit in units[np.argsort(coarse)[-3:]]:
        fine = unit * (1 + np.linspace(-1.5 * _FINEST, 1.5 * _FINEST, 61))
        by_steps = _coherence(steps, fine)
        if by_steps.max() > _COHERENCE:
            exact = fine[by_steps.argmax()] * (1 + np.linspace(-2e-4, 2e-4, 101))
            if _coherence(values, exact).max() > _COHERENCE:
                return True
    return False


def _coherence(steps: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the length of the mean phase of steps against each unit, 0 to 1."""
    phases = 2 * np.pi * steps[None, :] / units[:, None]
    return np.asarray(
        np.hypot(np.cos(phases).mean(axis=1), np.sin(phases).mean(axis=1))
    )


def _spans(years: list[int]) -> str:
    """Return years as spans, such as 2005 to 2009 and 2012."""
    runs = np.split(np.array(years), np.flatnonzero(np.diff(years) > 1) + 1)
    words = [f"{r[0]} to {r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs]
    return " and ".join(words)
