"""Pictures of a whole run's decisions and models, as SVG that a page colours."""

from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.report.models import ModelText
from trm_bt.report.pictures import INKS, STYLE, svg_of, thinned
from trm_bt.report.templating import label

_COLUMNS: Final = 4


def decisions_chart(decisions: pd.DataFrame) -> str:
    """Draw the most probable allocation, its confidence, and the steps, over time.

    Parameters
    ----------
    decisions : DataFrame of shape (n_sessions, n_columns)
        Indexed by session: allocation, confidence, halt_prob and n_steps.
    """
    names = [label(name) for name in ALLOCATION_NAMES]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 6.4), layout="constrained")
        upper, middle, lower = figure.subplots(
            3, sharex=True, height_ratios=(1.7, 1.2, 0.8)
        )
        _draw_stretches(upper, decisions["allocation"].dropna(), "trm")
        upper.set_yticks(range(len(names)), names)
        upper.set_ylim(-0.5, len(names) - 0.5)
        for column, ink in (("halt_prob", "bond"), ("confidence", "trm")):
            line = thinned(decisions[column].dropna())
            middle.plot(line.index, line, color=INKS[ink], linewidth=0.9)
        middle.set_ylabel("probability")
        steps = decisions["n_steps"].where(decisions["allocation"].notna()).dropna()
        _draw_stretches(lower, steps, "mix")
        lower.set_ylabel("steps")
        lower.yaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (upper, middle, lower):
            axes.margins(x=0)
        return svg_of(figure)


def _draw_stretches(axes: Axes, values: pd.Series, ink: str) -> None:
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
        color=INKS[ink],
        linewidth=3.0,
        solid_capstyle="projecting",
    )
    axes.xaxis_date()


def training_chart(models: Sequence[ModelText]) -> str:
    """Draw the losses of each model by epoch, with a dot on the epoch that was kept.

    Parameters
    ----------
    models : sequence of ModelText
        The models, at least one.
    """
    n_columns = min(_COLUMNS, len(models))
    n_rows = -(-len(models) // n_columns)
    with mpl.rc_context(STYLE):
        size = (9.6 * n_columns / _COLUMNS, 2.1 * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = np.ravel(figure.subplots(n_rows, n_columns, squeeze=False))
        for axes, model in zip(grid, models, strict=False):
            epochs = model.history["epoch"]
            for column, ink in (("train_loss", "trm"), ("validation_loss", "spy")):
                axes.plot(epochs, model.history[column], color=INKS[ink], linewidth=1.2)
            kept = model.history[epochs == model.best_epoch]
            axes.plot(kept["epoch"], kept["validation_loss"], "o", color=INKS["spy"])
            axes.set_title(label(model.name), fontsize=9.5, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        for axes in grid[len(models) :]:
            axes.set_axis_off()
        return svg_of(figure)
