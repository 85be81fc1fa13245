"""What the model saw in each crisis: the mean z-score of each feature."""

from typing import Final

from markupsafe import Markup

from trm_bt.report.colours import FULL_COLOUR, score_colour
from trm_bt.report.contents import RunContent
from trm_bt.report.templating import fill

_PALEST: Final = 0.4
"""Opacity at full colour: text on it stays readable."""


def seen(page: RunContent) -> Markup:
    """Return the section."""
    shown = [
        (window, window.seen_inside.mean())
        for window in page.windows
        if not window.reason and len(window.seen_inside)
    ]
    return fill("seen", page, seen=shown, tint=tint)


def tint(score: float) -> str:
    """Return a background for a z-score, orange above 0 and blue below.

    Examples
    --------
    >>> tint(3.0), tint(-1.5)
    ('rgb(179 84 11 / 0.40)', 'rgb(11 87 164 / 0.20)')
    """
    red, green, blue = score_colour(is_above=score > 0)
    strength = min(abs(score) / FULL_COLOUR, 1.0) * _PALEST
    return f"rgb({red} {green} {blue} / {strength:.2f})"
