"""How charts are drawn: on bare figures, as SVG that a page colours.

Nothing goes through pyplot, so no setting of the caller is touched. Colours become CSS
variables, which lets one picture serve light and dark pages.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from trm_bt.report.colours import AREAS, LIGHT

P = ParamSpec("P")
DateSpan = tuple[pd.Timestamp, pd.Timestamp]
"""First and last day, both inclusive."""

WIDTH: Final = 9.6
"""Inches of a chart as wide as the page."""
PERCENT: Final = FuncFormatter(lambda value, _: f"{_plain(100 * value)}%")
PLAIN: Final = FuncFormatter(lambda value, _: _plain(value))
_MAX_POINTS: Final = 1200
_EVEN: Final = 3.0
_FINE: Final = 30.0
"""Highest over lowest value up to which a log axis is marked in even or small steps."""
_RIGHT: Final = 0.4
_GAP: Final = 0.16
"""Inches right of the panels, and between them."""
_NAME_ROWS: Final = 3
LETTER: Final = 0.072
"""Inches of an average letter, at most."""
_GROUPS: Final = frozenset(
    {"axes", "figure", "font", "grid", "legend", "lines", "patch", "path", "savefig"}
    | {"svg", "text", "xtick", "ytick"}
)
DRAWING: Final[dict[Any, Any]] = {
    # Whatever the reader, or a library that was imported, has set must not show.
    **{k: v for k, v in mpl.rcParamsDefault.items() if k.partition(".")[0] in _GROUPS},
    "font.size": 10.5,
    "text.parse_math": False,
    "axes.edgecolor": LIGHT["soft"],
    "axes.labelcolor": LIGHT["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.7,
    "text.color": LIGHT["soft"],
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "svg.fonttype": "none",
    "svg.hashsalt": "trm_bt",
    "path.simplify_threshold": 0.4,
}
"""matplotlib's settings for every chart of ours."""
_VARIABLES: Final = {
    LIGHT[name]: f"var(--{name})"
    for name in (
        *("trm", "spy", "mix", "bond", "cash", "best", "crisis", "line", "soft"),
        *("paper", "ink"),
    )
}


def as_svg(draw: Callable[P, Figure]) -> Callable[P, Markup]:
    """Make a function that draws a figure return SVG, coloured by CSS variables."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Markup:
        text = io.StringIO()
        with mpl.rc_context(DRAWING):
            figure = draw(*args, **kwargs)
            figure.savefig(
                text, format="svg", transparent=True, metadata={"Date": None}
            )
        svg = clean_svg(text.getvalue())
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, variable)
        return Markup(svg)

    return drawn


def clean_svg(text: str) -> str:
    """Return matplotlib's SVG without prologue, metadata and fixed size."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"', r"\1", svg, count=2)


def _plain(value: float) -> str:
    """Return a mark of an axis: as many digits as it needs, and a true minus sign."""
    return f"{round(value, 6) + 0.0:g}".replace("-", "\N{MINUS SIGN}")


def panels(
    height: float,
    *ratios: float,
    left: float = 0.78,
    bottom: float = 0.28,
    top: float = 0.1,
) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as the page, with a panel for each ratio of heights.

    Margins are given: a layout that measures its labels draws everything three times.

    Parameters
    ----------
    height : float
        Inches.
    *ratios : float
        Relative heights from the top; a single panel if there are none.
    left, bottom, top : float
        Inches left free for labels.
    """
    figure = Figure(figsize=(WIDTH, height))
    ratios = ratios or (1.0,)
    margins = {
        "left": left / WIDTH,
        "right": 1 - _RIGHT / WIDTH,
        "bottom": bottom / height,
        "top": 1 - top / height,
        "hspace": _GAP * len(ratios) / height,
    }
    grid = figure.subplots(
        len(ratios),
        sharex=True,
        height_ratios=ratios,
        squeeze=False,
        gridspec_kw=margins,
    )
    axes: list[Axes] = list(grid.ravel())
    for panel in axes:
        panel.margins(x=0)
    return figure, axes


def small_panels(
    n_panels: int, n_columns: int, width: float, height: float, bottom: float = 0.28
) -> tuple[Figure, list[Axes]]:
    """Return a figure of equal panels in rows, read line by line.

    Parameters
    ----------
    n_panels, n_columns : int
        Panels, and how many of them stand side by side at most.
    width, height : float
        Inches of one, its labels and its title included.
    bottom : float
        Inches of them below its axis.
    """
    n_columns = min(n_columns, n_panels)
    n_rows = -(-n_panels // n_columns)
    across, down = width * n_columns, height * n_rows
    left, right, top = 0.6, 0.12, 0.3
    margins = {
        "left": left / across,
        "right": 1 - right / across,
        "bottom": bottom / down,
        "top": 1 - top / down,
        "wspace": (left + right) / (width - left - right),
        "hspace": (bottom + top) / (height - bottom - top),
    }
    figure = Figure(figsize=(across, down))
    grid = figure.subplots(n_rows, n_columns, squeeze=False, gridspec_kw=margins)
    for axes in grid.ravel()[n_panels:]:
        axes.set_axis_off()
    return figure, list(grid.ravel()[:n_panels])


def draw_lines(
    axes: Axes, table: pd.DataFrame, colours: Mapping[str, str], width: float = 1.2
) -> None:
    """Draw columns over time, the first of `colours` on top.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    table : DataFrame of shape (n_sessions, n_columns)
        Indexed by session; columns without a colour are left out.
    colours : mapping of str to str
        Name of the colour by column.
    width : float
        Points.
    """
    for name in reversed([name for name in colours if name in table]):
        line = thinned(table[name].dropna())
        axes.plot(line.index, line, color=LIGHT[colours[name]], linewidth=width)


def draw_weights(axes: Axes, weights: pd.DataFrame) -> None:
    """Draw weights over time as areas stacked to 100%.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    weights : DataFrame of shape (n_sessions, 3)
        Columns equity, bond and cash, indexed by session.
    """
    axes.stackplot(
        weights.index,
        weights[list(AREAS)].to_numpy().T,
        colors=[LIGHT[colour] for colour in AREAS.values()],
        linewidth=0,
        step="post",
    )
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("weight")


def log_scale(axes: Axes) -> None:
    """Show growth of 1 on a log scale, marked with plain numbers, each once."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < _EVEN:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    elif high / low < _FINE:
        axes.yaxis.set_major_locator(
            LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))
        )
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PLAIN)
    axes.set_ylabel("growth of 1, log scale")


def name_spans(axes: Axes, named: Iterable[tuple[str, DateSpan]]) -> None:
    """Write names over shaded spans in a few rows; one without room is left out."""
    first, last = axes.get_xlim()
    ends, letter = [-1.0] * _NAME_ROWS, LETTER / WIDTH
    for name, (start, end) in sorted(named, key=lambda one: one[1]):
        days = mdates.date2num([start, end])  # type: ignore[no-untyped-call]
        middle, half = (days.mean() - first) / (last - first), len(name) * letter / 2
        middle = min(max(middle, half), 1 - half)
        row = next((i for i, right in enumerate(ends) if right < middle - half), None)
        if row is None:
            continue
        ends[row] = middle + half
        place: Any = {"xycoords": "axes fraction", "ha": "center", "fontsize": 8.5}
        axes.annotate(name, (middle, 1.015 + 0.055 * row), **place)


def thinned(series: pd.Series) -> pd.Series:
    """Keep lowest and highest of some hundred stretches of a series, shape (n,)."""
    if len(series) <= _MAX_POINTS:
        return series
    stretch = np.arange(len(series)) * (_MAX_POINTS // 2) // len(series)
    values = series.reset_index(drop=True).groupby(stretch)
    kept = np.union1d(values.idxmin(), values.idxmax())
    return series.iloc[np.union1d(kept, [0, len(series) - 1])]


def shade(axes: Axes, spans: Iterable[DateSpan], *, edge: float = 0.0) -> None:
    """Shade spans; an `edge`, in points, keeps those of a few days visible."""
    for start, end in spans:
        days: Any = (start, end)  # matplotlib converts dates, its types do not say so
        axes.axvspan(*days, color=LIGHT["crisis"], linewidth=edge, zorder=0)
