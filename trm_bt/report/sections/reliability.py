"""How often a decision of each confidence was right."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from trm_bt.evaluation.metrics import CalibrationBin, calibration
from trm_bt.report.colours import LIGHT
from trm_bt.report.contents import RunContent
from trm_bt.report.drawing import PERCENT, as_svg
from trm_bt.report.templating import fill


def reliability(page: RunContent) -> Markup:
    """Return the section, over the decisions whose outcome is known."""
    known = page.judged
    is_right = (known["allocation"] == known["winner"]).to_numpy(dtype=bool)
    bins = calibration(known["confidence"].to_numpy(np.float64), is_right)
    picture = reliability_chart(bins) if bins else ""
    return fill("reliability", page, bins=bins, picture=picture)


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
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    return figure
