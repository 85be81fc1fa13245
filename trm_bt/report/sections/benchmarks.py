"""The table of a comparison: every strategy by kind, with interval and lead."""

from collections.abc import Mapping
from typing import Final

from markupsafe import Markup

from trm_bt.evaluation.statistics import SET_SIZE
from trm_bt.evaluation.verdict import p_text
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.templating import fill

KINDS: Final[Mapping[str, str]] = {
    "ours": "Ours",
    "fixed": "Fixed mixes",
    "rule": "Rules on past prices",
    "learned": "Trained on the labels",
    "hindsight": "Known only afterwards",
}
"""Headings of the table in its order, by kind of strategy."""


def benchmarks(page: ComparisonContent) -> Markup:
    """Return the section."""
    return fill("benchmarks", page, kinds=KINDS, set_size=SET_SIZE, p_text=p_text)
