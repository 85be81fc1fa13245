"""The page of a comparison: verdict, table, tests, breakdowns and charts."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from trm_bt.evaluation.benchmarks import StrategyKind
from trm_bt.evaluation.risk_skill import MODELS
from trm_bt.evaluation.statistics import SET_SIZE
from trm_bt.evaluation.verdict import p_text
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.sections.confusion import confusion
from trm_bt.report.sections.performance import performance
from trm_bt.report.sections.regret import regret
from trm_bt.report.templating import Section, fill, render_page

_KINDS: Final[Mapping[StrategyKind, str]] = {
    "ours": "Ours",
    "fixed": "Fixed mixes",
    "rule": "Rules on past prices",
    "learned": "Trained on the labels",
    "hindsight": "Known only afterwards",
}
"""Headings of the table of strategies in its order, by kind."""
_SECTIONS: Final = (
    Section(partial(fill, "comparison")),
    Section(
        partial(fill, "benchmarks", kinds=_KINDS, set_size=SET_SIZE, p_text=p_text),
        "all",
        "All strategies",
    ),
    Section(performance, "performance", "Growth and lead"),
    Section(partial(fill, "significance")),
    Section(partial(fill, "costs")),
    Section(partial(fill, "periods"), "by-period", "By period"),
    Section(regret, "regret", "Regret"),
    Section(confusion, "decided", "Decisions"),
    Section(partial(fill, "risk_skill", models=MODELS, p_text=p_text), "risk", "Risk"),
)


def render_comparison(content: ComparisonContent) -> str:
    """Return the page of a comparison as one HTML document without outside links."""
    ways = [(content.back, "The run")] if content.back else []
    return render_page(content.title, _SECTIONS, content, ways=ways)
