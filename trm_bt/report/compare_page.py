"""The page of a comparison: verdict, table, tests, breakdowns and pictures."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.assessment import ComparisonRecord
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
    record: ComparisonRecord, equity: pd.DataFrame, excess: pd.DataFrame
) -> str:
    """Return the page of a comparison as one HTML document without outside links.

    Parameters
    ----------
    record : ComparisonRecord
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
        "regret": pictures.regret_chart(record.regret_by_year),
        "reliability": pictures.reliability_chart(record.calibration),
        "confusion": pictures.confusion_chart(record.confusion, ALLOCATION_NAMES),
        "weights": pictures.weights_by_level_chart(record.weights_by_volatility),
    }
    return (
        environment()
        .get_template("templates/compare.html")
        .render(
            facts=record,
            groups=_groups(record),
            lines={label(name): ink for name, ink in pictures.LINES.items()},
            pictures={name: Markup(svg) for name, svg in drawings.items()},
            left_out="; ".join(
                f"{label(name)} {why}" for name, why in record.left_out.items()
            ),
        )
    )


def _groups(record: ComparisonRecord) -> dict[str, list[dict[str, object]]]:
    """Return the rows of the table by kind, each with its interval and its lead."""
    tests = record.tests
    leads = tests.leads if tests else {}
    in_set = (tests.confidence_set if tests else None) or {}
    groups: dict[str, list[dict[str, object]]] = {kind: [] for kind in KINDS.values()}
    for name, figures in record.strategies.items():
        lead = leads.get(name)
        row = {
            "name": name,
            **asdict(figures),
            "interval": tests.sharpe_intervals.get(name) if tests else None,
            "lead": lead,
            "p_text": p_text(lead.p_value) if lead else None,
            "in_set": in_set[name] > SET_SIZE if name in in_set else None,
        }
        groups[KINDS[figures.kind]].append(row)
    return {kind: rows for kind, rows in groups.items() if rows}
