"""The top of a run's page: what came out, in words and in six figures."""

from dataclasses import dataclass
from typing import Final

import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.benchmarks import MATCHED, OURS
from trm_bt.figures import number, percent, portion
from trm_bt.market.decisions import IN_SAMPLE
from trm_bt.report.contents import RunContent
from trm_bt.report.headline import constant_mix, contrasts, habit, headline, worth
from trm_bt.report.plain_words import plain_verdict
from trm_bt.report.templating import fill, label
from trm_bt.report.unusual import unusual_inputs
from trm_bt.runfolder.holding import DecisionReport
from trm_bt.runfolder.records import Summary

_TILES: Final = {
    "total_return": ("Total return", percent),
    "cagr": ("CAGR", percent),
    "volatility_annual": ("Annual volatility", percent),
    "sharpe": ("Sharpe ratio", number),
    "max_drawdown": ("Max drawdown", percent),
    "turnover_annual": ("Annual turnover", portion),
}
"""Heading and form of the six figures."""
_BESIDE: Final = {"sixty_forty": "60/40", MATCHED: "its average mix"}


@dataclass(frozen=True)
class Tile:
    """One of the six figures: ours, and what stands beside it by name."""

    name: str
    ours: str
    note: str
    beside: tuple[tuple[str, str], ...]


def opening(page: RunContent) -> Markup:
    """Return the section."""
    summary = page.folder.summary
    chosen = page.decisions["allocation"]
    shares = {
        name: float((chosen == allocation).sum()) / max(len(chosen), 1)
        for allocation, name in enumerate(page.allocations.names)
    }
    sentences = plain_verdict(summary)
    targets = page.decisions.loc[chosen.notna(), ["target_equity", "target_bond"]]
    if constant := constant_mix(targets):
        sentences.insert(0, constant)
    elif habitual := habit(shares):
        sentences.append(habitual)
    sentences += worth(page.judged, page.folder.run.models)
    sentences += unusual_inputs(page.decisions, page.models)
    found = contrasts(summary.strategies, summary.leads)
    return fill(
        "opening",
        page,
        sentences=sentences,
        details=headline(found, summary.out_of_sample),
        tiles=tiles(summary),
        now=page.now,
        since=_since(chosen),
        outside=_outside(page.now),
        knowledge=_knowledge(page.decisions["model"]),
    )


def tiles(summary: Summary) -> list[Tile]:
    """Return the six figures of a run beside 60/40 and its own average mix."""
    figures = summary.strategies
    beside = {name: text for name, text in _BESIDE.items() if name in figures}
    ends = summary.sharpe_intervals.get(OURS)
    interval = f"95% interval {number(ends[0])} to {number(ends[1])}" if ends else ""
    return [
        Tile(
            name=heading,
            ours=form(getattr(figures[OURS], key)),
            note=interval if key == "sharpe" else "",
            beside=tuple(
                (text, form(getattr(figures[name], key)))
                for name, text in beside.items()
            ),
        )
        for key, (heading, form) in _TILES.items()
    ]


def _since(chosen: pd.Series) -> str:
    """Return the session since which the newest allocation has been the likeliest."""
    known = chosen.dropna()
    if known.empty:
        return ""
    other = known.index[(known != known.iloc[-1]).to_numpy(bool)]
    first = known.index[0] if other.empty else known.index[known.index > other[-1]][0]
    return str(first.date())


def _outside(now: DecisionReport | None) -> str:
    """Name the inputs of the last session outside the training range."""
    parts = []
    for name in now.outside if now else ():
        z_score = now.features[name].z_score if now else None
        apart = f" at {number(z_score, 1)} standard deviations" if z_score else ""
        parts.append(f"{label(name)}{apart}")
    return ", ".join(parts)


def _knowledge(models: pd.Series) -> str:
    """Say what the deciding models knew of the sessions that they decided."""
    if models.astype(str).str.endswith(IN_SAMPLE).any():
        return (
            "In sample: some decisions come from a model that was trained on their "
            "outcomes, so these figures say nothing about unseen sessions."
        )
    return "Every decision comes from a model whose training data ended before it."
