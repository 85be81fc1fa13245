"""What was earned by month and by year, and the deepest drawdowns."""

from calendar import month_abbr
from typing import Final

import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.calendar_returns import period_returns, worst_drawdowns
from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.report.colours import FULL_COLOUR, IN_ORDER
from trm_bt.report.contents import RunContent, Sheet
from trm_bt.report.return_charts import drawdown_chart, years_chart
from trm_bt.report.sections.seen import tint
from trm_bt.report.templating import fill

_FULL_MONTH: Final = 0.08
"""Return of a month at which its cell has its full colour."""
_MONTHS: Final = tuple(month_abbr)[1:]


def calendar(page: RunContent | Sheet) -> Markup:
    """Return the section; on a short span the drawdowns alone."""
    growth = page.growth
    ours = growth.iloc[:, 0]
    colours = dict(zip(map(str, growth.columns), IN_ORDER, strict=False))
    worst = worst_drawdowns(ours)
    is_long = page.n_judged >= MIN_SESSIONS
    years = growth.apply(period_returns, unit="Y")
    return fill(
        "calendar",
        page,
        ours=growth.columns[0],
        months=_months(ours) if is_long else [],
        month_names=_MONTHS,
        legend_of=list(colours.items()),
        years=years_chart(years, colours) if is_long else "",
        worst=worst,
        under=drawdown_chart(ours, IN_ORDER[0], worst) if worst else "",
        last=ours.index[-1].date(),
    )


def _months(equity: pd.Series) -> list[dict[str, object]]:
    """Return a row per year, newest last: twelve cells and the year; None outside."""
    monthly, yearly = period_returns(equity, "M"), period_returns(equity, "Y")
    known = {str(month): value for month, value in monthly.items()}
    return [
        {
            "year": str(year),
            "cells": [_cell(known.get(f"{year}-{at:02}")) for at in range(1, 13)],
            "whole": value,
        }
        for year, value in yearly.items()
    ]


def _cell(value: float | None) -> tuple[float, str] | None:
    if value is None:
        return None
    return value, tint(-value / _FULL_MONTH * FULL_COLOUR)
