"""The page of a run: verdict, crises, strategies, charts, models and provenance."""

import json
from typing import Any

import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.crises import OUT_OF_SAMPLE
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.report.pictures import equity_chart, weights_chart
from trm_bt.report.reader import RunFolder
from trm_bt.report.templating import environment
from trm_bt.report.verdict import best_and_worst, duels, habit, verdict


def render_index(folder: RunFolder, links: dict[str, str]) -> str:
    """Return the index of a run as one HTML document without outside links.

    Parameters
    ----------
    folder : RunFolder
        The run.
    links : dict of str to str
        Relative link of each crisis that has a tearsheet.
    """
    summary, run = folder.summary, folder.run
    results = duels(summary["strategies"])
    spans = [
        (pd.Timestamp(crisis["start"]), pd.Timestamp(crisis["end"]))
        for crisis in summary["crises"]
        if crisis["covered"]
    ]
    weights = folder.weights[folder.weights["run"] == OUT_OF_SAMPLE]
    decisions = _decision_rows(folder.decisions)
    shares = {
        row["name"]: row["share"]
        for row in decisions
        if row["name"] in ALLOCATION_NAMES
    }
    sentences = [*verdict(results, summary["out_of_sample"]), habit(shares)]
    return (
        environment()
        .get_template("index.html")
        .render(
            summary=summary,
            cash_earned=not summary["cash"].startswith("earned nothing"),
            run=run,
            config=json.dumps(run["config"], indent=2),
            headline=sentences[0],
            details=[sentence for sentence in sentences[1:] if sentence],
            crises=[_crisis_row(crisis, links) for crisis in summary["crises"]],
            strategies=_strategy_rows(summary["strategies"]),
            decisions=decisions,
            equity_svg=Markup(equity_chart(folder.equity, spans)),
            weights_svg=Markup(weights_chart(weights.set_index("session"))),
            seconds=sum(run["seconds"].values()),
        )
    )


def _crisis_row(crisis: dict[str, Any], links: dict[str, str]) -> dict[str, Any]:
    """Return a crisis with its link and the cells of the portfolios shown for it."""
    row = {**crisis, "link": links.get(crisis["name"]), "cells": []}
    if not crisis["covered"]:
        return row
    best, worst = best_and_worst(crisis["total_return"])
    row["cells"] = [
        {
            "name": name if name in (best, worst) else "",
            "total_return": crisis["total_return"][name],
            "max_drawdown": crisis["max_drawdown"][name],
        }
        for name in ("trm", "spy", "sixty_forty", best, worst)
    ]
    return row


def _strategy_rows(strategies: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    mixes = {
        name: "/".join(f"{weight:.0%}".rstrip("%") for weight in weights)
        for name, weights in zip(ALLOCATION_NAMES, ALLOCATION_WEIGHTS, strict=True)
    }
    return [
        {"name": name, "mix": mixes.get(name, ""), **figures}
        for name, figures in strategies.items()
    ]


def _decision_rows(decisions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how often each allocation was the likeliest, abstentions last.

    What was held may differ: a blend holds some of each, a doubtful decision is left.
    """
    asked = decisions.loc[decisions["run"] == OUT_OF_SAMPLE]
    counts = asked["allocation"].value_counts()
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "n_sessions": int(counts.get(allocation, 0)),
            "confidence": _mean(asked, allocation, "confidence"),
            "halt_prob": _mean(asked, allocation, "halt_prob"),
            "n_steps": _mean(asked, allocation, "n_steps"),
        }
        for allocation, name in enumerate(ALLOCATION_NAMES)
    ]
    n_abstained = int(asked["allocation"].isna().sum())
    nothing = {"confidence": None, "halt_prob": None, "n_steps": None}
    rows.append({"name": "abstained (cash)", "n_sessions": n_abstained, **nothing})
    return [{**row, "share": row["n_sessions"] / max(len(asked), 1)} for row in rows]


def _mean(decisions: pd.DataFrame, allocation: int, column: str) -> float | None:
    values = decisions.loc[
        (decisions["allocation"] == allocation).fillna(False), column
    ]
    return float(values.mean()) if len(values) else None
