"""The colours of pages and pictures: one table, and what each of them stands for."""

from collections.abc import Mapping
from typing import Final

_TABLE: Final = {
    "paper": ("#ffffff", "#14161a"),
    "card": ("#f6f7f9", "#1d2026"),
    "ink": ("#16181d", "#e9ebef"),
    "soft": ("#555c68", "#a9b0bc"),
    "line": ("#dcdfe5", "#343943"),
    "link": ("#0b57a4", "#7db8f5"),
    "good": ("#0b6b3a", "#6fce96"),
    "bad": ("#a8231c", "#f29188"),
    "mark": ("#7a5200", "#e6b95c"),
    "trm": ("#0b57a4", "#64aef7"),
    "spy": ("#b3540b", "#f0a35e"),
    "mix": ("#4c7a2b", "#9ccb74"),
    "crisis": ("#e3c8c6", "#4c2c2e"),
    "bond": ("#7b5ea7", "#b79be0"),
    "cash": ("#9aa1ab", "#6d7480"),
    "best": ("#a5306b", "#ea8fbe"),
}
LIGHT: Final[Mapping[str, str]] = {name: light for name, (light, _) in _TABLE.items()}
"""By name of the CSS variable; pictures in files have these as well."""
DARK: Final[Mapping[str, str]] = {name: dark for name, (_, dark) in _TABLE.items()}

LINES: Final[Mapping[str, str]] = {"trm": "trm", "spy": "spy", "sixty_forty": "mix"}
"""Strategies that a run's pages draw as lines, with the name of each one's colour."""
IN_ORDER: Final = tuple(LINES.values())
"""Colours of the lines of a page that names its portfolios itself."""
COMPARED: Final[Mapping[str, str]] = {
    "trm": "trm",
    "exposure_matched": "bond",
    "spy": "spy",
    "sixty_forty": "mix",
}
"""The same of a comparison."""
AREAS: Final[Mapping[str, str]] = {"equity": "spy", "bond": "bond", "cash": "cash"}

FULL_COLOUR: Final = 3.0
"""Standard deviations from the mean at which a z-score has its full colour."""


def score_colour(is_above: bool) -> tuple[int, int, int]:
    """Return red, green and blue of a z-score: orange above the mean, blue below."""
    colour = LIGHT["spy" if is_above else "trm"]
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
