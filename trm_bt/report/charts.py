"""The interactive charts of a run's page: what they show, and the script that draws."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from pydantic import JsonValue

from trm_bt.evaluation.metrics import drawdowns
from trm_bt.report.colours import AREAS, LINES
from trm_bt.report.contents import RunContent
from trm_bt.report.templating import Script, asset, label

LIBRARY: Final = "uPlot 1.6.32"
_DIGITS: Final = 5
"""Significant digits of a value in the page."""


def live_charts(page: RunContent) -> Script:
    """Return the scripts of a run's page with what they draw."""
    return Script(
        library=LIBRARY,
        licence=asset("assets/uPlot.LICENSE.txt"),
        style=asset("assets/uPlot.min.css"),
        sources=(asset("assets/uPlot.iife.min.js"), asset("templates/charts.js")),
        data=charts_data(page),
    )


def charts_data(page: RunContent) -> dict[str, JsonValue]:
    """Return the charts of a run.

    Returns
    -------
    dict
        `days` (days since 1970-01-01, one a session), `bands` (first day, last day and
        title of each crisis) and `charts`, each with a list of series as long as
        `days`; null where a session has no value.
    """
    equity = page.folder.equity
    sessions = pd.DatetimeIndex(equity.index)
    lines, weights = equity[list(LINES)], page.weights.reindex(sessions)
    decided = page.decisions.reindex(sessions).rename(columns={"n_steps": "steps"})
    decided = decided.where(decided["allocation"].notna())
    growth = lines / lines.iloc[0]
    names: list[JsonValue] = [label(name) for name in page.allocations.names]
    return {
        "days": [*_days(sessions)],
        "bands": [
            [*_days(pd.DatetimeIndex(window.span)), window.title]
            for window in page.windows
            if not window.reason
        ],
        "charts": [
            {"is_log": True, **_chart("growth", growth, LINES, "factor", 340)},
            _chart("drawdown", lines.apply(drawdowns), LINES, "percent", 180),
            {"is_stacked": True, **_chart("weights", weights, AREAS, "percent")},
            {
                "classes": names,
                **_chart("allocation", decided, {"allocation": "trm"}, "class", 220),
            },
            _chart("confidence", decided, {"confidence": "trm", "halt_prob": "bond"}),
            _chart("steps", decided, {"steps": "mix"}, "whole", 140),
        ],
    }


def _chart(
    name: str,
    table: pd.DataFrame,
    colours: Mapping[str, str],
    form: str = "number",
    height: int = 200,
) -> dict[str, JsonValue]:
    return {
        "name": name,
        "format": form,
        "height": height,
        "series": [
            {"label": label(key), "ink": colour, "values": _values(table[key])}
            for key, colour in colours.items()
        ],
    }


def _values(series: pd.Series) -> list[JsonValue]:
    """Return numbers with a few significant digits, null where there is none."""
    known = pd.to_numeric(series).astype("Float64")
    numbers = known.to_numpy(dtype=np.float64, na_value=np.nan)
    return [
        float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
        for value in numbers
    ]


def _days(sessions: pd.DatetimeIndex) -> list[int]:
    since = (sessions - pd.Timestamp(0)) // pd.Timedelta(days=1)
    return [int(day) for day in since]
