"""How far prices may move, by role, before they are odd and before they are wrong.

The limits stand beyond the extremes of SPY, TLT, VIX and the sector funds from 1990 to
2023, which are given next to them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.bars import PRICE_COLUMNS, VOLATILITY_LEVELS, check_volatility
from trm_bt.quality.findings import Finding, Role, Subject, on_rows


@dataclass(frozen=True)
class Limits:
    """What a role's bars may do in a session: at most (warning, error).

    Parameters
    ----------
    move : tuple of float
        Absolute logarithmic return between two closes, or from close to open.
    jump : float
        The same between two closes in robust deviations around; a warning.
    wick : tuple of float
        Distance of high and low from open and close, relative.
    stale : tuple of int
        Sessions in a row that repeat the bar before.
    vol_daily : tuple of float
        Lowest and highest standard deviation of daily logarithmic returns; an error.
    """

    move: tuple[float, float]
    jump: float
    wick: tuple[float, float]
    stale: tuple[int, int]
    vol_daily: tuple[float, float]


LIMITS: Final[Mapping[Role, Limits]] = {
    # SPY moved by .136 (9.6 deviations), its wicks reached .07, a year's deviation was
    # .0042 to .029
    "equity": Limits((0.15, 0.30), 12.0, (0.10, 0.30), (3, 5), (0.001, 0.05)),
    # TLT .073 (6.3), .037, .0043 to .014
    "bond": Limits((0.10, 0.20), 9.0, (0.06, 0.20), (3, 5), (0.001, 0.03)),
    # VIX .77 (12.7), .38, .038 to .10
    "volatility": Limits((0.85, 1.20), 18.0, (0.50, 1.20), (3, 5), (0.02, 0.30)),
    # sector funds .225 (7.6), .195, .0059 to .057
    "member": Limits((0.30, 0.60), 15.0, (0.25, 0.60), (4, 8), (0.001, 0.12)),
    # VUSTX .075 (21.9), and three closes in a row
    "fund_nav": Limits((0.10, 0.20), 30.0, (0.06, 0.20), (6, 15), (0.0005, 0.03)),
    # the S&P 500 since 1962 .229 (12.8), .257, .0033 to .026
    "index": Limits((0.15, 0.30), 15.0, (0.10, 0.30), (3, 5), (0.001, 0.05)),
}
_SPIKE: Final = (7.0, 12.0)
"""Robust deviations there and back within two sessions: SPY did 5.6 in October 1997."""
_SPIKE_LEFT: Final = 0.35
_SPIKE_LOOKBACK: Final = 63
_LEAST_GAP: Final = 1e-4
_DISPLACED: Final = 3.0
_DISPLACED_SHARE: Final = (0.010, 0.03)
"""Bars that open away from the close before and return over night, by three robust
deviations of such gaps: .001 of the sessions of SPY, .008 of its worst year."""
_CLOSES_BACK: Final = 2.0
_CLOSES_BACK_SHARE: Final = (0.022, 0.04)
"""The same from close to close, by two deviations: .005 of SPY, .020 of a year."""
_DISPLACED_FEW: Final = (3, 10)
"""Fewer bars are not too many, or not an error, in a short history."""
_STRAIGHT: Final = (4, 8)
"""Sessions of equal steps in a row: no fund has had more than three."""
_COPIED: Final = (4, 10)
"""Returns in a row that stand elsewhere too: no fund has had four."""
_MIN_SESSIONS: Final = 120
"""Statistics of fewer sessions tell nothing."""


def find_moves(bars: Subject) -> Iterator[Finding]:
    """Look at moves between closes, wicks, and bars apart from their neighbours."""
    limits, adjusted, name = LIMITS[bars.role], bars.adjusted, bars.name
    least = limits.vol_daily[0]
    close = _log(adjusted["close"])
    move, gap = close.diff(), _log(adjusted["open"]) - close.shift()
    largest = pd.concat([move, gap], axis=1).abs().max(axis=1)
    yield from _above(
        largest, limits.move, "one-day moves", f"{name}: prices move in a session by"
    )
    top = adjusted[["open", "close"]].max(axis=1)
    bottom = adjusted[["open", "close"]].min(axis=1)
    wicks = [adjusted["high"] / top - 1, 1 - adjusted["low"] / bottom]
    yield from _above(
        pd.concat(wicks, axis=1).max(axis=1),
        limits.wick,
        "wicks",
        f"{name}: high or low differ from open and close by",
    )
    spikes = _spikes(move, move.shift(-1), least)
    yield from _above(
        spikes, _SPIKE, "bad ticks", f"{name}: a price jumps and returns, by"
    )
    if (
        len(adjusted) > _MIN_SESSIONS
        and not (adjusted["open"] == adjusted["close"]).all()
    ):
        yield from _find_displaced(
            _spikes(gap, gap.shift(-1), _LEAST_GAP), spikes, name
        )
    yield from _above(
        (move.abs() / _scale(move, least)).where(largest <= limits.move[0]),
        (limits.jump, np.inf),
        "jumps",
        f"{name}: a close differs from the previous one, in robust deviations, by",
    )


def find_made_up(bars: Subject) -> Iterator[Finding]:
    """Look for bars that repeat the one before, lie on a line, or stand twice."""
    prices = bars.frame[list(PRICE_COLUMNS)]
    move = _log(bars.adjusted["close"]).diff()
    is_same = (prices.diff() == 0).all(axis=1)
    step = prices["close"].diff()
    is_straight = pd.Series(
        np.isclose(step, step.shift(), rtol=1e-6, atol=0) & (step != 0), prices.index
    )
    returns = move.round(9)
    block = pd.concat([returns.shift(lag) for lag in range(_COPIED[0])], axis=1)
    is_moving = (block != 0).any(axis=1) & block.notna().all(axis=1)
    is_copied = block.duplicated() & is_moving & ~is_straight
    for rule, is_hit, (warning, error), words in (
        ("stale", is_same, LIMITS[bars.role].stale, "bars repeat the previous one,"),
        ("straight line", is_straight, _STRAIGHT, "closes lie on a straight line,"),
        (
            "copied bars",
            is_copied,
            (1, _COPIED[1]),
            "returns appear here a second time,",
        ),
    ):
        run = is_hit.groupby((~is_hit).cumsum()).cumsum().astype(float)
        yield from _above(run, (warning - 1, error - 1), rule, f"{bars.name}: {words}")


def find_foreign(bars: Subject) -> Iterator[Finding]:
    """Look whether levels and deviation are those of the role."""
    yield from find_foreign_closes(bars.adjusted["close"], bars.role, bars.name)


def find_foreign_closes(close: pd.Series, role: Role, name: str) -> Iterator[Finding]:
    """Look whether closes and their deviation are those of a role.

    Parameters
    ----------
    close : Series of shape (n_sessions,)
        Adjusted closes, indexed by session.
    role : str
        What they are meant to be.
    name : str
        Begins each sentence.
    """
    if role == "volatility":
        try:
            check_volatility(close, name)
        except BarsError as error:
            yield Finding("error", "role", 1, close.index[0].date(), str(error))
            return
        lowest, _ = VOLATILITY_LEVELS
        is_low = close < lowest
        if is_low.any():
            yield on_rows(
                "error",
                "role",
                close.index[is_low],
                f"{name}: a volatility index stays above {lowest:g} "
                f"points, got {close.min():g}",
            )
            return
    if len(close) <= _MIN_SESSIONS:
        return
    deviation = float(_log(close).diff().std())
    lowest, highest = LIMITS[role].vol_daily
    if not lowest <= deviation <= highest:
        yield on_rows(
            "error",
            "role",
            close.index,
            f"{name}: as {role} its daily moves must have a deviation of {lowest:g} to "
            f"{highest:g}, they have {deviation:.4f}",
        )


def _log(values: pd.Series) -> pd.Series:
    return pd.Series(np.log(values.to_numpy(np.float64)), values.index)


def _find_displaced(gaps: pd.Series, spikes: pd.Series, name: str) -> Iterator[Finding]:
    """Count the bars that stand apart from both neighbours: too many are bad ticks."""
    for sizes, size, (warning, error) in (
        (gaps, _DISPLACED, _DISPLACED_SHARE),
        (spikes, _CLOSES_BACK, _CLOSES_BACK_SHARE),
    ):
        is_apart = sizes > size
        share, n_apart = float(is_apart.mean()), int(is_apart.sum())
        if share > warning and n_apart >= _DISPLACED_FEW[0]:
            is_error = share > error and n_apart >= _DISPLACED_FEW[1]
            yield on_rows(
                "error" if is_error else "warning",
                "displaced bars",
                sizes.index[is_apart],
                f"{name}: {n_apart} bars, {share:.1%}, stand apart from both "
                f"neighbours, where {warning:.1%} would be many",
            )
            return


def _spikes(move: pd.Series, back: pd.Series, least: float) -> pd.Series:
    """Return the smaller of two opposite moves in robust deviations, 0 elsewhere."""
    is_back = (move * back < 0) & ((move + back).abs() < _SPIKE_LEFT * move.abs())
    smaller = pd.concat([move, back], axis=1).abs().min(axis=1)
    return (smaller / _scale(move, least)).where(is_back, 0.0)


def _scale(move: pd.Series, least: float) -> pd.Series:
    """Return the robust deviation of the moves around each session, `least` or more.

    A bond of the sixties stood still for weeks, and then moved by a rounded yield.
    """
    around = move.abs().rolling(_SPIKE_LOOKBACK, center=True, min_periods=20)
    return 1.4826 * around.median().clip(lower=least / 1.4826)


def _above(
    sizes: pd.Series, limits: tuple[float, float], rule: str, words: str
) -> Iterator[Finding]:
    warning, error = limits
    is_above = sizes > warning
    if is_above.any():
        largest, on = float(sizes.max()), pd.Timestamp(sizes.idxmax())
        yield on_rows(
            "error" if largest > error else "warning",
            rule,
            sizes.index[is_above],
            f"{words} {largest:.3g} at most on {on.date()}; over {warning:g} on "
            f"{is_above.sum()} sessions",
        )
