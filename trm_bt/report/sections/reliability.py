"""How often a decision of each confidence was right."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from trm_bt.evaluation.metrics import CalibrationBin, calibration
from trm_bt.market._typing import FloatArray
from trm_bt.market.temperature import tempered
from trm_bt.report.colours import LIGHT
from trm_bt.report.contents import RunContent
from trm_bt.report.drawing import PERCENT, as_svg
from trm_bt.report.templating import fill
from trm_bt.runfolder.records import ModelRecord


def reliability(page: RunContent) -> Markup:
    """Return the section, over the decisions whose outcome is known."""
    known = page.judged
    is_right = (known["allocation"] == known["winner"]).to_numpy(dtype=bool)
    bins = calibration(known["confidence"].to_numpy(np.float64), is_right)
    temperatures = temperatures_of(known["base_model"], page.folder.run.models)
    cooled: list[CalibrationBin] = []
    if temperatures is not None and bins:
        probs = known[page.allocations.columns("prob")].to_numpy(np.float64)
        cooled = calibration(tempered(probs, temperatures).max(axis=1), is_right)
    return fill(
        "reliability",
        page,
        tables={"calibration": bins, "calibrated": cooled},
        picture=reliability_chart(bins) if bins else "",
        after=reliability_chart(cooled) if cooled else "",
        gaps=[calibration_error(some) for some in (bins, cooled)],
    )


def temperatures_of(
    base_models: pd.Series, models: Sequence[ModelRecord]
) -> FloatArray | None:
    """Return the temperature of each decision, None if a model has none.

    Models that know the same labels are an ensemble, whose temperature is the geometric
    mean of theirs.

    Parameters
    ----------
    base_models : Series of shape (n_decisions,)
        Name of the deciding model.
    models : sequence of ModelRecord
        The models of the run.
    """
    if any(model.temperature is None for model in models):
        return None
    known = pd.DataFrame(
        {"until": [m.trained_until for m in models]}, [m.name for m in models]
    )
    known["log"] = np.log([m.temperature or np.nan for m in models])
    means = np.exp(known.groupby("until")["log"].transform("mean"))
    return base_models.map(means).to_numpy(np.float64)


def calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """Return the mean distance of confidence from the share right; None without bins.

    Examples
    --------
    >>> sure = CalibrationBin(0.9, 1.0, 30, 1.0, 0.5)
    >>> calibration_error([sure, CalibrationBin(0.0, 0.1, 10, 0.0, 0.0)])
    0.375
    """
    n_sessions = sum(row.sessions for row in bins)
    apart = (row.sessions * abs(row.confidence - row.accuracy) for row in bins)
    return sum(apart) / n_sessions if n_sessions else None


@as_svg
def reliability_chart(bins: Sequence[CalibrationBin]) -> Figure:
    """Draw how often the allocator was right at each confidence."""
    confidence = [row.confidence for row in bins]
    accuracy = [row.accuracy for row in bins]
    most = max((row.sessions for row in bins), default=1)
    sizes = [12 + 120 * row.sessions / most for row in bins]
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=LIGHT["soft"], linewidth=0.8, linestyle="--")
    axes.plot(confidence, accuracy, color=LIGHT["trm"], linewidth=1.0)
    axes.scatter(confidence, accuracy, s=sizes, color=LIGHT["trm"])
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    return figure
