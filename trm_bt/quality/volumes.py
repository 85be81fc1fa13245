"""Volumes that no exchange has seen."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.quality.findings import Finding, Role, on_rows

VOLUME_RULES: Final = ("volume", "zero volume", "volume of another unit")
_ZERO_SHARE: Final = 0.01
_MEDIAN_LOOKBACK: Final = 20
_MOST_GROWTH: Final = 8.0
"""From 20 sessions to the next: SPY and TLT grew or fell 5.1 times at most."""
_SINGLE: Final = 100.0
"""A single volume to the median around, or the reverse: SPY and TLT reached 47."""
_SAME_RUN: Final = 4


def volume_findings(volume: pd.Series, role: Role, name: str) -> Iterator[Finding]:
    """Look at the volumes of a traded symbol.

    Parameters
    ----------
    volume : Series of shape (n_sessions,)
        Shares traded.
    role : str
        Rules about amounts hold for equity and bond alone.
    name : str
        Begins each sentence.
    """
    is_bad = ~(np.isfinite(volume) & (volume >= 0))
    if is_bad.any():
        if role != "member":
            yield on_rows(
                "error",
                "volume",
                volume.index[is_bad],
                f"{name}: 'volume' must be at least 0, got {volume[is_bad].iloc[0]}",
            )
        return
    is_zero = volume == 0
    if is_zero.all() and role == "bond":
        return  # closes only, as of a bond that is repriced from yields
    if is_zero.any():
        is_error = role == "equity" and is_zero.mean() > _ZERO_SHARE
        yield on_rows(
            "error" if is_error else "warning",
            "zero volume",
            volume.index[is_zero],
            f"{name}: a session has trades, {is_zero.sum()} have a volume of 0",
        )
    if role != "member":
        yield from _unit_findings(volume[~is_zero], name)


def _unit_findings(volume: pd.Series, name: str) -> Iterator[Finding]:
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
