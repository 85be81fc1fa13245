"""Growth, drawdown and lead of a comparison over time."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.report.colours import LIGHT
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.drawing import as_svg, draw_lines, panels
from trm_bt.report.return_charts import growth_chart
from trm_bt.report.templating import fill

ROLLING: Final = SESSIONS_PER_YEAR
"""Sessions that the lead looks back on."""


def performance(page: ComparisonContent) -> Markup:
    """Return the section; without the lead where the span is no longer than a year."""
    return fill(
        "performance",
        page,
        growth=growth_chart(page.equity[list(page.colours)], page.colours),
        lead=_lead_chart(page.excess, page.colours)
        if len(page.excess) > ROLLING
        else "",
    )


@as_svg
def _lead_chart(excess: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Draw the Sharpe ratio of TRM minus that of each benchmark, over a year each."""
    years = excess[[name for name in colours if name in excess]].rolling(ROLLING)
    ratios = years.mean() / years.std() * np.sqrt(SESSIONS_PER_YEAR)
    leads = ratios.rsub(ratios["trm"], axis=0).drop(columns="trm")
    figure, (axes,) = panels(2.6)
    axes.axhline(0.0, color=LIGHT["soft"], linewidth=0.8)
    draw_lines(axes, leads, colours, width=1.0)
    axes.set_ylabel("Sharpe, TRM minus benchmark")
    return figure
