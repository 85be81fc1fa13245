"""Growth of the best and of the median setting, on each universe."""

from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from trm_bt.report.drawing import as_svg, draw_lines, log_scale, panels
from trm_bt.report.templating import fill

if TYPE_CHECKING:
    from trm_bt.report.sweep_page import SweepContent


def sweep_growth(page: "SweepContent") -> Markup:
    """Return the section."""
    pictures = {universe: _chart(table) for universe, table in page.growth.items()}
    return fill("sweep_growth", page, pictures=pictures)


@as_svg
def _chart(growth: pd.DataFrame) -> Figure:
    """Draw growth of 1 in excess of cash; the first column is the best setting's."""
    figure, (axes,) = panels(2.8)
    lines = growth.set_axis([str(place) for place in range(growth.shape[1])], axis=1)
    draw_lines(axes, lines, {"0": "spy", "1": "trm"})
    log_scale(axes)
    return figure
