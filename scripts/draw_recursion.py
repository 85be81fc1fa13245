"""Draw how the network is applied to its own answer, from the default settings.

Run: python scripts/draw_recursion.py [docs/recursion.svg]
"""

import sys
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from trm_bt.config import ModelConfig

DOCS = Path(__file__).parents[1] / "docs"
INK, LATENT, ANSWER, OUTER = "#23282f", "#0b57a5", "#b3540c", "#555c69"


def main() -> None:
    """Write the picture."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "recursion.svg"
    style = {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "recursion"}
    with rc_context(style):
        figure = Figure(figsize=(7.6, 4.0), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 52)
        draw(axes, ModelConfig())
        metadata = {"Date": None} if out.suffix == ".svg" else None
        figure.savefig(out, metadata=metadata, dpi=110)
    print(out)


def draw(axes: Axes, config: ModelConfig) -> None:
    """Draw the states, the two updates, and the loops around them."""
    frame(axes, (18, 4, 62, 46), OUTER)
    frame(axes, (21, 8, 56, 33), LATENT)
    name(axes, 49, 46, f"a pass: {config.num_recursion_cycles} cycles", OUTER)
    n = config.num_latent_steps
    name(axes, 49, 37.5, f"a cycle: update z {n} times, then y once", LATENT)
    box(axes, (1, 26, 13, 9), "x\nfeatures", INK)
    box(axes, (25, 22, 20, 12), f"update z\nfrom x, y, z\n{n} times", LATENT)
    box(axes, (54, 22, 20, 12), "update y\nfrom y, z\nonce", ANSWER)
    arrow(axes, (14, 29), (25, 29), INK)
    arrow(axes, (45, 28), (54, 28), LATENT)
    arrow(axes, (64, 22), (35, 22), ANSWER, bend=-0.4)
    name(axes, 49, 10.5, "y and z go into the next cycle", ANSWER)
    box(axes, (84, 30, 15, 11), "logits of\nthe eight\nallocations", INK)
    box(axes, (84, 12, 15, 9), "halt\nprobability", INK)
    arrow(axes, (74, 29), (84, 34), ANSWER)
    arrow(axes, (80, 18), (84, 18), OUTER)
    arrow(axes, (84, 14), (80, 6), OUTER, bend=-0.2)
    passes = f"below {config.halt_threshold:g}: another pass, "
    passes += f"at most {config.max_supervision_steps}"
    name(axes, 49, 5.6, passes, OUTER)


def frame(axes: Axes, place: tuple[float, float, float, float], color: str) -> None:
    """Draw a dashed frame: left, bottom, width, height."""
    style = {"facecolor": "none", "edgecolor": color, "linestyle": "--"}
    rounded = "round,pad=0,rounding_size=1.5"
    left, bottom, *size = place
    axes.add_patch(FancyBboxPatch((left, bottom), *size, rounded, **style))


def box(
    axes: Axes, place: tuple[float, float, float, float], text: str, color: str
) -> None:
    """Draw a box with its text: left, bottom, width, height."""
    left, bottom, width, height = place
    rounded = "round,pad=0,rounding_size=1"
    style = {"facecolor": "#f2f5f9", "edgecolor": color, "linewidth": 1.3}
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, rounded, **style))
    name(axes, left + width / 2, bottom + height / 2, text, color)


def arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    bend: float = 0.0,
) -> None:
    """Draw an arrow, bent if asked."""
    curve = f"arc3,rad={bend}"
    style = {"arrowstyle": "-|>", "mutation_scale": 12, "color": color}
    axes.add_patch(FancyArrowPatch(start, end, connectionstyle=curve, **style))


def name(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """Write a text around its middle."""
    axes.text(x, y, text, color=color, ha="center", va="center")


if __name__ == "__main__":
    main()
