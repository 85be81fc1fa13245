"""What the interactive charts of a run's page are drawn from, as plain JSON values."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import numpy as np
import pandas as pd

from trm_bt.evaluation.metrics import drawdowns
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.report.pictures import LINE_INKS, WEIGHT_INKS
from trm_bt.report.templating import label
from trm_bt.report.windows import Window

LIBRARY: Final = "uPlot"
LIBRARY_VERSION: Final = "1.6.32"
_DIGITS: Final = 5
"""Significant digits of a value in the page."""


def library_parts() -> dict[str, str]:
    """Return the script, the style and the licence of the chart library as shipped."""
    folder = files("trm_bt.report") / "assets"
    return {
        "script": (folder / "uPlot.iife.min.js").read_text(encoding="utf-8"),
        "style": (folder / "uPlot.min.css").read_text(encoding="utf-8"),
        "licence": (folder / "uPlot.LICENSE.txt").read_text(encoding="utf-8"),
    }


def chart_data(
    equity: pd.DataFrame,
    weights: pd.DataFrame,
    decisions: pd.DataFrame,
    windows: Sequence[Window],
) -> dict[str, Any]:
    """Return the charts of a run.

    Parameters
    ----------
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        Portfolio values at the closes.
    weights, decisions : DataFrame of shape (n_rows, n_columns)
        What the allocator held and decided, indexed by session.
    windows : sequence of Window
        The covered ones are shaded.

    Returns
    -------
    dict
        `days` (days since 1970-01-01, one a session of `equity`), `bands` (first day,
        last day, title) and `charts`, each with a list of series as long as `days`;
        null where a session has no value.
    """
    sessions = pd.DatetimeIndex(equity.index)
    weights, decisions = weights.reindex(sessions), decisions.reindex(sessions)
    chosen = decisions["allocation"]
    lines = {name: equity[name] / equity[name].iloc[0] for name in LINE_INKS}
    under = {name: drawdowns(equity[name]) for name in LINE_INKS}
    held = {name: weights[name] for name in WEIGHT_INKS}
    sure = {
        "confidence": decisions["confidence"].where(chosen.notna()),
        "halt_prob": decisions["halt_prob"].where(chosen.notna()),
    }
    steps = decisions["n_steps"].where(chosen.notna())
    names = [label(name) for name in ALLOCATION_NAMES]
    return {
        "days": _days(sessions),
        "bands": [
            [*_days(pd.DatetimeIndex(window.span)), window.title]
            for window in windows
            if not window.reason
        ],
        "charts": [
            _chart("growth", lines, LINE_INKS, "factor", height=300, is_log=True),
            _chart("drawdown", under, LINE_INKS, "percent", height=160),
            _chart("weights", held, WEIGHT_INKS, "percent", is_stacked=True),
            _chart(
                "allocation",
                {"allocation": chosen},
                {"allocation": "trm"},
                "class",
                classes=names,
                height=220,
            ),
            _chart("confidence", sure, {"confidence": "trm", "halt_prob": "bond"}),
            _chart("steps", {"steps": steps}, {"steps": "mix"}, "whole", height=120),
        ],
    }


def _chart(
    name: str,
    series: Mapping[str, pd.Series],
    inks: Mapping[str, str],
    form: str = "number",
    **settings: object,
) -> dict[str, Any]:
    return {
        "name": name,
        "format": form,
        "height": 180,
        **settings,
        "series": [
            {"label": label(key), "ink": inks[key], "values": _values(values)}
            for key, values in series.items()
        ],
    }


def _values(series: pd.Series) -> list[float | None]:
    """Return numbers with a few significant digits, null where there is none."""
    numbers = (
        pd.to_numeric(series)
        .astype("Float64")
        .to_numpy(dtype=np.float64, na_value=np.nan)
    )
    return [
        float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
        for value in numbers
    ]


def _days(sessions: pd.DatetimeIndex) -> list[int]:
    since = (sessions - pd.Timestamp(0)) // pd.Timedelta(days=1)
    return [int(day) for day in since]
