"""Pictures of a comparison, as SVG that a page colours."""

from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, PercentFormatter

from trm_bt.evaluation.assessment import VolatilityLevel
from trm_bt.evaluation.metrics import CalibrationBin, drawdowns
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.report.pictures import INKS, STYLE, svg_of, thinned

LINES: Final[Mapping[str, str]] = {
    "trm": "trm",
    "exposure_matched": "bond",
    "spy": "spy",
    "sixty_forty": "mix",
}
"""Strategies that are drawn, with the colour of each."""
ROLLING: Final = SESSIONS_PER_YEAR
_ASSETS: Final = {"equity": "spy", "bond": "bond", "cash": "cash"}
_WHOLE: Final = PercentFormatter(1.0, decimals=0)


def growth_chart(equity: pd.DataFrame) -> str:
    """Draw growth of 1 on a log scale.

    Parameters
    ----------
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        Portfolio values at the closes; those of `LINES` are drawn.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(3.6)
        for name, ink in _drawn(equity):
            line = thinned(equity[name] / equity[name].iloc[0])
            axes.plot(line.index, line, color=INKS[ink], linewidth=1.2)
        axes.set_yscale("log")
        for kind in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            kind(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_ylabel("growth of 1, log scale")
        return svg_of(figure)


def drawdown_chart(equity: pd.DataFrame) -> str:
    """Draw how far each strategy is below its highest close so far.

    Parameters
    ----------
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        As in `growth_chart`.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2.4)
        for name, ink in _drawn(equity):
            line = thinned(drawdowns(equity[name]))
            axes.plot(line.index, line, color=INKS[ink], linewidth=1.0)
        axes.yaxis.set_major_formatter(_WHOLE)
        axes.set_ylabel("drawdown")
        return svg_of(figure)


def rolling_lead_chart(excess: pd.DataFrame) -> str | None:
    """Draw the Sharpe ratio of TRM less that of three benchmarks over a year.

    Parameters
    ----------
    excess : DataFrame of shape (n_sessions, n_strategies)
        Session returns in excess of cash.

    Returns
    -------
    str or None
        None where the span is no longer than the year that is looked back on.
    """
    if len(excess) <= ROLLING:
        return None
    shown = excess[[name for name in LINES if name in excess]]
    years = shown.rolling(ROLLING)
    ratios = years.mean() / years.std() * np.sqrt(SESSIONS_PER_YEAR)
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2.6)
        axes.axhline(0.0, color=INKS["soft"], linewidth=0.8)
        for name, ink in _drawn(ratios):
            if name != "trm":
                line = thinned((ratios["trm"] - ratios[name]).dropna())
                axes.plot(line.index, line, color=INKS[ink], linewidth=1.0)
        axes.set_ylabel("Sharpe, TRM less benchmark")
        return svg_of(figure)


def regret_chart(by_year: Mapping[str, Mapping[str, float]]) -> str:
    """Draw the mean regret of each year as bars side by side.

    Parameters
    ----------
    by_year : mapping of str to mapping
        What `trm_bt.evaluation.comparison.regret_by_year` returns.
    """
    table = pd.DataFrame(by_year).T
    names = [name for name in LINES if name in table]
    places = np.arange(len(table))
    width = 0.8 / max(len(names), 1)
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2.6)
        for number, name in enumerate(names):
            left = places - 0.4 + (number + 0.5) * width
            axes.bar(left, table[name], width, color=INKS[LINES[name]], linewidth=0)
        step = max(1, -(-len(table) // 14))
        axes.set_xticks(places[::step], table.index[::step])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
        axes.set_ylabel("regret a horizon")
        return svg_of(figure)


def reliability_chart(rows: Sequence[CalibrationBin]) -> str:
    """Draw how often the allocator was right at each confidence.

    Parameters
    ----------
    rows : sequence of CalibrationBin
    """
    most = max((row.sessions for row in rows), default=1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INKS["soft"], linewidth=0.8, linestyle="--")
        axes.plot(
            [row.confidence for row in rows],
            [row.accuracy for row in rows],
            color=INKS["trm"],
            linewidth=1.0,
        )
        axes.scatter(
            [row.confidence for row in rows],
            [row.accuracy for row in rows],
            s=[12 + 120 * row.sessions / most for row in rows],
            color=INKS["trm"],
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_WHOLE)
        return svg_of(figure)


def confusion_chart(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Draw decided classes by best ones, shaded by the share of each decided class.

    Parameters
    ----------
    counts : sequence of shape (n_allocations, n_allocations)
        As `trm_bt.evaluation.comparison.calibration_and_confusion` returns it.
    names : sequence of str
        A name a class.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(6.0, 4.2), layout="constrained")
        axes = figure.subplots()
        for row, line in enumerate(counts):
            total = max(sum(line), 1)
            for column, count in enumerate(line):
                corner = column - 0.5, row - 0.5
                cell = Rectangle(corner, 1, 1, linewidth=0, color=INKS["trm"])
                cell.set_alpha(0.75 * count / total)
                axes.add_patch(cell)
                if count:
                    axes.text(column, row, f"{count}", ha="center", va="center")
        places = range(len(names))
        labels = [
            f"{place} {name.replace('_', ' ')}" for place, name in enumerate(names)
        ]
        axes.set_xticks(places, [str(place) for place in places])
        axes.set_yticks(places, labels)
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
        axes.set_xlabel("best allocation of the horizon")
        axes.set_ylabel("most probable")
        return svg_of(figure)


def weights_by_level_chart(rows: Sequence[VolatilityLevel]) -> str:
    """Draw average weights by level of the volatility index, stacked to 100 %.

    Parameters
    ----------
    rows : sequence of VolatilityLevel
    """
    places = np.arange(len(rows))
    bottom = np.zeros(len(rows))
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2.6)
        for asset, ink in _ASSETS.items():
            heights = np.array([getattr(row, asset) for row in rows])
            axes.bar(places, heights, 0.7, bottom, color=INKS[ink], linewidth=0)
            bottom += heights
        axes.set_xticks(places, [_level(row) for row in rows])
        axes.yaxis.set_major_formatter(_WHOLE)
        axes.set_ylim(0, 1)
        axes.set_ylabel("average weight")
        return svg_of(figure)


def _level(row: VolatilityLevel) -> str:
    """Name a level, with the sessions that it has."""
    low, high = row.low, row.high
    span = f"over {low:.0f}" if high is None else f"{low:.0f} to {high:.0f}"
    return f"{span}\n{row.sessions:,}"


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.6, height), layout="constrained")
    axes = figure.subplots()
    axes.margins(x=0)
    return figure, axes


def _drawn(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return names and colours of the strategies to draw, ours last and so on top."""
    return [(name, ink) for name, ink in LINES.items() if name in table][::-1]
