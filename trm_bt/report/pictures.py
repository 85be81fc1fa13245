"""Pictures as files: the losses of a training, and the features of some bars."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trm_bt.files import write_atomically
from trm_bt.market._typing import Json
from trm_bt.market.crises import CRISES
from trm_bt.market.feature_table import FEATURES
from trm_bt.market.features import Features
from trm_bt.report.colours import LIGHT
from trm_bt.report.drawing import DRAWING, shade, small_panels, thinned

_HELD: Final = {"accuracy": "majority class", "utility": "best fixed allocation"}
"""What a panel's baseline is."""


def loss_curve(
    history: Sequence[Mapping[str, Json]],
    baselines: Mapping[str, float] | None = None,
    best_epoch: int | None = None,
) -> bytes:
    """Draw a training history, one panel for each kind of number, all explained.

    Parameters
    ----------
    history : sequence of mapping
        One record per epoch; `epoch` is the x axis and every other number a line.
        ``train_loss`` and ``validation_loss`` share the panel ``loss``.
    baselines : mapping of str to float, optional
        By panel, a level to hold the lines against, dashed.
    best_epoch : int, optional
        The epoch that was kept: an upright line in each panel.

    Returns
    -------
    bytes
        A PNG file.
    """
    baselines = baselines or {}
    records = pd.DataFrame(list(history))
    numbers = records.select_dtypes("number").drop(columns="epoch", errors="ignore")
    epochs = records.get("epoch", pd.Series(range(1, len(records) + 1)))
    panels: dict[str, list[str]] = {}
    for column in numbers.columns:
        panel = column.removeprefix("train_").removeprefix("validation_")
        panels.setdefault(panel, []).append(column)
    with mpl.rc_context(DRAWING):
        figure, grid = small_panels(max(1, len(panels)), 3, 3.6, 2.6, bottom=0.48)
        for axes, (panel, columns) in zip(grid, panels.items(), strict=False):
            for column in columns:
                is_validation = column.startswith("validation_")
                colour = LIGHT["spy" if is_validation else "trm"]
                name = "validation" if is_validation else "training"
                axes.plot(epochs, numbers[column], color=colour, marker=".", label=name)
            if panel in baselines:
                held = _HELD.get(panel, "baseline")
                level = baselines[panel]
                axes.axhline(level, label=held, color=LIGHT["mix"], linestyle="--")
            if best_epoch is not None:
                kept = f"kept: epoch {best_epoch}"
                axes.axvline(best_epoch, label=kept, color=LIGHT["soft"], linestyle=":")
            axes.set_title(panel.replace("_", " "), fontsize=10)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.legend(fontsize=8, frameon=False)
        return _png(figure)


def feature_picture(features: Features, out: Path) -> None:
    """Write a picture of the features, one panel each, with the crises shaded.

    Parameters
    ----------
    features : Features
        Rows and schema; the status of each feature stands over its panel.
    out : Path
        The PNG file to write.
    """
    frame, status = features.frame, features.schema.status_by_name
    first, last = frame.index[0], frame.index[-1]
    spans = [
        (max(crisis.start, first), min(crisis.end, last))
        for crisis in CRISES
        if crisis.start <= last and crisis.end >= first
    ]
    with mpl.rc_context(DRAWING):
        figure = Figure(figsize=(12, 11), layout="constrained")
        grid = figure.subplots(-(-len(status) // 2), 2, sharex=True).ravel()
        for axes, feature in zip(grid, FEATURES, strict=False):
            kind, line = status[feature.name], thinned(frame[feature.name])
            colour = LIGHT["trm" if kind == "observed" else "spy"]
            axes.plot(line.index, line, color=colour, linewidth=0.7)
            axes.set_title(feature.label, loc="left", fontsize=11)
            axes.set_title(kind, loc="right", fontsize=10, color=colour)
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


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()
