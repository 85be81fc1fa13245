"""A crisis with a quarter before and after: a chart, and what the model saw."""

import base64
import io

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.image import imsave

from trm_bt.evaluation.metrics import drawdowns
from trm_bt.report.colours import FULL_COLOUR, LIGHT, LINES, score_colour
from trm_bt.report.contents import Sheet
from trm_bt.report.crisis_windows import Window
from trm_bt.report.drawing import (
    PERCENT,
    as_svg,
    draw_lines,
    draw_weights,
    panels,
    shade,
)
from trm_bt.report.templating import fill


def context(page: Sheet) -> Markup:
    """Return the section; nothing on a page that is not of one crisis."""
    if page.window is None:
        return Markup()
    shown = page.window
    start, end = shown.span
    sessions = pd.DatetimeIndex(shown.seen.index)
    percent = 100 / max(len(sessions), 1)
    first, last = sessions.searchsorted(start), sessions.searchsorted(end, "right")
    return fill(
        "context",
        page,
        picture=_chart(shown),
        seen=[
            {
                "name": name,
                "picture": heat_row(scores),
                "mean": float(scores.loc[start:end].mean()),
            }
            for name, scores in shown.seen.items()
        ],
        left=percent * first,
        width=percent * (last - first),
    )


@as_svg
def _chart(shown: Window) -> Figure:
    """Draw growth, drawdown and weights around a crisis, which is shaded."""
    equity = shown.context[list(LINES)]
    figure, (upper, middle, lower) = panels(6.4, 2.2, 1, 1)
    draw_lines(upper, equity / equity.loc[shown.equity.index[0]], LINES, width=1.3)
    draw_lines(middle, equity.apply(drawdowns), LINES, width=1.3)
    draw_weights(lower, shown.weights)
    upper.set_ylabel("growth of 1")
    middle.set_ylabel("drawdown")
    middle.yaxis.set_major_formatter(PERCENT)
    for axes in (upper, middle, lower):
        shade(axes, [shown.span], edge=0.8)
    for day in shown.span:  # Over the areas of the weights no shade would be seen.
        edge = mdates.date2num(day)  # type: ignore[no-untyped-call]
        lower.axvline(edge, color=LIGHT["soft"], linewidth=0.8)
    return figure


def heat_row(scores: pd.Series) -> str:
    """Return one feature's z-scores as a picture of one pixel per session.

    Parameters
    ----------
    scores : Series of shape (n_sessions,)
        z-scores; orange above the mean and blue below, fading to nothing at 0, which
        reads on a light page and on a dark one.

    Returns
    -------
    str
        A data URL of a PNG file, one pixel high.
    """
    values = scores.to_numpy()
    strength = np.clip(np.abs(values) / FULL_COLOUR, 0.0, 1.0)
    pixels = np.empty((1, len(values), 4), dtype=np.uint8)
    above, below = score_colour(is_above=True), score_colour(is_above=False)
    pixels[0, :, :3] = np.where(values[:, None] > 0, above, below)
    pixels[0, :, 3] = np.round(255 * np.nan_to_num(strength))
    picture = io.BytesIO()
    imsave(picture, pixels, format="png")
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
