"""Charts of what portfolios earned, the same on every page that has them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trm_bt.evaluation.calendar_returns import Drawdown
from trm_bt.evaluation.metrics import drawdowns
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.report.colours import LIGHT
from trm_bt.report.drawing import (
    PERCENT,
    DateSpan,
    as_svg,
    draw_lines,
    log_scale,
    name_spans,
    panels,
    shade,
)

HALF_YEAR = SESSIONS_PER_YEAR // 2
"""Sessions that a rolling figure looks back on."""


@as_svg
def growth_chart(
    equity: pd.DataFrame,
    colours: Mapping[str, str],
    named: Sequence[tuple[str, DateSpan]] = (),
) -> Figure:
    """Draw growth of 1 on a log scale above drawdowns, with named spans shaded.

    Parameters
    ----------
    equity : DataFrame of shape (n_sessions + 1, n_columns)
        Portfolio values at the closes; the first row is the base.
    colours : mapping of str to str
        Name of the colour of each column.
    named : sequence of (name, span)
    """
    figure, (upper, lower) = panels(5.4, 2.2, 1, top=0.62 if named else 0.1)
    draw_lines(upper, equity / equity.iloc[0], colours)
    log_scale(upper)
    draw_lines(lower, equity.apply(drawdowns), colours)
    lower.set_ylabel("drawdown")
    lower.yaxis.set_major_formatter(PERCENT)
    for axes in (upper, lower):
        shade(axes, [span for _, span in named])
    name_spans(upper, named)
    return figure


@as_svg
def drawdown_chart(equity: pd.Series, colour: str, worst: Sequence[Drawdown]) -> Figure:
    """Draw drawdowns of one portfolio; the deepest ways down are shaded, numbered."""
    figure, (axes,) = panels(2.4, top=0.4)
    draw_lines(axes, drawdowns(equity).to_frame("it"), {"it": colour})
    spans = [(one.peak_on, one.deepest_on) for one in worst]
    shade(axes, spans)
    name_spans(axes, [(str(rank), span) for rank, span in enumerate(spans, 1)])
    axes.set_ylabel("drawdown")
    axes.yaxis.set_major_formatter(PERCENT)
    return figure


@as_svg
def years_chart(earned: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Draw the return of each calendar year, portfolios side by side.

    Parameters
    ----------
    earned : DataFrame of shape (n_years, n_columns)
        Decimals by year.
    colours : mapping of str to str
        Name of the colour of each column.
    """
    figure, (axes,) = panels(2.8)
    places, width = np.arange(len(earned)), 0.8 / len(colours)
    for number, (name, colour) in enumerate(colours.items()):
        left = places - 0.4 + (number + 0.5) * width
        axes.bar(left, earned[name], width, color=LIGHT[colour], linewidth=0)
    axes.axhline(0.0, color=LIGHT["soft"], linewidth=0.8)
    step = -(-len(earned) // 16)
    axes.set_xticks(places[::step], [str(year) for year in earned.index[::step]])
    axes.set_ylabel("return of the year")
    axes.yaxis.set_major_formatter(PERCENT)
    return figure


@as_svg
def histogram(earned: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Draw how often monthly returns fell where, as outlines over one another.

    Parameters
    ----------
    earned : DataFrame of shape (n_months, n_columns)
        Decimals.
    colours : mapping of str to str
        Name of the colour of each column.
    """
    figure, (axes,) = panels(2.6, bottom=0.5)
    edges = np.histogram_bin_edges(earned.to_numpy(), bins=24).tolist()
    for number, (name, colour) in enumerate(colours.items()):
        style = {"alpha": 0.35} if number == 0 else {"histtype": "step"}
        axes.hist(earned[name], edges, color=LIGHT[colour], linewidth=1.4, **style)
    axes.axvline(0.0, color=LIGHT["soft"], linewidth=0.8)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("return of a month")
    axes.set_ylabel("months")
    return figure


@as_svg
def rolling_chart(
    rolling: pd.DataFrame, colours: Mapping[str, str], what: str
) -> Figure:
    """Draw rolling figures over time.

    Parameters
    ----------
    rolling : DataFrame of shape (n_sessions, n_columns)
        Missing until as many sessions are known as a figure looks back on.
    colours : mapping of str to str
        Name of the colour of each column.
    what : str
        Label of the axis; "volatility" is one of percentages.
    """
    figure, (axes,) = panels(2.2)
    draw_lines(axes, rolling, colours, width=1.0)
    if what == "volatility":
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel(what)
    return figure
