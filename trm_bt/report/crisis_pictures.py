"""Pictures of one crisis with a quarter before and after, in colours of the page."""

import base64
import io
from typing import Final

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import FuncFormatter

from trm_bt.evaluation.metrics import drawdowns
from trm_bt.report.pictures import (
    INKS,
    LINE_INKS,
    STYLE,
    WEIGHT_INKS,
    Span,
    shade,
    svg_of,
)

FULL_COLOUR: Final = 3.0
"""Standard deviations from the mean at which a cell has its full colour."""
_ABOVE: Final = (179, 84, 11)
_BELOW: Final = (11, 87, 164)


def context_chart(
    context: pd.DataFrame, weights: pd.DataFrame, base: pd.Timestamp, span: Span
) -> str:
    """Draw growth, drawdown and weights round a crisis, which is shaded.

    Parameters
    ----------
    context : DataFrame of shape (n_sessions, n_strategies)
        Portfolio values at the closes; each line is 1 at `base`.
    weights : DataFrame of shape (n_sessions, 3)
        What the allocator held: equity, bond, cash.
    base : Timestamp
        The close before the crisis.
    span : (Timestamp, Timestamp)
        First and last day of the crisis.
    """
    shown = context[list(LINE_INKS)]
    growth = shown / shown.loc[base]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 6.4), layout="constrained")
        upper, middle, lower = figure.subplots(
            3, sharex=True, height_ratios=(2.2, 1, 1)
        )
        for name in reversed(shown.columns):
            line = {"color": INKS[LINE_INKS[name]], "linewidth": 1.3}
            upper.plot(growth.index, growth[name], **line)
            middle.plot(shown.index, drawdowns(shown[name]), **line)
        lower.stackplot(
            weights.index,
            weights[list(WEIGHT_INKS)].to_numpy().T,
            colors=[INKS[ink] for ink in WEIGHT_INKS.values()],
            linewidth=0,
            step="post",
        )
        lower.set_ylim(0, 1)
        upper.set_ylabel("1 at the close before")
        middle.set_ylabel("drawdown")
        lower.set_ylabel("weight")
        for axes in (middle, lower):
            axes.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
        for axes in (upper, middle, lower):
            axes.margins(x=0)
            shade(axes, [span], edge=0.8)
        for day in span:  # Over the areas of the weights no shade would be seen.
            edge = mdates.date2num(day)  # type: ignore[no-untyped-call]
            lower.axvline(edge, color=INKS["soft"], linewidth=0.8)
        return svg_of(figure)


def heat_row(scores: pd.Series) -> str:
    """Return one feature's z-scores as a picture of one pixel a session.

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
    strength = np.clip(np.abs(scores.to_numpy()) / FULL_COLOUR, 0.0, 1.0)
    colours = np.where(scores.to_numpy()[:, None] > 0, _ABOVE, _BELOW)
    pixels = np.empty((1, len(scores), 4), dtype=np.uint8)
    pixels[0, :, :3] = colours
    pixels[0, :, 3] = np.round(255 * np.nan_to_num(strength))
    picture = io.BytesIO()
    imsave(picture, pixels, format="png")
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
