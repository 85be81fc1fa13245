"""Growth, drawdown and lead of a comparison over time."""

from typing import Final

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from trm_bt.evaluation.metrics import drawdowns
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.report.colours import COMPARED, LIGHT
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.drawing import as_svg, draw_lines, log_scale, panels
from trm_bt.report.templating import fill

ROLLING: Final = SESSIONS_PER_YEAR
"""Sessions that the lead looks back on."""


def performance(page: ComparisonContent) -> Markup:
    """Return the section; without the lead where the span is no longer than a year."""
    return fill(
        "performance",
        page,
        growth=_growth_chart(page.equity),
        drawdown=_drawdown_chart(page.equity),
        lead=_lead_chart(page.excess) if len(page.excess) > ROLLING else "",
    )


@as_svg
def _growth_chart(equity: pd.DataFrame) -> Figure:
    """Draw growth of 1 on a log scale; `equity` as in `ComparisonContent`."""
    figure, (axes,) = panels(3.6)
    draw_lines(axes, equity / equity.iloc[0], COMPARED)
    log_scale(axes)
    return figure


@as_svg
def _drawdown_chart(equity: pd.DataFrame) -> Figure:
    """Draw how far each strategy is below its highest close so far."""
    figure, (axes,) = panels(2.4)
    draw_lines(axes, equity.apply(drawdowns), COMPARED, width=1.0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("drawdown")
    return figure


@as_svg
def _lead_chart(excess: pd.DataFrame) -> Figure:
    """Draw the Sharpe ratio of TRM less that of each benchmark, over a year each."""
    years = excess[[name for name in COMPARED if name in excess]].rolling(ROLLING)
    ratios = years.mean() / years.std() * np.sqrt(SESSIONS_PER_YEAR)
    leads = ratios.rsub(ratios["trm"], axis=0).drop(columns="trm")
    figure, (axes,) = panels(2.6)
    axes.axhline(0.0, color=LIGHT["soft"], linewidth=0.8)
    draw_lines(axes, leads, COMPARED, width=1.0)
    axes.set_ylabel("Sharpe, TRM less benchmark")
    return figure
