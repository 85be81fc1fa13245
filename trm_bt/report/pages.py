"""A run folder's pages: a tearsheet for each crisis, one for all, and their index."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import fields, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from trm_bt.evaluation.crisis_figures import CrisisFigures
from trm_bt.files import staged_files, staged_folder
from trm_bt.market.crises import Crisis, check_names
from trm_bt.processes import Progress, no_progress
from trm_bt.reading import TABLE_BYTES, read_text
from trm_bt.report.contents import RunContent, Sheet
from trm_bt.report.crisis_windows import Window, windows_of
from trm_bt.report.csv_tables import write_csv_tables
from trm_bt.report.index import render_index
from trm_bt.report.models import read_models
from trm_bt.report.run_sheets import run_sheets
from trm_bt.report.sections.whole_run import COMPARISON_LINK, NO_COMPARISON
from trm_bt.report.tearsheets import write_sheet
from trm_bt.report.templating import spreadsheet_safe
from trm_bt.runfolder.records import CRISES_TABLE, INDEX, TEARSHEETS
from trm_bt.runfolder.store import read_run

QuantStats = Literal["measures", "full"]
_MIN_SHEETS_PER_JOB: Final = 2
"""A process of its own spends two to three seconds on imports before its first page."""
_PRELOADED: Final = ("quantstats.reports", "trm_bt.report.tearsheets")
_BLAS_THREADS: Final = "OPENBLAS_NUM_THREADS"
_COLUMNS: Final = (
    *("crisis", "start", "end", "sessions", "reason", "models", "strategy"),
    *(field.name for field in fields(CrisisFigures)),
)


def build(
    run_dir: str | Path,
    *,
    crises: Sequence[Crisis] = (),
    jobs: int = 2,
    quantstats: QuantStats = "measures",
    progress: Progress | None = None,
) -> Path:
    """Write the tearsheets, crises.csv and the index of a run folder.

    With more than one job the tearsheets are made in processes of their own, which
    import the caller's main module: guard a script with ``if __name__ == "__main__"``.

    Parameters
    ----------
    run_dir : str or Path
        Folder with run.json, summary.json and the tables of a run.
    crises : sequence of Crisis
        Windows of the reader's own, cut from the continuous run and shown after the
        twelve; see `trm_bt.market.crises.read_crises`.
    jobs : int
        Processes that make tearsheets at the same time.
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
    jobs = min(jobs, (1 + n_covered + len(crises)) // _MIN_SHEETS_PER_JOB)
    context = _context() if jobs > 1 else None  # gets ready beside all of this
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
    with staged_folder(folder.path / TEARSHEETS) as staged:
        tasks = [(sheet, staged / Path(name).name) for name, sheet in sheets.items()]
        for done, _ in enumerate(_written(tasks, jobs, context), 1):
            report("report", done, total)
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
    """Return one row a crisis and portfolio, and one for a crisis without data.

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


def _written(
    tasks: Sequence[tuple[Sheet, Path]], jobs: int, context: BaseContext | None
) -> Iterator[Path]:
    """Write every sheet, in processes of that context if any; yield each file."""
    if context is None:
        for sheet, path in tasks:
            yield write_sheet(sheet, path)
        return
    longest_first = sorted(tasks, key=lambda task: -len(task[0].returns))
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        started = [pool.submit(write_sheet, *task) for task in longest_first]
        for task in as_completed(started):
            yield task.result()


def _context() -> BaseContext:
    """Return how processes are started; never by forking this one.

    A parent that has loaded torch may hold its thread pool's locks. Where there is a
    fork server, it begins at once to import QuantStats, for all of them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing.forkserver import ensure_running

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    with _one_blas_thread():
        ensure_running()
    return context


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Give processes that start meanwhile one BLAS thread each.

    Their matrices are tiny, and threads that wait for more take turns from one another.
    """
    before = os.environ.get(_BLAS_THREADS)
    os.environ[_BLAS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_BLAS_THREADS]
        if before is not None:
            os.environ[_BLAS_THREADS] = before
