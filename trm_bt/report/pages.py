"""A run folder's pages: a tearsheet for each crisis, one for all, and their index."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from trm_bt.evaluation.crisis_figures import CrisisFigures
from trm_bt.executors import Runner, opened
from trm_bt.files import staged_files, staged_folder
from trm_bt.market.crises import Crisis, check_names
from trm_bt.processes import Progress, no_progress
from trm_bt.reading import TABLE_BYTES, read_text
from trm_bt.report.contents import RunContent
from trm_bt.report.crisis_windows import Window, windows_of
from trm_bt.report.csv_tables import write_csv_tables
from trm_bt.report.index import render_index
from trm_bt.report.models import read_models
from trm_bt.report.run_sheets import run_sheets
from trm_bt.report.sections.whole_run import COMPARISON_LINK, NO_COMPARISON
from trm_bt.report.tearsheets import render_pages
from trm_bt.report.templating import spreadsheet_safe
from trm_bt.runfolder.records import CRISES_TABLE, INDEX, TEARSHEETS
from trm_bt.runfolder.store import read_run
from trm_bt.tasks import Task, as_done

QuantStats = Literal["measures", "full"]
_MIN_SHEETS_PER_JOB: Final = 2
"""A process of its own spends two to three seconds on imports before its first page."""
_PRELOADED: Final = ("quantstats.reports", "trm_bt.report.tearsheets")
_COLUMNS: Final = (
    *("crisis", "start", "end", "sessions", "reason", "models", "strategy"),
    *(field.name for field in fields(CrisisFigures)),
)


def build(
    run_dir: str | Path,
    *,
    crises: Sequence[Crisis] = (),
    executor: Runner = 2,
    quantstats: QuantStats = "measures",
    progress: Progress | None = None,
) -> Path:
    """Write the tearsheets, crises.csv and the index of a run folder.

    More than one process are new ones, which import the caller's main module: guard a
    script with ``if __name__ == "__main__"``.

    Parameters
    ----------
    run_dir : str or Path
        Folder with run.json, summary.json and the tables of a run.
    crises : sequence of Crisis
        Windows of the reader's own, cut from the continuous run and shown after the
        twelve; see `trm_bt.market.crises.read_crises`.
    executor : Executor, Workers or int, optional
        Who makes the tearsheets; a number for so many processes.
    quantstats : {"measures", "full"}
        Whether each tearsheet also links to the page that QuantStats makes of it,
        untouched; such a page asks a site of QuantStats for its icon.
    progress : callable, optional
        Called after each page, with the stage "report".

    Returns
    -------
    Path
        The index, `run_dir`/index.html.

    Raises
    ------
    ConfigError
        If a window bears a name that is taken.
    RunError
        If a file of the run is missing or damaged; its pages stay as they are then.
    """
    check_names(crises)
    folder = read_run(Path(run_dir))
    n_covered = sum(crisis.covered for crisis in folder.summary.crises)
    n_processes = (1 + n_covered + len(crises)) // _MIN_SHEETS_PER_JOB
    # workers get ready beside all of this
    with opened(executor, n_processes, _PRELOADED) as pool:
        models = read_models(folder.path)
        windows = windows_of(folder, models, crises)
        sheets = dict(run_sheets(folder, windows))
        if quantstats == "full":
            sheets = {
                name: replace(sheet, untouched=f"quantstats-{Path(name).name}")
                for name, sheet in sheets.items()
            }
        page = render_index(RunContent(folder, windows, models))
        report, total = progress or no_progress, len(sheets) + 1
        longest_first = sorted(sheets.items(), key=lambda item: -len(item[1].returns))
        tasks = [
            Task(name, render_pages, (sheet, name)) for name, sheet in longest_first
        ]
        with staged_folder(folder.path / TEARSHEETS) as staged:
            for n_done, done in enumerate(as_done(tasks, pool), 1):
                if done.error is not None:
                    raise done.error
                for name, text in done.value.items():
                    (staged / Path(name).name).write_text(text, encoding="utf-8")
                report("report", n_done, total)
    with staged_files(folder.path) as new:
        crisis_frame(windows).to_csv(new / CRISES_TABLE, index=False)
        write_csv_tables(folder, new)
        (new / INDEX).write_text(page, encoding="utf-8")
    report("report", total, total)
    return folder.path / INDEX


def link_comparison(run_dir: Path) -> None:
    """Link the comparison in a run folder from its index, where there is one."""
    index = run_dir / INDEX
    if not index.is_file():
        return
    text = read_text(index, TABLE_BYTES)
    with staged_files(run_dir) as new:
        linked = text.replace(NO_COMPARISON, COMPARISON_LINK, 1)
        (new / INDEX).write_text(linked, encoding="utf-8")


def crisis_frame(windows: Sequence[Window]) -> pd.DataFrame:
    """Return one row per crisis and portfolio, and one for a crisis without data.

    Returns
    -------
    DataFrame of shape (n_rows, 14)
        Columns crisis, start, end, sessions, reason, models, strategy and the fields of
        `CrisisFigures`. No text is a formula.
    """
    rows: list[dict[str, object]] = []
    for window in windows:
        facts: dict[str, object] = {
            "crisis": spreadsheet_safe(window.crisis.name),
            "start": window.start,
            "end": window.end,
            "sessions": window.n_sessions or None,
            "reason": window.reason,
            "models": spreadsheet_safe("; ".join(window.models)),
        }
        rows += [
            {**facts, "strategy": name, **vars(figures)}
            for name, figures in window.figures.items()
        ] or [{**facts, "strategy": ""}]
    counts = dict.fromkeys(("sessions", "sessions_under_water"), "Int64")
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(counts)
