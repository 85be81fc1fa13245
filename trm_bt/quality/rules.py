"""What is wrong with a symbol's bars, or only odd: every rule, with the first session.

An error means that numbers made from the bars could not be believed; a warning names
what happens in sound histories as well.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.adjustment import RAW_COLUMNS, adjusted_prices
from trm_bt.market.bars import PRICE_COLUMNS, check_sessions, is_outside_range
from trm_bt.quality.findings import Finding, Role, on_rows
from trm_bt.quality.price_moves import level_findings, move_findings
from trm_bt.quality.volumes import VOLUME_RULES, volume_findings

RULES: Final = (
    "readable",
    "dates",
    "time zone",
    "duplicates",
    "order",
    "columns",
    "missing sessions",
    "extra sessions",
    "prices",
    "high and low",
    *VOLUME_RULES,
    "adjusted and raw mixed",
    "one-day moves",
    "wicks",
    "bad ticks",
    "displaced bars",
    "jumps",
    "stale",
    "straight line",
    "copied bars",
    "role",
)
"""What one symbol is held against, in this order."""
_SERIES_RULES: Final = (*RULES[:5], "missing sessions", "extra sessions", "role")
_MISSING_SHARE: Final = 0.005
_MISSING_FREE: Final = 3
_MISSING_RUN: Final = 3
"""Errors begin above these: sessions missing in all, and one after another."""
_EXTRA_SHARE: Final = 0.002
_EXTRA_FREE: Final = 2
_RATIO_STEP: Final = (0.012, 0.12)
"""Distributions in one day, as a share of the price: SPY pays .008 at most."""
_RATIO_ROUNDING: Final = 1e-4
"""Vendors round the factor too, beside the prices."""
_MOST_DECIMALS: Final = 6
_VENDOR_EVENTS: Final = ("dividends", "capital gains", "stock splits")
"""As yfinance writes them into files; a store's raw bars spell them otherwise."""


def examine(
    frame: pd.DataFrame, *, role: Role, sessions: pd.DatetimeIndex, name: str
) -> tuple[Finding, ...]:
    """Hold one symbol's bars against the calendar, the rules of prices and its role.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        As read: open, high, low, close, and volume; with `adj close`, or the dividends
        and splits of `RAW_COLUMNS`, moves are those of adjusted prices.
    role : str
        What the bars are meant to be.
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions of the exchange over the span of the frame.
    name : str
        Begins each sentence.

    Returns
    -------
    tuple of Finding
        In the order of the rules. Bars without an order of sessions or without prices
        are not looked at further.
    """
    found = list(_index_findings(frame, name))
    missing = [c for c in _needed_columns(role) if c not in frame.columns]
    if missing:
        columns = list(frame.columns)
        sentence = f"{name}: column '{missing[0]}' is missing, got {columns}."
        found.append(Finding("error", "columns", len(missing), None, sentence))
    if found:
        return tuple(found)
    found += _calendar_findings(frame.index, sessions, role, name)
    if role == "series":
        return tuple(found)
    found += _value_findings(frame, role, name)
    if any(finding.severity == "error" for finding in found):
        return tuple(found)
    found += _ratio_findings(frame, name)
    found += _event_findings(frame, name)
    try:
        adjusted = adjusted_prices(frame)
    except BarsError as error:
        sentence = f"{name}: {error}"
        return (*found, Finding("error", "prices", 1, None, sentence))
    found += move_findings(frame, adjusted, role, name)
    found += level_findings(adjusted["close"], role, name)
    return tuple(found)


def rules_for(role: Role) -> tuple[str, ...]:
    """Return the rules that bars of a role are held against, in order."""
    if role == "series":
        return _SERIES_RULES
    skipped = () if _has_volume(role) else VOLUME_RULES
    return tuple(rule for rule in RULES if rule not in skipped)


def _has_volume(role: Role) -> bool:
    return role not in ("volatility", "fund_nav")


def _needed_columns(role: Role) -> tuple[str, ...]:
    if role == "series":
        return ()
    needs_volume = role in ("equity", "bond")
    return (*PRICE_COLUMNS, "volume") if needs_volume else PRICE_COLUMNS


def _index_findings(frame: pd.DataFrame, name: str) -> Iterator[Finding]:
    try:
        check_sessions(frame.index, name)
    except BarsError as error:
        rule, count = _broken_index_rule(frame.index)
        yield Finding("error", rule, count, None, str(error))


def _broken_index_rule(index: pd.Index) -> tuple[str, int]:
    """Return the rule that the index breaks first, and on how many rows."""
    if not isinstance(index, pd.DatetimeIndex) or index.hasnans or not len(index):
        return "dates", max(1, int(np.count_nonzero(index.isna())))
    if index.tz is not None or (index != index.normalize()).all():
        return "time zone", len(index)
    if index.has_duplicates:
        return "duplicates", int(np.count_nonzero(index.duplicated()))
    if not index.is_monotonic_increasing:
        return "order", int(np.count_nonzero(index[1:] < index[:-1]))
    return "dates", int(np.count_nonzero(index != index.normalize()))


def _calendar_findings(
    index: pd.Index, sessions: pd.DatetimeIndex, role: Role, name: str
) -> Iterator[Finding]:
    assert isinstance(index, pd.DatetimeIndex)
    missing = sessions.difference(index)
    if len(missing):
        place = sessions.get_indexer(missing)
        runs = np.split(place, np.flatnonzero(np.diff(place) > 1) + 1)
        longest = max(map(len, runs))
        allowed = max(_MISSING_FREE, _MISSING_SHARE * len(sessions))
        is_error = len(missing) > allowed or longest > _MISSING_RUN
        is_error &= role != "series"  # a series is carried over holes, or not used
        yield on_rows(
            "error" if is_error else "warning",
            "missing sessions",
            missing,
            f"{name}: every session of the exchange must be there, {len(missing)} of "
            f"{len(sessions)} are missing, {longest} in a row at most",
        )
    extra = index.difference(sessions)
    if len(extra):
        is_weekend = (extra.dayofweek >= 5).any()
        allowed = max(_EXTRA_FREE, _EXTRA_SHARE * len(index))
        is_error = bool(is_weekend) or len(extra) > allowed
        is_error &= role != "series"
        yield on_rows(
            "error" if is_error else "warning",
            "extra sessions",
            extra,
            f"{name}: bars must stand on sessions of the exchange, {len(extra)} do "
            "not; a warning's are left out",
        )


def _value_findings(frame: pd.DataFrame, role: Role, name: str) -> Iterator[Finding]:
    prices = frame[[*PRICE_COLUMNS, *[c for c in ("adj close",) if c in frame]]]
    numbers = prices.to_numpy(np.float64)
    is_bad = ~(np.isfinite(numbers) & (numbers > 0))
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        yield on_rows(
            "error",
            "prices",
            frame.index[is_bad.any(axis=1)],
            f"{name}: '{prices.columns[column]}' must be above 0, got "
            f"{numbers[row, column]}",
        )
        return
    is_wrong = is_outside_range(prices)
    if is_wrong.any():
        first = frame.index[is_wrong][0]
        yield on_rows(
            "error",
            "high and low",
            frame.index[is_wrong],
            f"{name}: high must be the highest and low the lowest price of a bar, got "
            f"{prices.loc[first].to_dict()}",
        )
    if "volume" in frame and _has_volume(role):
        yield from volume_findings(frame["volume"], role, name)


def _ratio_findings(frame: pd.DataFrame, name: str) -> Iterator[Finding]:
    """Look at adjusted over raw closes: a distribution raises the ratio for good.

    Where both kinds are mixed the ratio jumps, or comes down.
    """
    if "adj close" not in frame.columns:
        return
    ratio = frame["adj close"] / frame["close"]
    step = ratio / ratio.shift() - 1
    slack = _RATIO_ROUNDING + _rounding(frame["adj close"]) + _rounding(frame["close"])
    slack = slack + slack.shift()
    events = [column for column in _VENDOR_EVENTS if column in frame.columns]
    if {"dividends", "stock splits"} <= set(events):
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
            f"{name}: adjusted and raw closes may part at a distribution only, their "
            f"ratio changes by {step.loc[rows[0]]:.2%}",
        )


def _event_findings(frame: pd.DataFrame, name: str) -> Iterator[Finding]:
    """Say that prices beside distributions are believed to be adjusted for them."""
    events = [column for column in _VENDOR_EVENTS if column in frame.columns]
    is_raw = set(RAW_COLUMNS) <= set(frame.columns)
    if "adj close" in frame.columns or is_raw or not events:
        return
    is_event = (frame[events] > 0).any(axis=1)
    if is_event.any():
        yield on_rows(
            "warning",
            "adjusted and raw mixed",
            frame.index[is_event],
            f"{name}: distributions or splits stand beside the prices, and no adjusted "
            f"close: the prices are believed to be adjusted for all {is_event.sum()}",
        )


def _rounding(values: pd.Series) -> pd.Series:
    """Return how far rounding may have moved each value, relative to it."""
    for decimals in range(_MOST_DECIMALS + 1):
        if np.allclose(values, values.round(decimals), rtol=1e-6, atol=0.0):
            return 0.5 * 10.0**-decimals / values
    return 0.0 * values
