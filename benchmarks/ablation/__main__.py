"""Train every variant with every seed on every fold, and print the table.

    python -m benchmarks.ablation BARS [--out DIR] [--seeds N] [--processes N]
                                       [--only VARIANT ...]

`--only` without a name trains nothing: the table of what is there.

Each result is a file of its own in DIR/results, written at once or not at all; a run
that was stopped goes on with what is missing. DIR/results.jsonl has a line for each,
without the decisions row by row. Cheap variants come first, then all
networks seed by seed, the costliest last: a run that is stopped leaves a fair table.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from benchmarks.ablation.folds import load_folds, mark_of
from benchmarks.ablation.table import render
from benchmarks.ablation.tasks import Task, do, plan
from trm_bt.cli.terminal import progress_bars
from trm_bt.config import LabelConfig
from trm_bt.errors import RunError
from trm_bt.files import write_text_atomically
from trm_bt.learning.parallel import n_available_cpus
from trm_bt.learning.workers import signals_held_back, worker_pool


def do_all(tasks: Sequence[Task], folder: Path, n_processes: int) -> None:
    """Do what has no file yet, several tasks at a time."""
    missing = [task for task in tasks if read_result(folder, task) is None]
    n_done = len(tasks) - len(missing)
    with progress_bars() as stages, worker_pool(n_processes) as (pool, _):
        with signals_held_back():
            futures = {pool.submit(do, task): task for task in missing}
        for future in as_completed(futures):
            task, result = futures[future], future.result()
            write_text_atomically(folder / task.file_name, json.dumps(result) + "\n")
            n_done += 1
            stages("ablation", n_done, len(tasks))
            stages.say(f"{n_done}/{len(tasks)} {_in_a_line(result)}")


def _in_a_line(result: dict[str, Any]) -> str:
    return (
        f"{result['variant']}, seed {result['seed']}, {result['fold']}: "
        f"accuracy {result['accuracy']:.3f}, log loss {result['log_loss']:.3f}, "
        f"{result['utility'] * 1e4:.2f} bp, {result['cpu_seconds']:.1f} s"
    )


def read_result(folder: Path, task: Task) -> dict[str, Any] | None:
    """Return the result of a task if it is there and was made with its settings."""
    file = folder / task.file_name
    if not file.exists():
        return None
    result: dict[str, Any] = json.loads(file.read_text())
    return result if result["changes"] == task.variant.changes else None


def claim(folder: Path, mark: str) -> None:
    """Make `folder` that of the rows and settings with a mark, unless it is another's.

    Raises
    ------
    RunError
        If it holds results of other rows or settings.
    """
    file = folder / "mark"
    if file.exists() and file.read_text() != mark:
        raise RunError(
            f"{folder}: holds results of other bars or other shipped settings. Give "
            "another --out."
        )
    write_text_atomically(file, mark)


def main() -> None:
    """Do what is missing, then write the log and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", help="folder with SPY, TLT and VIX files, or sample")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=n_available_cpus())
    parser.add_argument("--only", nargs="*", metavar="VARIANT", help="train these")
    options = parser.parse_args()
    fold_of = load_folds(options.bars)
    shipped = fold_of(LabelConfig())
    try:
        claim(options.out, mark_of(shipped))
    except RunError as error:
        parser.error(str(error))
    tasks = list(plan(fold_of, options.seeds))
    folder = options.out / "results"
    wanted = [
        task
        for task in tasks
        if options.only is None or task.variant.name in options.only
    ]
    do_all(wanted, folder, options.processes)
    results = [result for task in tasks if (result := read_result(folder, task))]
    brief = [{k: v for k, v in one.items() if k != "decisions"} for one in results]
    log = "".join(json.dumps(result) + "\n" for result in brief)
    write_text_atomically(options.out / "results.jsonl", log)
    sys.stdout.write(render(results, shipped))


if __name__ == "__main__":
    main()
