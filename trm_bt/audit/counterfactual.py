"""Counterfactual bars: the same up to a cut, and different after it.

What is known at the close of a session may depend on nothing later, so it must be the
same on all bars that share the past up to that close.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from trm_bt.market.bars import PRICE_COLUMNS, VOLATILITY_LEVELS, Bars

N_OTHER_SESSIONS: Final = 63
"""Sessions of the future that another future replaces; the later ones are cut off."""
_DROPPED: Final = 0.25
_DRIFT: Final = 0.005
_INTRABAR: Final = 0.01
_MOVE: Final = 0.02
_RATE_MOVE: Final = 0.002
_RATES: Final = (-0.01, 0.08)
"""Rates of another future stay within what rates have been."""

CounterfactualKind = Literal["whole", "cut", "altered", "opened", "moved"]


@dataclass(frozen=True)
class Counterfactual:
    """Bars as they are, or as they might have been after a cut.

    Parameters
    ----------
    kind : {"whole", "cut", "altered", "opened", "moved"}
        All bars; those up to the cut; the same with another future after it; another
        future in which the next session opens as it did; and the same sessions with
        other values from the first on.
    bars : Bars
        What the function under audit is given.
    cut : Timestamp
        Last session whose close is shared with the whole.
    opened : Timestamp
        Last session whose open is shared: the one after the cut for "opened".
    """

    kind: CounterfactualKind
    bars: Bars
    cut: pd.Timestamp
    opened: pd.Timestamp


def whole_bars(bars: Bars, cut: pd.Timestamp | None = None) -> Counterfactual:
    """Return the bars as they are, to be compared up to `cut` or to their end."""
    last = bars.sessions[-1] if cut is None else cut
    return Counterfactual("whole", bars, last, last)


def counterfactuals_at(
    bars: Bars,
    cut: pd.Timestamp,
    generator: np.random.Generator,
    *,
    has_open: bool = False,
    keeps_calendar: bool = False,
) -> Iterator[Counterfactual]:
    """Yield bars that share the past up to the close of `cut`.

    Parameters
    ----------
    bars : Bars
        The bars as they are; `cut` is one of their sessions, not the last.
    cut : Timestamp
        Last shared session.
    generator : Generator
        Draws the other futures.
    has_open : bool
        Let the other future begin with the open of the next session as it was, so that
        what is known at that open can be compared too. What depends on this open any
        earlier still shows where the bars are cut.
    keeps_calendar : bool
        Continue the bars after the cut, on the sessions as they are, because something
        made of whole weeks or months rightly knows where one ends.
    """
    if not keeps_calendar:
        yield Counterfactual("cut", bars.between(end=cut), cut, cut)
    other = with_other_future(
        bars, cut, generator, keeps_open=has_open, keeps_calendar=keeps_calendar
    )
    if has_open:
        opened = bars.sessions[bars.sessions > cut][0]
        yield Counterfactual("opened", other, cut, opened)
    else:
        yield Counterfactual("altered", other, cut, cut)


def with_other_future(
    bars: Bars,
    cut: pd.Timestamp,
    generator: np.random.Generator,
    *,
    keeps_open: bool = False,
    keeps_calendar: bool = False,
) -> Bars:
    """Return bars with another, plausible future after the close of `cut`.

    Every later move is mirrored (a rise by a tenth becomes a fall by a tenth, in
    logarithms), a random drift is added, volumes are drawn again, a quarter of the
    sessions is missing, and the bars end after `N_OTHER_SESSIONS`.

    Parameters
    ----------
    bars, cut, generator
        As in `counterfactuals_at`.
    keeps_open : bool
        Keep the date and the open of the next session; its high, low, close and
        volume, and every series known at its close, still differ.
    keeps_calendar : bool
        Keep every session up to the end.

    Returns
    -------
    Bars
        The same roles and columns, dtypes included.
    """
    n_past = int(bars.sessions.searchsorted(cut, side="right"))
    ahead = np.arange(n_past, min(len(bars.sessions), n_past + N_OTHER_SESSIONS))
    is_kept = (generator.random(len(ahead)) >= _DROPPED) | keeps_calendar
    is_kept[0] |= keeps_open or not is_kept.any()
    rows = np.r_[np.arange(n_past), ahead[is_kept]]
    frames: dict[str, Any] = bars.by_role()
    for role, values in frames.items():
        is_series = isinstance(values, pd.Series)
        frame = values.to_frame() if is_series else values
        picked = frame.iloc[rows]
        other = _mirrored(role, picked.iloc[n_past - 1 :], generator)
        if keeps_open and "open" in frame:
            _open_as_it_did(other, picked["open"].iloc[n_past], generator)
        joined = pd.concat([picked.iloc[:n_past], other.astype(picked.dtypes)])
        frames[role] = joined.iloc[:, 0].rename(values.name) if is_series else joined
    last = bars.sessions[rows[-1]]
    ends = {
        role: entry.between(entry.start, last)
        for role, entry in bars.provenance.items()
    }
    return replace(bars, **frames, provenance=ends)


def with_other_past(bars: Bars, generator: np.random.Generator) -> Bars:
    """Return bars of the same roles, columns and sessions with every value changed.

    Each session's prices, volumes and ratios are moved by about two per cent, by one
    factor per session, which leaves a bar's high above its low; rates by a difference.
    """
    frames: dict[str, Any] = {}
    for role, values in bars.by_role().items():
        moves = generator.standard_normal(len(values))
        if role == "cash_rate":
            frames[role] = values + _RATE_MOVE * moves
        else:
            frames[role] = values.mul(np.exp(_MOVE * moves), axis=0)
    return replace(bars, **frames)


def _mirrored(
    role: str, frame: pd.DataFrame, generator: np.random.Generator
) -> pd.DataFrame:
    """Mirror the rows after the first one, the last that stays as it is."""
    base, ahead = frame.iloc[0].astype(float), frame.iloc[1:].astype(float)
    n_rows = len(ahead)
    path = np.exp(np.cumsum(generator.normal(0.0, _DRIFT, n_rows)))[:, None]
    if role == "cash_rate":  # may be 0 or less: mirrored by difference
        return (2 * base - ahead + (path - 1)).clip(*_RATES)
    if "close" in ahead:
        base[["open", "high", "low"]] = base["close"]
        ahead = ahead.rename(columns={"high": "low", "low": "high"})[frame.columns]
    other = base**2 / ahead * path
    if role == "volatility":
        return other.clip(*VOLATILITY_LEVELS)  # what a Cerebro refuses is no leak
    if "volume" in frame:
        factors = np.exp(generator.normal(0.0, 0.5, n_rows))
        other["volume"] = (frame["volume"].iloc[1:] * factors).round()
    return other


def _open_as_it_did(
    frame: pd.DataFrame, open_: float, generator: np.random.Generator
) -> None:
    """Give the first bar this open, and move what comes after it within the bar."""
    move, top, bottom = generator.normal(0.0, _INTRABAR, 3)
    was_open, was_close = frame[["open", "close"]].to_numpy()[0]
    close = open_ * was_close / was_open * np.exp(move)
    high = max(open_, close) * np.exp(abs(top))
    low = min(open_, close) * np.exp(-abs(bottom))
    frame.loc[frame.index[0], list(PRICE_COLUMNS)] = open_, high, low, close


def pick_cuts(
    candidates: pd.DatetimeIndex,
    n_cuts: int | None,
    generator: np.random.Generator,
    events: pd.DatetimeIndex,
) -> pd.DatetimeIndex:
    """Pick sessions to cut after, spread over all candidates, half of them at events.

    Parameters
    ----------
    candidates : DatetimeIndex of shape (n_candidates,)
        Sessions that may be cut after.
    n_cuts : int or None
        How many; None, or as many as there are, takes every candidate.
    generator : Generator
        Draws one session from each of `n_cuts` equal stretches.
    events : DatetimeIndex
        Sessions preferred as cuts, such as those of orders; may be empty.

    Returns
    -------
    DatetimeIndex of shape (at most n_cuts,)
        Oldest first.
    """
    if n_cuts is None or n_cuts >= len(candidates):
        return candidates
    near = candidates.intersection(events)
    chosen = _spread(near, min(n_cuts // 2, len(near)), generator)
    others = candidates.difference(chosen)
    return chosen.union(_spread(others, n_cuts - len(chosen), generator))


def _spread(
    sessions: pd.DatetimeIndex, n: int, generator: np.random.Generator
) -> pd.DatetimeIndex:
    """Draw one session from each of `n` equal stretches."""
    if n == 0:
        return sessions[:0]
    stretches = np.array_split(np.arange(len(sessions)), n)
    return sessions[[int(generator.choice(stretch)) for stretch in stretches]]
