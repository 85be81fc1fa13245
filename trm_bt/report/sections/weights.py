"""The weights that the allocator held over the whole run."""

from typing import Final

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from trm_bt.report.contents import RunContent
from trm_bt.report.drawing import as_svg, draw_weights, panels
from trm_bt.report.templating import fill

_MAX_STRETCHES: Final = 320


def weights(page: RunContent) -> Markup:
    """Return the section."""
    return fill("weights", page, picture=_chart(page.weights))


@as_svg
def _chart(held: pd.DataFrame) -> Figure:
    """Draw weights as stacked areas, each the mean of some sessions if there are many.

    Parameters
    ----------
    held : DataFrame of shape (n_sessions, n_columns)
        Has the columns equity, bond and cash, indexed by session.
    """
    n_rows = -(-len(held) // _MAX_STRETCHES)
    stretch = np.arange(len(held)) // n_rows
    means = held[["equity", "bond", "cash"]].groupby(stretch).mean()
    figure, (axes,) = panels(2.6)
    draw_weights(axes, means.set_axis(held.index[::n_rows]))
    return figure
