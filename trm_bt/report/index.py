"""The page of a run: verdict, crises, strategies, charts, models and provenance."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any, Final

import numpy as np
import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.metrics import CalibrationBin, calibration
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.report import index_rows as rows
from trm_bt.report.charts import (
    LIBRARY,
    LIBRARY_VERSION,
    chart_data,
    library_parts,
)
from trm_bt.report.compare_pictures import reliability_chart
from trm_bt.report.models import ModelText
from trm_bt.report.pictures import equity_chart, weights_chart
from trm_bt.report.run_pictures import (
    decisions_chart,
    training_chart,
)
from trm_bt.report.templating import environment
from trm_bt.report.verdict import duels, habit, verdict
from trm_bt.report.windows import Window
from trm_bt.runfolder.records import OUT_OF_SAMPLE, Summary
from trm_bt.runfolder.store import RunFolder

_MAX_TRAINING_PANELS: Final = 24


def render_index(
    folder: RunFolder, windows: Sequence[Window], models: Mapping[str, ModelText]
) -> str:
    """Return the index of a run as one HTML document without outside links.

    Parameters
    ----------
    folder : RunFolder
        The run.
    windows : sequence of Window
        The crises, in the order of the table.
    models : mapping of str to ModelText
        What `read_models` returns.
    """
    run = folder.run
    decided = _continuous(folder.decisions)
    weights = _continuous(folder.weights)
    by_allocation = rows.decision_rows(decided)
    shown = [models[m.name] for m in run.models if m.name in models]
    drawn = shown[:_MAX_TRAINING_PANELS]
    reliability = _calibration(decided, folder.labels)
    pictures = _pictures(folder, windows, drawn, reliability)
    tables = {
        "title": _title(windows),
        "crises": [rows.crisis_row(window, run.models) for window in windows],
        "strategies": rows.strategy_rows(folder.summary.strategies),
        "decisions": by_allocation,
        "steps": rows.step_rows(decided),
        "seen": rows.seen_rows(windows),
        "calibration": reliability,
        "models": rows.model_rows(run.models, models),
        "n_models_drawn": len(drawn),
    }
    return (
        environment()
        .get_template("templates/index.html")
        .render(
            pictures={name: Markup(svg) for name, svg in pictures.items()},
            data=chart_data(folder.equity, weights, decided, windows),
            **_facts(folder, by_allocation),
            **tables,
            **page_script(),
        )
    )


def _title(windows: Sequence[Window]) -> str:
    """Name the page after the crises that the run covers, not those it might have."""
    twelve = [window for window in windows if not window.is_own]
    n_covered = sum(not window.reason for window in twelve)
    if n_covered == len(twelve):
        return f"TRM through {n_covered} crises"
    if n_covered == 0:
        return "TRM out of sample"
    return f"TRM through {n_covered} of {len(twelve)} crises"


def _facts(
    folder: RunFolder, by_allocation: Sequence[Mapping[str, Any]]
) -> dict[str, object]:
    """Return what the page says in words: verdict, provenance, settings."""
    summary, run = folder.summary, folder.run
    sentences = _sentences(summary, by_allocation)
    return {
        "summary": summary,
        "run": run,
        "is_walkforward": run.schedule == "calendar",
        "cash_earned": summary.cash_rate.source is not None,
        "config": json.dumps(run.request.config.model_dump(mode="json"), indent=2),
        "headline": sentences[0],
        "details": sentences[1:],
        "seconds": sum(run.seconds.values()),
    }


def _pictures(
    folder: RunFolder,
    windows: Sequence[Window],
    models: Sequence[ModelText],
    reliability: Sequence[CalibrationBin],
) -> dict[str, str]:
    """Return what stands in for the charts, and the pictures beside them, as SVG."""
    spans = [window.span for window in windows if not window.reason]
    return {
        "equity": equity_chart(folder.equity, spans),
        "weights": weights_chart(_continuous(folder.weights)),
        "decisions": decisions_chart(_continuous(folder.decisions)),
        "reliability": reliability_chart(reliability) if reliability else "",
        "training": training_chart(models) if models else "",
    }


def page_script() -> dict[str, object]:
    """Return the scripts of the page, and the policy that lets no other script run."""
    library = library_parts()
    page = (files("trm_bt.report") / "templates/page.js").read_text(encoding="utf-8")
    scripts = (library["script"], page)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return {
        "scripts": [Markup(text) for text in scripts],
        "script_hashes": Markup(hashes),
        "library_style": Markup(library["style"]),
        "library_licence": library["licence"],
        "library": f"{LIBRARY} {LIBRARY_VERSION}",
        "library_kilobytes": round(len(library["script"].encode()) / 1000),
    }


def _continuous(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the continuous run, indexed by session."""
    return table[table["run"] == OUT_OF_SAMPLE].set_index("session")


def _calibration(decided: pd.DataFrame, labels: pd.DataFrame) -> list[CalibrationBin]:
    """Return the calibration over the decisions whose outcome is known."""
    known = decided.dropna(subset=["allocation"]).join(labels["winner"], how="inner")
    is_right = (known["allocation"] == known["winner"]).to_numpy(dtype=bool)
    return calibration(known["confidence"].to_numpy(np.float64), is_right)


def _sentences(
    summary: Summary, by_allocation: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return the verdict, the headline first."""
    shares = {
        row["name"]: row["share"]
        for row in by_allocation
        if row["name"] in ALLOCATION_NAMES
    }
    figures = {name: asdict(f) for name, f in summary.strategies.items()}
    span = summary.out_of_sample.model_dump(mode="json")
    told = [*verdict(duels(figures), span), habit(shares)]
    return [sentence for sentence in told if sentence]
