"""The whole run: growth and drawdown, and the figures of every strategy."""

from collections.abc import Iterable

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from trm_bt.evaluation.metrics import drawdowns
from trm_bt.report.colours import LINES
from trm_bt.report.contents import RunContent
from trm_bt.report.drawing import (
    PERCENT,
    DateSpan,
    as_svg,
    draw_lines,
    log_scale,
    panels,
    shade,
)
from trm_bt.report.templating import fill


def whole_run(page: RunContent) -> Markup:
    """Return the section."""
    spans = [window.span for window in page.windows if not window.reason]
    table = page.allocations
    mixes = {
        name: "/".join(f"{weight:.0%}".rstrip("%") for weight in weights)
        for name, weights in zip(table.names, table.weights, strict=True)
    }
    return fill(
        "whole_run", page, mixes=mixes, picture=_chart(page.folder.equity, spans)
    )


@as_svg
def _chart(equity: pd.DataFrame, spans: Iterable[DateSpan]) -> Figure:
    """Draw growth of 1 on a log scale above drawdowns, with the crises shaded."""
    shown = equity[list(LINES)]
    figure, (upper, lower) = panels(5.4, 2.2, 1)
    draw_lines(upper, shown / shown.iloc[0], LINES)
    log_scale(upper)
    draw_lines(lower, shown.apply(drawdowns), LINES)
    lower.set_ylabel("drawdown")
    lower.yaxis.set_major_formatter(PERCENT)
    for axes in (upper, lower):
        shade(axes, spans)
    return figure
