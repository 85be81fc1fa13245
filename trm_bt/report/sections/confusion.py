"""What the allocator decided, and how right it was: three charts of a comparison."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trm_bt.evaluation.assessment import VolatilityLevel
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.report.colours import AREAS, LIGHT
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.drawing import PERCENT, as_svg, panels
from trm_bt.report.sections.reliability import reliability_chart
from trm_bt.report.templating import fill


def confusion(page: ComparisonContent) -> Markup:
    """Return the section."""
    return fill(
        "confusion",
        page,
        reliability=reliability_chart(page.record.calibration),
        confusion=confusion_chart(page.record.confusion, page.record.allocations),
        weights=_weights_chart(page.record.weights_by_volatility),
    )


@as_svg
def confusion_chart(
    counts: Sequence[Sequence[int]], allocations: Sequence[str] = ALLOCATION_NAMES
) -> Figure:
    """Draw decided classes by best ones, shaded by the share of each decided class.

    Parameters
    ----------
    counts : sequence of shape (n_allocations, n_allocations)
        Sessions by decided class (rows) and best class (columns).
    allocations : sequence of n_allocations str
    """
    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=False)
    for row, line in enumerate(counts):
        total = max(sum(line), 1)
        for column, count in enumerate(line):
            corner = column - 0.5, row - 0.5
            cell = Rectangle(corner, 1, 1, linewidth=0, color=LIGHT["trm"])
            cell.set_alpha(0.75 * count / total)
            axes.add_patch(cell)
            if count:
                axes.text(column, row, f"{count}", ha="center", va="center")
    names = [name.replace("_", " ") for name in allocations]
    places = range(len(names))
    axes.set_xticks(places, [str(place) for place in places])
    axes.set_yticks(places, [f"{place} {names[place]}" for place in places])
    edge = len(names) - 0.5
    axes.set(xlim=(-0.5, edge), ylim=(edge, -0.5))
    axes.set_xlabel("best allocation of the horizon")
    axes.set_ylabel("most probable")
    return figure


@as_svg
def _weights_chart(levels: Sequence[VolatilityLevel]) -> Figure:
    """Draw average weights by level of the volatility index, stacked to 100%."""
    places, bottom = np.arange(len(levels)), np.zeros(len(levels))
    figure, (axes,) = panels(2.6, bottom=0.5)
    for asset, colour in AREAS.items():
        heights = np.array([getattr(level, asset) for level in levels])
        axes.bar(places, heights, 0.7, bottom, color=LIGHT[colour], linewidth=0)
        bottom += heights
    axes.set_xticks(places, [_level_name(level) for level in levels])
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylim(0, 1)
    axes.set_ylabel("average weight")
    return figure


def _level_name(level: VolatilityLevel) -> str:
    """Name a level, with the sessions that it has."""
    low, high = level.low, level.high
    span = f"over {low:.0f}" if high is None else f"{low:.0f} to {high:.0f}"
    return f"{span}\n{level.sessions:,}"
