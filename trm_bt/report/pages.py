"""A run folder's pages: a tearsheet for each crisis, one for all, and their index."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import pandas as pd

from trm_bt.evaluation.crises import OUT_OF_SAMPLE
from trm_bt.evaluation.metrics import (
    drawdowns,
    max_drawdown,
    session_returns,
    total_return,
)
from trm_bt.files import write_text_atomically
from trm_bt.report.index import render_index
from trm_bt.report.reader import RunFolder, read_run
from trm_bt.report.tearsheets import Sheet, returns_from_equity, write_sheet
from trm_bt.report.templating import label, safe_name
from trm_bt.report.verdict import best_and_worst

FOLDER: Final = "tearsheets"
_MIN_SHEETS_PER_JOB: Final = 2
"""A process of its own spends two to three seconds on imports before its first page."""

Progress = Callable[[int, int, str], None]
"""Called with the pages done, the pages in all, and the name of the latest."""


def build(
    run_dir: str | Path, *, jobs: int = 2, progress: Progress | None = None
) -> Path:
    """Write the tearsheets and the index of a run folder.

    With more than one job the tearsheets are made in processes of their own, which
    import the caller's main module: guard a script with ``if __name__ == "__main__"``.

    Parameters
    ----------
    run_dir : str or Path
        Folder with run.json, summary.json and the tables of a run.
    jobs : int
        Processes that make tearsheets at the same time.
    progress : callable, optional
        Called after each page.

    Returns
    -------
    Path
        The index, `run_dir`/index.html.

    Raises
    ------
    RunError
        If a file of the run is missing or damaged.
    """
    folder = read_run(Path(run_dir))
    links = _links(folder.summary["crises"])
    sheets = dict(_sheets(folder, links))
    tell = progress or (lambda done, total, name: None)
    total = len(sheets) + 1
    for done, name in enumerate(_write_all(folder.path, sheets, jobs), 1):
        tell(done, total, name)
    index = folder.path / "index.html"
    write_text_atomically(index, render_index(folder, links))
    tell(total, total, index.name)
    return index


def _links(crises: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return a safe and unique relative link for each crisis that has data."""
    links: dict[str, str] = {}
    taken = {OUT_OF_SAMPLE}
    for crisis in crises:
        if not crisis["covered"]:
            continue
        stem = unique = safe_name(crisis["name"])
        count = 1
        while unique in taken:
            count += 1
            unique = f"{stem}_{count}"
        taken.add(unique)
        links[crisis["name"]] = f"{FOLDER}/{unique}.html"
    return links


def _sheets(folder: RunFolder, links: dict[str, str]) -> Iterator[tuple[str, Sheet]]:
    """Yield each tearsheet with the relative path it is written to."""
    equity, models = folder.equity, folder.run["models"]
    spans = ", ".join(f"{m['name']} (until {m['trained_until']})" for m in models)
    facts = (("Models, and the last session each knew", spans),)
    yield (
        f"{FOLDER}/{OUT_OF_SAMPLE}.html",
        _sheet(folder, "The whole run, out of sample", equity, facts),
    )
    for crisis in folder.summary["crises"]:
        if crisis["name"] in links:
            yield (
                links[crisis["name"]],
                _sheet(
                    folder,
                    label(crisis["name"]),
                    folder.crisis(crisis["name"]),
                    (
                        ("Window", f"{crisis['start']} to {crisis['end']}"),
                        ("Decided by", _decided_by(crisis)),
                    ),
                ),
            )


def _decided_by(crisis: dict[str, Any]) -> str:
    return (
        f"model {crisis['model']}, trained on {crisis['trained_from']} to "
        f"{crisis['trained_until']} (the last session it knew anything of) in "
        f"{crisis['n_optimizer_steps']} optimiser steps"
    )


def _sheet(
    folder: RunFolder,
    title: str,
    equity: pd.DataFrame,
    facts: tuple[tuple[str, str], ...],
) -> Sheet:
    best, worst = best_and_worst({str(n): total_return(equity[n]) for n in equity})
    return Sheet(
        title=title,
        returns=returns_from_equity(equity["trm"]),
        benchmark=returns_from_equity(equity["spy"]),
        facts=(*facts, *_origin(folder.summary)),
        compared=tuple(
            _compared(equity[name], text)
            for name, text in (
                ("trm", label("trm")),
                ("spy", label("spy")),
                ("sixty_forty", label("sixty_forty")),
                (best, f"Best fixed: {label(best)}"),
                (worst, f"Worst fixed: {label(worst)}"),
            )
        ),
        back="../index.html",
        names=(label("trm"), label("spy")),
    )


def _compared(equity: pd.Series, text: str) -> dict[str, object]:
    under = drawdowns(equity)
    return {
        "label": text,
        "total_return": total_return(equity),
        "max_drawdown": max_drawdown(equity),
        "worst_session": float(session_returns(equity).min()),
        "sessions_under_water": int((under < 0).sum()),
    }


def _origin(summary: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Say where the bars come from, what is a proxy, what cash earned, and the seed."""
    bars = summary["bars"]
    source = bars["source"]
    if bars["derived"]:
        source += ". These bars are derived from other series, not quotes of a market."
    declared = (
        (
            f"{label(role)} (proxy)" if entry["status"] == "proxy" else label(role),
            "; ".join([entry["source"], *entry["notes"]]),
        )
        for role, entry in bars["roles"].items()
        if entry["status"] == "proxy" or entry["notes"]
    )
    cash = ("Cash", summary["cash"])
    return ("Bars", source), *declared, cash, ("Seed", str(summary["seed"]))


def _write_all(root: Path, sheets: dict[str, Sheet], jobs: int) -> Iterator[str]:
    """Write every sheet and yield its name when it is there."""
    jobs = min(jobs, len(sheets) // _MIN_SHEETS_PER_JOB)
    if jobs <= 1:
        for name, sheet in sheets.items():
            write_sheet(sheet, root / name)
            yield name
        return
    # Never fork: a parent that has loaded torch may hold its thread pool's locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        tasks = {
            pool.submit(write_sheet, sheet, root / name): name
            for name, sheet in sheets.items()
        }
        for task in as_completed(tasks):
            task.result()
            yield tasks[task]
