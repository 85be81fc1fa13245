"""The page of a comparison: verdict, table, tests, breakdowns and pictures."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.statistics import SET_SIZE
from trm_bt.evaluation.verdict import p_text
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.report import compare_pictures as pictures
from trm_bt.report.templating import environment, label

KINDS: Final[Mapping[str, str]] = {
    "ours": "Ours",
    "fixed": "Fixed mixes",
    "rule": "Rules on past prices",
    "learned": "Trained on the labels",
    "hindsight": "Known only afterwards",
}


def render_comparison(
    facts: Mapping[str, Any], equity: pd.DataFrame, excess: pd.DataFrame
) -> str:
    """Return the page of a comparison as one HTML document without outside links.

    Parameters
    ----------
    facts : mapping
        What comparison.json holds.
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        Portfolio values at the closes.
    excess : DataFrame of shape (n_sessions, n_strategies)
        Session returns in excess of cash.
    """
    rolling = pictures.rolling_lead_chart(excess)
    drawings = {
        "growth": pictures.growth_chart(equity),
        "drawdown": pictures.drawdown_chart(equity),
        "rolling": rolling or "",
        "regret": pictures.regret_chart(facts["regret_by_year"]),
        "reliability": pictures.reliability_chart(facts["calibration"]),
        "confusion": pictures.confusion_chart(facts["confusion"], ALLOCATION_NAMES),
        "weights": pictures.weights_by_level_chart(facts["weights_by_volatility"]),
    }
    return (
        environment()
        .get_template("templates/compare.html")
        .render(
            facts=facts,
            groups=_groups(facts),
            lines={label(name): ink for name, ink in pictures.LINES.items()},
            pictures={name: Markup(svg) for name, svg in drawings.items()},
            left_out="; ".join(
                f"{label(name)} {why}" for name, why in facts["left_out"].items()
            ),
        )
    )


def _groups(facts: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the table by kind, each with its interval and its lead."""
    tests = facts["tests"] or {"leads": {}, "sharpe_intervals": {}}
    in_set = tests.get("confidence_set") or {}
    groups: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS.values()}
    for name, figures in facts["strategies"].items():
        lead = tests["leads"].get(name)
        row = {
            "name": name,
            **figures,
            "interval": tests["sharpe_intervals"].get(name),
            "lead": lead,
            "p_text": p_text(lead["p_value"]) if lead else None,
            "in_set": in_set[name] > SET_SIZE if name in in_set else None,
        }
        groups[KINDS[figures["kind"]]].append(row)
    return {kind: rows for kind, rows in groups.items() if rows}
