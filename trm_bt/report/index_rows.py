"""The rows of the tables of a run's page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.metrics import StrategyFigures
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.report.cards import card_html
from trm_bt.report.crisis_pictures import FULL_COLOUR
from trm_bt.report.models import ModelText
from trm_bt.report.verdict import best_and_worst
from trm_bt.report.windows import Window
from trm_bt.runfolder.records import ModelRecord

_PALEST: Final = 0.4
"""Opacity at full colour: text on it stays readable."""


def crisis_row(window: Window, told: Sequence[ModelRecord]) -> dict[str, Any]:
    """Return a window with the cells of the portfolios shown for it.

    Parameters
    ----------
    window : Window
        The crisis.
    told : sequence of ModelRecord
        The models of run.json; `until` is the last session the first one knew.
    """
    until = {model.name: model.trained_until for model in told}
    first = next(iter(window.models.values()), "")
    row: dict[str, Any] = {
        "window": window,
        "cells": [],
        "until": until.get(first, ""),
    }
    if window.reason:
        return row
    returns = {name: told["total_return"] for name, told in window.figures.items()}
    best, worst = best_and_worst(returns)
    row["cells"] = [
        {
            "key": key,
            "name": name if key in ("best", "worst") else "",
            "total_return": window.figures[name]["total_return"],
            "max_drawdown": window.figures[name]["max_drawdown"],
        }
        for key, name in (
            ("trm", "trm"),
            ("spy", "spy"),
            ("mix", "sixty_forty"),
            ("best", best),
            ("worst", worst),
        )
    ]
    return row


def strategy_rows(strategies: Mapping[str, StrategyFigures]) -> list[dict[str, Any]]:
    """Return the figures of each strategy with the mix it holds."""
    mixes = {
        name: "/".join(f"{weight:.0%}".rstrip("%") for weight in weights)
        for name, weights in zip(ALLOCATION_NAMES, ALLOCATION_WEIGHTS, strict=True)
    }
    return [
        {"name": name, "mix": mixes.get(name, ""), **asdict(figures)}
        for name, figures in strategies.items()
    ]


def decision_rows(decided: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how often each allocation was the likeliest, abstentions last.

    What was held may differ: a blend holds some of each, a doubtful decision is left.

    Parameters
    ----------
    decided : DataFrame of shape (n_sessions, n_columns)
        Decisions of the continuous run.
    """
    counts = decided["allocation"].value_counts()
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "n_sessions": int(counts.get(allocation, 0)),
            "confidence": _mean(decided, allocation, "confidence"),
            "halt_prob": _mean(decided, allocation, "halt_prob"),
            "n_steps": _mean(decided, allocation, "n_steps"),
        }
        for allocation, name in enumerate(ALLOCATION_NAMES)
    ]
    n_abstained = int(decided["allocation"].isna().sum())
    nothing = {"confidence": None, "halt_prob": None, "n_steps": None}
    rows.append({"name": "abstained (cash)", "n_sessions": n_abstained, **nothing})
    return [{**row, "share": row["n_sessions"] / max(len(decided), 1)} for row in rows]


def _mean(decided: pd.DataFrame, allocation: int, column: str) -> float | None:
    values = decided.loc[(decided["allocation"] == allocation).fillna(False), column]
    return float(values.mean()) if len(values) else None


def step_rows(decided: pd.DataFrame) -> list[dict[str, Any]]:
    """Return on how many decided sessions the recursion took each number of steps."""
    steps = decided.loc[decided["allocation"].notna(), "n_steps"]
    counts = steps.value_counts().sort_index()
    return [
        {"n_steps": n, "n_sessions": count, "share": count / len(steps)}
        for n, count in zip(counts.index.tolist(), counts.tolist(), strict=True)
    ]


def seen_rows(windows: Sequence[Window]) -> dict[str, Any]:
    """Return the mean z-score of each feature in each crisis, and its colour.

    Returns
    -------
    dict
        `features` (names) and `crises`, each with its window and one cell a feature:
        the mean `value` and its `colour` as CSS.
    """
    seen = [w for w in windows if not w.reason and len(w.seen_inside)]
    return {
        "features": list(seen[0].seen.columns) if seen else [],
        "crises": [
            {
                "window": window,
                "cells": [
                    {"value": float(value), "colour": tint(float(value))}
                    for value in window.seen_inside.mean()
                ],
            }
            for window in seen
        ],
    }


def tint(score: float) -> str:
    """Return a background for a z-score, orange above 0 and blue below.

    Examples
    --------
    >>> tint(3.0), tint(-1.5)
    ('rgb(179 84 11 / 0.40)', 'rgb(11 87 164 / 0.20)')
    """
    strength = min(abs(score) / FULL_COLOUR, 1.0) * _PALEST
    colour = "179 84 11" if score > 0 else "11 87 164"
    return f"rgb({colour} / {strength:.2f})"


def model_rows(
    told: Sequence[ModelRecord], models: Mapping[str, ModelText]
) -> list[dict[str, Any]]:
    """Return the models of run.json, each with its card as HTML where there is one."""
    return [
        {
            **model.model_dump(),
            "card": Markup(card_html(models[model.name].card))
            if model.name in models and models[model.name].card
            else "",
        }
        for model in told
    ]
