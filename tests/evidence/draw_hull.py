"""Draw the eight allocations in the plane of their weights, with their convex hull.

Over a fixed horizon the return of an allocation is linear in its weights: those that
earn the same lie on a line, and the best one is a corner that such a line touches last.
    python -m tests.evidence.draw_hull [docs/allocation_hull.svg]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import ConvexHull

from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS

DOCS = Path(__file__).parents[2] / "docs"
POINTS = ALLOCATION_WEIGHTS[:, :2]
CORNER, INSIDE, HULL, LINE = "#0b57a5", "#b3540c", "#dfe8f3", "#555c69"
OFFSETS = {1: (-8, -14), 2: (-8, -15), 3: (26, 8), 4: (4, 9), 6: (9, -3), 5: (9, -9)}
"""Where a name stands beside its point, in points; above it if not here."""
RIGHT_ALIGNED = {1, 2, 3, 4}


def main() -> None:
    """Write the picture."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "allocation_hull.svg"
    style = {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "hull"}
    with rc_context(style):
        figure = Figure(figsize=(7.6, 4.4), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        corners = draw_hull(axes)
        draw_points(axes, set(corners))
        draw_session(axes, equity=0.01, bond=0.015)
        axes.set_xlabel("weight of SPY")
        axes.set_ylabel("weight of TLT")
        axes.set_xlim(0.14, 1.16)
        axes.set_ylim(0.04, 0.56)
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(False)
        metadata = {"Date": None} if out.suffix == ".svg" else None
        figure.savefig(out, metadata=metadata, dpi=110)
    print(out)


def draw_hull(axes: Axes) -> list[int]:
    """Fill the hull and return the classes at its corners."""
    corners = [int(index) for index in ConvexHull(POINTS).vertices]
    axes.fill(*POINTS[corners].T, facecolor=HULL, edgecolor=CORNER, linewidth=1.2)
    return corners


def draw_points(axes: Axes, corners: set[int]) -> None:
    """Mark every allocation, and say which can win."""
    for index, (point, name) in enumerate(zip(POINTS, ALLOCATION_NAMES, strict=True)):
        is_corner = index in corners
        color = CORNER if is_corner else INSIDE
        axes.plot(*point, "o" if is_corner else "X", color=color, markersize=8)
        axes.annotate(
            f"{index} {name}",
            point,
            OFFSETS.get(index, (8, 4)),
            textcoords="offset points",
            color=color,
            ha="right" if index in RIGHT_ALIGNED else "left",
        )


def draw_session(axes: Axes, *, equity: float, bond: float) -> None:
    """Draw the line of best return of one session, cash at rest."""
    best = (POINTS @ [equity, bond]).max()
    weights = np.array([0.45, 0.84])
    line = (best - equity * weights) / bond
    axes.plot(weights, line, "--", color=LINE, linewidth=1)
    axes.annotate(
        f"equal return where SPY earns {equity:.1%}\nand TLT {bond:.1%}",
        (weights[0], line[0]),
        (10, 2),
        textcoords="offset points",
        color=LINE,
        va="bottom",
    )


if __name__ == "__main__":
    main()
