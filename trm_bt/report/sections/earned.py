"""Growth of a tearsheet's portfolios, how their months fell, and how it changed."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.calendar_returns import period_returns
from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.report.colours import IN_ORDER
from trm_bt.report.contents import Sheet
from trm_bt.report.return_charts import (
    HALF_YEAR,
    growth_chart,
    histogram,
    rolling_chart,
)
from trm_bt.report.templating import fill

_MIN_MONTHS = 12


def earned(page: Sheet) -> Markup:
    """Return the section.

    A page of a crisis has its growth above, in the chart of its context. A span under
    `MIN_SESSIONS` has no months, and one under half a year nothing rolling. The rolling
    Sharpe ratio is left out where cash earned something, which these returns lack.
    """
    growth = page.growth
    colours = dict(zip(map(str, growth.columns), IN_ORDER, strict=False))
    is_long = page.n_judged >= MIN_SESSIONS
    months = growth.apply(period_returns, unit="M")
    has_months = is_long and len(months) >= _MIN_MONTHS
    rolling = _rolling(growth.pct_change().iloc[1:]) if is_long else {}
    if page.is_cash_paid:
        rolling.pop("Sharpe ratio", None)
    return fill(
        "earned",
        page,
        legend_of=list(colours.items()),
        growth=growth_chart(growth, colours) if page.window is None else "",
        months=histogram(months, colours) if has_months else "",
        rolling=[
            (what, rolling_chart(table, colours, what))
            for what, table in rolling.items()
        ],
    )


def _rolling(moves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return annual volatility and Sharpe ratio over the half year before."""
    if len(moves) <= HALF_YEAR:
        return {}
    window = moves.rolling(HALF_YEAR)
    volatility = window.std() * np.sqrt(SESSIONS_PER_YEAR)
    moving = volatility.where(volatility > 1e-9)
    return {
        "volatility": volatility,
        "Sharpe ratio": window.mean() * SESSIONS_PER_YEAR / moving,
    }
