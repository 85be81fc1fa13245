"""The colours of pages and pictures: one table, and what each of them stands for."""

from collections.abc import Mapping
from typing import Final

LIGHT: Final[Mapping[str, str]] = {
    "paper": "#ffffff",
    "card": "#f6f7f9",
    "ink": "#16181d",
    "soft": "#555c68",
    "line": "#dcdfe5",
    "link": "#0b57a4",
    "good": "#0b6b3a",
    "bad": "#a8231c",
    "mark": "#7a5200",
    "trm": "#0b57a4",
    "spy": "#b3540b",
    "mix": "#4c7a2b",
    "crisis": "#e3c8c6",
    "bond": "#7b5ea7",
    "cash": "#9aa1ab",
}
"""By name of the CSS variable; pictures in files have these as well."""
DARK: Final[Mapping[str, str]] = {
    "paper": "#14161a",
    "card": "#1d2026",
    "ink": "#e9ebef",
    "soft": "#a9b0bc",
    "line": "#343943",
    "link": "#7db8f5",
    "good": "#6fce96",
    "bad": "#f29188",
    "mark": "#e6b95c",
    "trm": "#64aef7",
    "spy": "#f0a35e",
    "mix": "#9ccb74",
    "crisis": "#4c2c2e",
    "bond": "#b79be0",
    "cash": "#6d7480",
}

STRATEGIES: Final[Mapping[str, str]] = {
    "trm": "trm",
    "spy": "spy",
    "sixty_forty": "mix",
    "exposure_matched": "bond",
}
"""Strategies that are drawn as lines, with the name of each one's colour."""
ASSETS: Final[Mapping[str, str]] = {"equity": "spy", "bond": "bond", "cash": "cash"}

FULL_COLOUR: Final = 3.0
"""Standard deviations from the mean at which a z-score has its full colour."""


def score_colour(is_above: bool) -> tuple[int, int, int]:
    """Return red, green and blue of a z-score: orange above the mean, blue below."""
    colour = LIGHT["spy" if is_above else "trm"]
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
