"""Settings against utility: a map of two, parallel coordinates of any other number."""

from typing import TYPE_CHECKING, Final

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trm_bt.figures import number
from trm_bt.report.colours import LIGHT
from trm_bt.report.drawing import LETTER, as_svg, panels
from trm_bt.report.templating import fill
from trm_bt.text import shorten

if TYPE_CHECKING:
    from trm_bt.report.sweep_page import SweepContent

_MOST_CELLS: Final = 12
_MOST_LINES: Final = 500


def sweep_settings(page: "SweepContent") -> Markup:
    """Return the section; nothing where no setting varies."""
    values = list(page.varied.values())
    if not values:
        return Markup("")
    is_map = len(values) == 2 and max(map(len, values)) <= _MOST_CELLS
    drawn = _map(page) if is_map else _parallel(page)
    return fill("sweep_settings", page, picture=drawn, is_map=is_map)


@as_svg
def _map(page: "SweepContent") -> Figure:
    """Draw the mean utility of each pair of values, the better the deeper coloured."""
    (down, rows), (across, columns) = page.varied.items()
    found: dict[tuple[int, int], list[float]] = {}
    for row in page.judged.ranking:
        place = (columns.index(row.point.get(across)), rows.index(row.point.get(down)))
        found.setdefault(place, []).append(row.utility)
    means = {place: sum(own) / len(own) for place, own in found.items()}
    low, high = min(means.values()), max(means.values())
    names = [shorten(value, 18) for value in rows]
    left = 0.5 + LETTER * max(map(len, names))
    figure, (axes,) = panels(1.2 + 0.5 * len(rows), left=left, bottom=0.55)
    axes.grid(visible=False)
    for (x, y), mean in means.items():
        cell = Rectangle((x - 0.5, y - 0.5), 1, 1, linewidth=0, color=LIGHT["trm"])
        cell.set_alpha(0.5 * (mean - low) / (high - low) if high > low else 0.25)
        axes.add_patch(cell)
        axes.text(x, y, number(mean, 3), ha="center", va="center", c=LIGHT["ink"])
    axes.set_xticks(range(len(columns)), [shorten(v, 18) for v in columns])
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    return figure


@as_svg
def _parallel(page: "SweepContent") -> Figure:
    """Draw a line per setting through its values to its utility, the best on top."""
    varied, ranking = page.varied, page.judged.ranking
    utilities = np.array([row.utility for row in ranking])
    low, high = utilities.min(), utilities.max()
    figure, (axes,) = panels(4.2, left=0.2, bottom=0.5)
    for place, values in enumerate(varied.values()):
        for height, value in zip(_heights(len(values)), values, strict=True):
            _mark(axes, place, height, shorten(value, 14))
    _mark(axes, len(varied), 1.0, number(high, 3))
    _mark(axes, len(varied), 0.0, number(low, 3))
    for row, utility in reversed(
        list(zip(ranking, utilities, strict=True))[:_MOST_LINES]
    ):
        heights = [
            _heights(len(values))[values.index(row.point.get(name))]
            for name, values in varied.items()
        ]
        share = float((utility - low) / (high - low)) if high > low else 0.5
        is_best = row is ranking[0]
        axes.plot(
            range(len(varied) + 1),
            [*heights, share],
            color=LIGHT["spy" if is_best else "trm"],
            alpha=1.0 if is_best else 0.15 + 0.45 * share,
            linewidth=2.2 if is_best else 1.0,
        )
    names = [*varied, "utility"]
    axes.set_xticks(range(len(names)), [name.replace(".", ".\n") for name in names])
    axes.set(xlim=(-0.3, len(varied) + 0.3), ylim=(-0.08, 1.08), yticks=[])
    axes.spines[:].set_visible(False)
    return figure


def _mark(axes: Axes, place: float, height: float, words: str) -> None:
    """Write a value on its axis, over the lines through it."""
    box = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 2.0}
    axes.text(
        place, height, words, ha="center", va="center", size=9, zorder=3, bbox=box
    )


def _heights(n_values: int) -> list[float]:
    """Return where values stand on their axis, from 0 to 1."""
    return [float(height) for height in np.linspace(0.0, 1.0, n_values)]
