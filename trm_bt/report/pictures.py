"""Pictures: loss curves as PNG, and charts of a run as SVG that a page colours.

Charts are drawn on bare figures, never through pyplot, so no setting of the caller is
touched. Their colours are stand-ins that become CSS variables, which lets one picture
serve light and dark pages.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from trm_bt.evaluation.metrics import drawdowns
from trm_bt.files import write_atomically
from trm_bt.market.crises import CRISES
from trm_bt.market.feature_table import FEATURES
from trm_bt.market.features import Features
from trm_bt.report.drawing import clean_svg

INKS: Final = {
    "trm": "#0b57a5",
    "spy": "#b3540c",
    "mix": "#4c7a2c",
    "bond": "#7b5ea8",
    "cash": "#9aa1ac",
    "crisis": "#e3c8c7",
    "line": "#dcdfe6",
    "soft": "#555c69",
}
"""Stand-in colours by the CSS variable that replaces each of them."""

WEIGHT_INKS: Final = {"equity": "spy", "bond": "bond", "cash": "cash"}
LINE_INKS: Final = {"trm": "trm", "spy": "spy", "sixty_forty": "mix"}
_MAX_POINTS: Final = 1200

_GROUPS: Final = frozenset(
    {"axes", "figure", "font", "grid", "legend", "lines", "patch", "path", "savefig"}
    | {"svg", "text", "xtick", "ytick"}
)
STYLE: Final[dict[Any, Any]] = {
    # Whatever the reader, or a library that was imported, has set must not show.
    **{k: v for k, v in mpl.rcParamsDefault.items() if k.partition(".")[0] in _GROUPS},
    "font.size": 10.5,
    "text.parse_math": False,
    "axes.edgecolor": INKS["soft"],
    "axes.labelcolor": INKS["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INKS["line"],
    "grid.linewidth": 0.7,
    "text.color": INKS["soft"],
    "xtick.color": INKS["soft"],
    "ytick.color": INKS["soft"],
    "svg.fonttype": "none",
    "path.simplify_threshold": 0.4,
}
Span = tuple[pd.Timestamp, pd.Timestamp]


def equity_chart(equity: pd.DataFrame, crises: Iterable[Span]) -> str:
    """Draw growth of 1 on a log scale above drawdowns, with crises shaded, as SVG.

    Parameters
    ----------
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        Portfolio values at the closes; trm, spy and sixty_forty are drawn.
    crises : iterable of (Timestamp, Timestamp)
        First and last day of each shaded span.
    """
    shown = equity[[name for name in LINE_INKS if name in equity]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.4), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(2.2, 1))
        for name in reversed(shown.columns):
            line = {"color": INKS[LINE_INKS[name]], "linewidth": 1.2}
            thin = thinned(shown[name] / shown[name].iloc[0])
            upper.plot(thin.index, thin, **line)
            under = thinned(drawdowns(shown[name]))
            lower.plot(under.index, under, **line)
        upper.set_yscale("log")
        upper.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        upper.yaxis.set_minor_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        upper.set_ylabel("growth of 1, log scale")
        lower.set_ylabel("drawdown")
        lower.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
        for axes in (upper, lower):
            shade(axes, crises)
            axes.margins(x=0)
        return svg_of(figure)


def weights_chart(weights: pd.DataFrame) -> str:
    """Draw the weights over time as stacked areas, as SVG.

    Parameters
    ----------
    weights : DataFrame of shape (n_sessions, 3)
        Columns equity, bond and cash, index = session; averaged over spans of equal
        length where there are more than a few hundred sessions.
    """
    n_rows = -(-len(weights) // 320)
    position = np.arange(len(weights)) // n_rows
    grouped = weights[list(WEIGHT_INKS)].groupby(position)
    first = weights.index[::n_rows]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.stackplot(
            first,
            grouped.mean().to_numpy().T,
            colors=[INKS[ink] for ink in WEIGHT_INKS.values()],
            linewidth=0,
            step="post",
        )
        axes.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
        axes.set_ylim(0, 1)
        axes.margins(x=0)
        axes.set_ylabel("weight")
        return svg_of(figure)


def loss_curve(
    history: Sequence[Mapping[str, object]],
    yardsticks: Mapping[str, float] | None = None,
) -> bytes:
    """Draw a training history, one panel for each kind of number.

    Parameters
    ----------
    history : sequence of mapping
        One record an epoch; `epoch` is the x axis and every other number a line.
        ``train_loss`` and ``validation_loss`` share the panel ``loss``.
    yardsticks : mapping of str to float, optional
        By panel, a level to hold the lines against, dashed.

    Returns
    -------
    bytes
        A PNG file.
    """
    yardsticks = yardsticks or {}
    records = pd.DataFrame(list(history))
    numbers = records.select_dtypes("number").drop(columns="epoch", errors="ignore")
    epochs = records.get("epoch", pd.Series(range(1, len(records) + 1)))
    panels: dict[str, list[str]] = {}
    for column in numbers.columns:
        panel = column.removeprefix("train_").removeprefix("validation_")
        panels.setdefault(panel, []).append(column)
    n_columns = min(3, max(1, len(panels)))
    n_rows = -(-max(1, len(panels)) // n_columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * n_columns, 2.6 * n_rows), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes, (panel, columns) in zip(grid, panels.items(), strict=False):
            for column in columns:
                ink = INKS["spy" if column.startswith("validation_") else "trm"]
                axes.plot(epochs, numbers[column], color=ink, marker=".", label=column)
            if panel in yardsticks:
                axes.axhline(yardsticks[panel], color=INKS["mix"], linestyle="--")
            axes.set_title(panel.replace("_", " "), fontsize=10)
            axes.set_xlabel("epoch")
            if len(columns) > 1:
                axes.legend(fontsize=8, frameon=False)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        return _png(figure)


def feature_picture(features: Features, out: Path) -> Path:
    """Write a picture of the features, one panel each, with the crises shaded.

    Parameters
    ----------
    features : Features
        Rows and schema; the status of each feature stands over its panel.
    out : Path
        The PNG file to write.

    Returns
    -------
    Path
        `out`.
    """
    frame, status = features.frame, features.schema.status_by_name
    first, last = frame.index[0], frame.index[-1]
    spans = [
        (max(crisis.start, first), min(crisis.end, last))
        for crisis in CRISES
        if crisis.start <= last and crisis.end >= first
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 11), layout="constrained")
        grid = figure.subplots(-(-len(status) // 2), 2, sharex=True).ravel()
        for axes, feature in zip(grid, FEATURES, strict=False):
            kind, line = status[feature.name], thinned(frame[feature.name])
            ink = INKS["trm" if kind == "observed" else "spy"]
            axes.plot(line.index, line, color=ink, linewidth=0.7)
            axes.set_title(feature.label, loc="left", fontsize=11)
            axes.set_title(kind, loc="right", fontsize=10, color=ink)
            shade(axes, spans, edge=0.8)
            axes.margins(x=0)
            if feature.unit == "decimal return":
                axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.suptitle(
            f"{len(status)} features, {first:%Y-%m-%d} to {last:%Y-%m-%d}; "
            "shaded: crises",
            fontsize=12,
        )
        picture = _png(figure)
    write_atomically(out, lambda draft: draft.write_bytes(picture))
    return out


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def thinned(series: pd.Series) -> pd.Series:
    """Keep the lowest and highest value of each of some hundred stretches."""
    if len(series) <= _MAX_POINTS:
        return series
    stretch = np.arange(len(series)) * (_MAX_POINTS // 2) // len(series)
    values = series.reset_index(drop=True).groupby(stretch)
    kept = np.union1d(values.idxmin(), values.idxmax())
    return series.iloc[np.union1d(kept, [0, len(series) - 1])]


def shade(axes: Axes, crises: Iterable[Span], *, edge: float = 0.0) -> None:
    """Shade spans; an `edge`, in points, keeps those of a few days visible."""
    for start, end in crises:
        days: Any = (start, end)  # matplotlib converts dates, its types do not say so
        axes.axvspan(*days, color=INKS["crisis"], linewidth=edge, zorder=0)


def svg_of(figure: Figure) -> str:
    """Return a figure as SVG whose colours are CSS variables."""
    text = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "trm_bt"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = clean_svg(text.getvalue().decode())
    for name, colour in INKS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
