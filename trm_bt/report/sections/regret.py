"""The mean regret of each year of a comparison."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from trm_bt.report.colours import COMPARED, LIGHT
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.drawing import as_svg, panels
from trm_bt.report.templating import fill


def regret(page: ComparisonContent) -> Markup:
    """Return the section."""
    return fill("regret", page, picture=_chart(page.record.regret_by_year))


@as_svg
def _chart(by_year: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the mean regret by year and strategy as bars side by side."""
    table = pd.DataFrame(by_year).T
    names = [name for name in COMPARED if name in table]
    places = np.arange(len(table))
    width = 0.8 / max(len(names), 1)
    figure, (axes,) = panels(2.6)
    for number, name in enumerate(names):
        left = places - 0.4 + (number + 0.5) * width
        axes.bar(left, table[name], width, color=LIGHT[COMPARED[name]], linewidth=0)
    step = max(1, -(-len(table) // 14))
    axes.set_xticks(places[::step], table.index[::step])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_ylabel("regret per horizon")
    return figure
