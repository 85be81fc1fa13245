"""Small charts of a crisis, drawn straight as SVG: a dozen cost next to nothing."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from markupsafe import Markup

from trm_bt.report.drawing import DateSpan

_WIDTH: Final = 240
_HEIGHT: Final = 84
_EDGE: Final = 3
_MAX_POINTS: Final = 160


def small_chart(
    growth: pd.DataFrame, colours: Mapping[str, str], span: DateSpan
) -> Markup:
    """Draw lines over time without axes, with a span shaded.

    Parameters
    ----------
    growth : DataFrame of shape (n_sessions, n_columns)
        Indexed by session, at least two.
    colours : mapping of str to str
        Name of the colour of each column, the first on top; others are left out.
    span : (Timestamp, Timestamp)
        First and last day.
    """
    shown = growth[list(colours)]
    rows = np.linspace(0, len(shown) - 1, min(len(shown), _MAX_POINTS)).round()
    table = shown.iloc[rows.astype(np.int64)]
    low, high = float(shown.min().min()), float(shown.max().max())
    scale = (_HEIGHT - 2 * _EDGE) / max(high - low, 1e-9)
    right = _across(growth.index, span[1])
    left = min(_across(growth.index, span[0]), right - 1.0)
    lines = [
        (colours[name], _points(table[name], growth.index, high, scale))
        for name in reversed(list(colours))
    ]
    drawn = "".join(
        f'<polyline points="{points}" style="stroke:var(--{colour})"/>'
        for colour, points in lines
    )
    band = f'<rect x="{left:.1f}" width="{right - left:.1f}" height="{_HEIGHT}"/>'
    return Markup(
        f'<svg class="small" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none" aria-hidden="true">{band}{drawn}</svg>'
    )


def _across(sessions: pd.Index, day: pd.Timestamp) -> float:
    """Return where a day lies, from 0 to the width of the chart."""
    share = (day - sessions[0]) / (sessions[-1] - sessions[0])
    return float(np.clip(share, 0.0, 1.0)) * _WIDTH


def _points(line: pd.Series, sessions: pd.Index, high: float, scale: float) -> str:
    across = [_across(sessions, day) for day in pd.DatetimeIndex(line.index)]
    down = _EDGE + (high - line.to_numpy()) * scale
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
