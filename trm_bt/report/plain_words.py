"""The verdict of a run for somebody who has never heard of a Sharpe ratio."""

from collections.abc import Mapping
from typing import Final

from trm_bt.evaluation.benchmarks import MATCHED, OURS
from trm_bt.evaluation.claims import Lead, outcome
from trm_bt.figures import count, number
from trm_bt.report.headline import listed
from trm_bt.runfolder.records import Summary

BESIDE: Final[Mapping[str, str]] = {
    "spy": "SPY",
    "sixty_forty": "60/40",
    MATCHED: "its own average mix",
}
"""What a run is held against in plain words."""
_PUT_IN: Final = 100


def plain_verdict(summary: Summary) -> list[str]:
    """Say what became of some money, and whether luck alone may have made the rest.

    Parameters
    ----------
    summary : Summary
        Figures without a tested lead are said not to be tested.
    """
    span, figures = summary.out_of_sample, summary.strategies
    beside = {name: text for name, text in BESIDE.items() if name in figures}
    became = [
        f"{_became(figures[name].total_return)} in {text}"
        for name, text in beside.items()
    ]
    money = (
        f"{_PUT_IN} invested in TRM on {span.start} became "
        f"{_became(figures[OURS].total_return)} by {span.end}, {count(span.sessions)} "
        f"sessions later, after costs; the same amount became {listed(became)}."
    )
    leads = {text: summary.leads[n] for n, text in beside.items() if n in summary.leads}
    return [_luck(leads), money]


def _luck(leads: Mapping[str, Lead]) -> str:
    """Say over whom the lead is more than luck, and over whom not."""
    if not leads:
        return "No figure here was tested against chance: all of it may be luck."

    by_outcome: dict[str, list[str]] = {}
    for text, lead in leads.items():
        by_outcome.setdefault(outcome(lead), []).append(text)
    said = {
        "ahead": "had a higher risk-adjusted return than {}",
        "behind": "had a lower risk-adjusted return than {}",
        "open": "is not shown to be better or worse than {}: luck could explain the "
        "difference",
    }
    parts = [
        words.format(listed(by_outcome[kind], "or" if kind == "open" else "and"))
        for kind, words in said.items()
        if kind in by_outcome
    ]
    return f"TRM {'; it '.join(parts)}."


def _became(earned: float) -> str:
    return number(_PUT_IN * (1.0 + earned), 0)
