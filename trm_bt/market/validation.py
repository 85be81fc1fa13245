"""What is wrong with a symbol's bars, or only odd: every rule, with the first session.

An error means that numbers made from the bars could not be believed; a warning names
what happens in sound histories as well. The limits stand beyond the extremes of SPY,
TLT, VIX and the sector funds from 1990 to 2023, which are given beside them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.adjustment import RAW_COLUMNS, adjust
from trm_bt.market.bars import (
    PRICE_COLUMNS,
    check_sessions,
    check_volatility,
    is_outside_range,
)

Role = Literal["equity", "bond", "volatility", "member", "fund_nav", "rate"]
Severity = Literal["error", "warning"]


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
    "volume",
    "zero volume",
    "adjusted and raw mixed",
    "one-day moves",
    "wicks",
    "bad ticks",
    "displaced bars",
    "stale",
    "role",
)
"""What one symbol is held against, in this order."""
TOGETHER_RULES: Final = (
    "shifted",
    "volatility is no index",
    "swapped roles",
    "bond above equity",
)


@dataclass(frozen=True)
class Limits:
    """What a role's bars may do in a session: at most (warning, error).

    Parameters
    ----------
    move : tuple of float
        Absolute logarithmic return between two closes, or from close to open.
    wick : tuple of float
        Distance of high and low from open and close, relative.
    stale : tuple of int
        Sessions in a row that repeat the bar before.
    vol_daily : tuple of float
        Lowest and highest standard deviation of daily logarithmic returns; an error.
    """

    move: tuple[float, float]
    wick: tuple[float, float]
    stale: tuple[int, int]
    vol_daily: tuple[float, float]


LIMITS: Final[Mapping[Role, Limits]] = {
    # SPY moved by .136, its wicks reached .07, a year's deviation .0042 to .029
    "equity": Limits((0.15, 0.30), (0.10, 0.30), (3, 5), (0.001, 0.05)),
    # TLT .073, .037, .0043 to .014
    "bond": Limits((0.10, 0.20), (0.06, 0.20), (3, 5), (0.0005, 0.03)),
    # VIX .77, .38, .038 to .10
    "volatility": Limits((0.85, 1.20), (0.50, 1.20), (3, 5), (0.02, 0.30)),
    # sector funds .225, .195, .0059 to .057
    "member": Limits((0.30, 0.60), (0.25, 0.60), (4, 8), (0.001, 0.12)),
    # VUSTX .075, and three closes in a row
    "fund_nav": Limits((0.10, 0.20), (0.06, 0.20), (6, 15), (0.0005, 0.03)),
    # a yield stands still for weeks near zero, and jumps from there
    "rate": Limits((np.inf, np.inf), (np.inf, np.inf), (10_000, 10_000), (0.0, np.inf)),
}
_SPIKE: Final = (7.0, 12.0)
"""Robust deviations there and back within two sessions: SPY did 5.6 in October 1997."""
_SPIKE_LEFT: Final = 0.35
_DISPLACED: Final = 3.0
_DISPLACED_SHARE: Final = (0.010, 0.03)
"""Bars that open away from the close before and return over night, by three robust
deviations of such gaps: .001 of the sessions of SPY, .008 of its worst year."""
_CLOSES_BACK: Final = 2.0
_CLOSES_BACK_SHARE: Final = (0.022, 0.04)
"""The same from close to close, by two deviations: .005 of SPY, .020 of a year."""
_SPIKE_LOOKBACK: Final = 63
_MISSING_SHARE: Final = 0.005
_MISSING_FREE: Final = 3
_MISSING_RUN: Final = 3
"""Errors begin above these: sessions missing in all, and one after another."""
_EXTRA_SHARE: Final = 0.002
_EXTRA_FREE: Final = 2
_ZERO_VOLUME_SHARE: Final = 0.01
_RATIO_STEP: Final = (0.012, 0.12)
"""Distributions in one day, as a share of the price: SPY pays .008 at most."""
_RATIO_ROUNDING: Final = 2e-4
_MIN_SESSIONS: Final = 120
"""Statistics of fewer sessions tell nothing."""
_LOWEST_VOLATILITY: Final = 5.0
"""VIX has never been below 8.5."""
_EQUITY_TO_VOLATILITY: Final = -0.2
"""Correlation of daily changes: any 120 sessions of SPY and VIX gave -.26 or less."""
_BOND_TO_EQUITY_VOL: Final = (1.25, 2.0)
"""Over 120 sessions TLT has had up to 1.8 times the deviation of SPY."""


@dataclass(frozen=True)
class Finding:
    """One rule that bars break.

    Parameters
    ----------
    severity : {"error", "warning"}
        Whether the bars are refused.
    rule : str
        Name of the rule.
    count : int
        Rows that break it.
    first : Timestamp or None
        First session that breaks it.
    sentence : str
        Symbol, rule, what came, and where.
    """

    severity: Severity
    rule: str
    count: int
    first: pd.Timestamp | None
    sentence: str


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
    found += _calendar_findings(frame.index, sessions, name)
    found += _value_findings(frame, role, name)
    if any(finding.severity == "error" for finding in found) or role == "rate":
        return tuple(found)
    found += _ratio_findings(frame, name)
    adjusted = _adjusted_prices(frame)
    found += _move_findings(frame, adjusted, LIMITS[role], name)
    found += _level_findings(adjusted["close"], role, name)
    return tuple(found)


def examine_together(frames: Mapping[str, pd.DataFrame]) -> tuple[Finding, ...]:
    """Hold the core roles against each other: swapped, shifted, or not what they say.

    Parameters
    ----------
    frames : mapping of str to DataFrame of shape (n_sessions, n_columns)
        Adjusted bars of equity, bond and volatility, each sound by itself.

    Returns
    -------
    tuple of Finding
        Nothing where they share fewer than 120 sessions.
    """
    closes = pd.DataFrame({role: frames[role]["close"] for role in frames}).dropna()
    moves = np.log(closes).diff().iloc[1:]
    if len(moves) < _MIN_SESSIONS:
        return ()
    found = []
    equity, bond, fear = moves["equity"], moves["bond"], moves["volatility"]
    together = equity.corr(fear)
    lags = {lag: equity.corr(fear.shift(lag)) for lag in (-1, 1)}
    stronger = [lag for lag, other in lags.items() if other < together]
    if stronger:
        side = "late" if stronger[0] < 0 else "early"
        found.append(
            _whole(
                "shifted",
                "volatility must fall when equity rises on the same session, but it "
                f"stands a session {side}: moved back, their correlation is "
                f"{lags[stronger[0]]:.2f} instead of {together:.2f}. Look at the time "
                "zones of both",
            )
        )
    elif together > _EQUITY_TO_VOLATILITY:
        found.append(
            _whole(
                "volatility is no index",
                "volatility must fall when equity rises, their daily changes have a "
                f"correlation of {together:.2f}, where SPY and VIX have -0.7. Is one "
                "of them a fund, or another market?",
            )
        )
    if bond.corr(fear) < together:
        found.append(
            _whole(
                "swapped roles",
                f"equity must fall when volatility rises more than bond does, got "
                f"correlations of {together:.2f} and {bond.corr(fear):.2f}. Are the "
                "two swapped?",
            )
        )
    ratio = bond.std() / equity.std()
    warning, error = _BOND_TO_EQUITY_VOL
    if ratio > warning:
        sentence = f"bond moves {ratio:.2f} times as much as equity"
        severity: Severity = "error" if ratio > error else "warning"
        found.append(_whole("bond above equity", sentence, severity))
    return tuple(found)


def refuse(findings: Iterable[Finding], name: str) -> None:
    """Raise `BarsError` with the first error, and the number of the others.

    Raises
    ------
    BarsError
        If a finding is an error.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    sentence = errors[0].sentence
    if name not in sentence:
        sentence = f"{name}: {sentence}"
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    raise BarsError(sentence + more)


def _needed_columns(role: Role) -> tuple[str, ...]:
    if role == "rate":
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
        return "dates", max(1, int(index.isna().sum()))
    if index.tz is not None or (index != index.normalize()).all():
        return "time zone", len(index)
    if index.has_duplicates:
        return "duplicates", int(index.duplicated().sum())
    if not index.is_monotonic_increasing:
        return "order", int((index[1:] < index[:-1]).sum())
    return "dates", int((index != index.normalize()).sum())


def _calendar_findings(
    index: pd.Index, sessions: pd.DatetimeIndex, name: str
) -> Iterator[Finding]:
    missing = sessions.difference(index)
    if len(missing):
        place = sessions.get_indexer(missing)
        runs = np.split(place, np.flatnonzero(np.diff(place) > 1) + 1)
        longest = max(map(len, runs))
        allowed = max(_MISSING_FREE, _MISSING_SHARE * len(sessions))
        is_error = len(missing) > allowed or longest > _MISSING_RUN
        yield _rows(
            "error" if is_error else "warning",
            "missing sessions",
            missing,
            f"{name}: every session of the exchange must be there, {len(missing)} of "
            f"{len(sessions)} are missing, {longest} in a row at most",
        )
    extra = index.difference(sessions)
    if len(extra):
        assert isinstance(extra, pd.DatetimeIndex)
        is_weekend = (extra.dayofweek >= 5).any()
        allowed = max(_EXTRA_FREE, _EXTRA_SHARE * len(index))
        is_error = bool(is_weekend) or len(extra) > allowed
        yield _rows(
            "error" if is_error else "warning",
            "extra sessions",
            extra,
            f"{name}: bars must stand on sessions of the exchange, {len(extra)} do "
            "not; a warning's are left out",
        )


def _value_findings(frame: pd.DataFrame, role: Role, name: str) -> Iterator[Finding]:
    if role == "rate":
        return
    prices = frame[[*PRICE_COLUMNS, *[c for c in ("adj close",) if c in frame]]]
    numbers = prices.to_numpy(np.float64)
    is_bad = ~(np.isfinite(numbers) & (numbers > 0))
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        yield _rows(
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
        yield _rows(
            "error",
            "high and low",
            frame.index[is_wrong],
            f"{name}: high must be the highest and low the lowest price of a bar, got "
            f"{prices.loc[first].to_dict()}",
        )
    if "volume" in frame and role not in ("volatility", "fund_nav"):
        yield from _volume_findings(frame["volume"], role, name)


def _volume_findings(volume: pd.Series, role: Role, name: str) -> Iterator[Finding]:
    is_bad = ~(np.isfinite(volume) & (volume >= 0))
    if is_bad.any() and role != "member":
        yield _rows(
            "error",
            "volume",
            volume.index[is_bad],
            f"{name}: 'volume' must be at least 0, got {volume[is_bad].iloc[0]}",
        )
    is_zero = volume == 0
    if is_zero.any():
        is_error = role == "equity" and is_zero.mean() > _ZERO_VOLUME_SHARE
        yield _rows(
            "error" if is_error else "warning",
            "zero volume",
            volume.index[is_zero],
            f"{name}: a session has trades, {is_zero.sum()} have a volume of 0",
        )


def _adjusted_prices(frame: pd.DataFrame) -> pd.DataFrame:
    if set(RAW_COLUMNS) <= set(frame.columns):
        return adjust(frame)
    if "adj close" not in frame.columns:
        return frame
    ratio = frame["adj close"] / frame["close"]
    return frame[list(PRICE_COLUMNS)].mul(ratio, axis=0)


def _ratio_findings(frame: pd.DataFrame, name: str) -> Iterator[Finding]:
    """Look at adjusted over raw closes: a distribution raises the ratio for good.

    Where both kinds are mixed the ratio jumps, or comes down.
    """
    if "adj close" not in frame.columns:
        return
    ratio = frame["adj close"] / frame["close"]
    step = ratio / ratio.shift() - 1
    if {"dividends", "stock splits"} <= set(frame.columns):
        has_event = (frame["dividends"] > 0) | (frame["stock splits"] > 0)
        is_wrong = (step.abs() > _RATIO_ROUNDING) & ~has_event
        is_error = is_wrong
    else:
        warning, error = _RATIO_STEP
        is_wrong = (step < -_RATIO_ROUNDING) | (step > warning)
        is_error = (step < -_RATIO_ROUNDING) | (step > error)
    if is_wrong.any():
        first = frame.index[is_wrong][0]
        yield _rows(
            "error" if is_error.any() else "warning",
            "adjusted and raw mixed",
            frame.index[is_wrong],
            f"{name}: adjusted and raw closes may part at a distribution only, their "
            f"ratio changes by {step[first]:.2%}",
        )


def _move_findings(
    frame: pd.DataFrame, adjusted: pd.DataFrame, limits: Limits, name: str
) -> Iterator[Finding]:
    close, before = np.log(adjusted["close"]), np.log(adjusted["close"].shift())
    move = close - before
    gap = np.log(adjusted["open"]) - before
    largest = np.maximum(move.abs(), gap.abs())
    yield from _above(
        largest, limits.move, "one-day moves", f"{name}: prices move in a session by"
    )
    top = adjusted[["open", "close"]].max(axis=1)
    bottom = adjusted[["open", "close"]].min(axis=1)
    wick = np.maximum(adjusted["high"] / top - 1, 1 - adjusted["low"] / bottom)
    yield from _above(
        wick, limits.wick, "wicks", f"{name}: high or low part from open and close by"
    )
    spikes = _spikes(move, move.shift(-1))
    yield from _above(
        spikes, _SPIKE, "bad ticks", f"{name}: a price leaps and comes back, by"
    )
    if len(frame) > _MIN_SESSIONS and not (adjusted["open"] == adjusted["close"]).all():
        yield from _displaced_findings(_spikes(gap, gap.shift(-1)), spikes, name)
    is_same = (frame[list(PRICE_COLUMNS)].diff() == 0).all(axis=1)
    run = is_same.groupby((~is_same).cumsum()).cumsum().astype(float)
    warning, error = limits.stale
    yield from _above(
        run, (warning - 1, error - 1), "stale", f"{name}: bars repeat the one before,"
    )


def _displaced_findings(
    gaps: pd.Series, spikes: pd.Series, name: str
) -> Iterator[Finding]:
    """Count the bars that stand apart from both neighbours: too many are bad ticks."""
    for sizes, size, (warning, error) in (
        (gaps, _DISPLACED, _DISPLACED_SHARE),
        (spikes, _CLOSES_BACK, _CLOSES_BACK_SHARE),
    ):
        is_apart = sizes > size
        share = float(is_apart.mean())
        if share > warning:
            yield _rows(
                "error" if share > error else "warning",
                "displaced bars",
                sizes.index[is_apart],
                f"{name}: {is_apart.sum()} bars, {share:.1%}, stand apart from both "
                f"neighbours, where {warning:.1%} would be many",
            )
            return


def _spikes(move: pd.Series, back: pd.Series) -> pd.Series:
    """Return the smaller of two opposite moves in robust deviations, 0 elsewhere."""
    scale = move.abs().rolling(_SPIKE_LOOKBACK, center=True, min_periods=20).median()
    is_back = (move * back < 0) & ((move + back).abs() < _SPIKE_LEFT * move.abs())
    size = np.minimum(move.abs(), back.abs()) / (1.4826 * scale.clip(lower=1e-4))
    return size.where(is_back, 0.0)


def _level_findings(close: pd.Series, role: Role, name: str) -> Iterator[Finding]:
    if role == "volatility":
        try:
            check_volatility(close, name)
        except BarsError as error:
            yield Finding("error", "role", 1, close.index[0], str(error))
            return
        if close.min() < _LOWEST_VOLATILITY:
            yield _rows(
                "error",
                "role",
                close.index[close < _LOWEST_VOLATILITY],
                f"{name}: a volatility index stays above {_LOWEST_VOLATILITY:g} "
                f"points, got {close.min():g}",
            )
            return
    if len(close) <= _MIN_SESSIONS:
        return
    deviation = float(np.log(close).diff().std())
    lowest, highest = LIMITS[role].vol_daily
    if not lowest <= deviation <= highest:
        yield _rows(
            "error",
            "role",
            close.index,
            f"{name}: as {role} its daily moves must deviate by {lowest:g} to "
            f"{highest:g}, they do by {deviation:.4f}",
        )


def _above(
    sizes: pd.Series, limits: tuple[float, float], rule: str, words: str
) -> Iterator[Finding]:
    warning, error = limits
    is_above = sizes > warning
    if is_above.any():
        largest = sizes.max()
        yield _rows(
            "error" if largest > error else "warning",
            rule,
            sizes.index[is_above],
            f"{words} {largest:.3g} at most on {sizes.idxmax().date()}; over "
            f"{warning:g} on {is_above.sum()} sessions",
        )


def _rows(severity: Severity, rule: str, rows: pd.Index, words: str) -> Finding:
    first = rows[0]
    sentence = f"{words}; first {first.date()}."
    return Finding(severity, rule, len(rows), first, sentence)


def _whole(rule: str, words: str, severity: Severity = "error") -> Finding:
    end = "" if words.endswith("?") else "."
    return Finding(severity, rule, 1, None, f"{words}{end}")
