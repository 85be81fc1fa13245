"""What the allocator decided over the whole run, and how sure it was."""

from collections.abc import Sequence
from typing import Final

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trm_bt.report.colours import LIGHT
from trm_bt.report.contents import RunContent
from trm_bt.report.drawing import LETTER, as_svg, draw_lines, panels
from trm_bt.report.templating import fill, label

_MEANS: Final = ("confidence", "halt_prob", "n_steps")


def decisions(page: RunContent) -> Markup:
    """Return the section.

    What was held may differ from what was decided: a blend holds some of each
    allocation, and a doubtful decision is left out.
    """
    decided = page.decisions[page.decisions["allocation"].notna()]
    steps = decided["n_steps"].value_counts().sort_index()
    return fill(
        "decisions",
        page,
        picture=_chart(page.decisions, page.allocations.names),
        rows=_rows(page.decisions, page.allocations.names),
        steps=list(zip(steps.index.tolist(), steps.tolist(), strict=True)),
        n_decided=len(decided),
    )


def _rows(table: pd.DataFrame, names: Sequence[str]) -> list[dict[str, object]]:
    """Return how often each allocation was the likeliest, abstentions last.

    Parameters
    ----------
    table : DataFrame of shape (n_sessions, n_columns)
        Decisions, indexed by session.
    names : sequence of n_allocations str
    """
    chosen = table["allocation"]
    parts = [
        (name, table[(chosen == allocation).fillna(False)])
        for allocation, name in enumerate(names)
    ]
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "n_sessions": len(part),
            **{key: float(part[key].mean()) if len(part) else None for key in _MEANS},
        }
        for name, part in parts
    ]
    n_abstained = int(chosen.isna().sum())
    nothing = dict.fromkeys(_MEANS)
    rows.append({"name": "abstained (cash)", "n_sessions": n_abstained, **nothing})
    return rows


@as_svg
def _chart(table: pd.DataFrame, allocations: Sequence[str]) -> Figure:
    """Draw the most probable allocation, its confidence, and the steps, over time."""
    names = [label(name) for name in allocations]
    left = 0.3 + LETTER * max(map(len, names))
    figure, (upper, middle, lower) = panels(6.4, 1.7, 1.2, 0.8, left=left)
    _draw_stretches(upper, table["allocation"].dropna(), "trm")
    upper.set_yticks(range(len(names)), names)
    upper.set_ylim(-0.5, len(names) - 0.5)
    draw_lines(middle, table, {"confidence": "trm", "halt_prob": "bond"}, width=0.9)
    middle.set_ylabel("probability")
    steps = table["n_steps"].where(table["allocation"].notna()).dropna()
    _draw_stretches(lower, steps, "mix")
    lower.set_ylabel("steps")
    lower.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _draw_stretches(axes: Axes, values: pd.Series, colour: str) -> None:
    """Draw whole numbers as bars along the time axis, one for each unbroken stretch."""
    numbers = values.astype(np.float64)
    stretch = (numbers != numbers.shift()).cumsum()
    days = numbers.index.to_series().groupby(stretch)
    levels = numbers.groupby(stretch).first().to_numpy()
    ends = mdates.date2num(  # type: ignore[no-untyped-call]
        np.column_stack([days.first(), days.last()])
    )
    gap = np.full(len(levels), np.nan)
    axes.plot(
        np.column_stack([ends, gap]).ravel(),
        np.column_stack([levels, levels, gap]).ravel(),
        color=LIGHT[colour],
        linewidth=3.0,
        solid_capstyle="projecting",
    )
    axes.xaxis_date()
