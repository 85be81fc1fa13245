"""Train every variant with every seed on every fold, and print the table.

    python -m benchmarks.ablation BARS [--out DIR] [--seeds N] [--processes N]
    python -m benchmarks.ablation BARS --table

Each result is a file of its own in DIR/results, written at once or not at all; a run
that was stopped goes on with what is missing. Cheap variants come first, then all
networks seed by seed, the costliest last: a run that is stopped leaves a fair table.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from benchmarks.ablation.table import render
from benchmarks.ablation.tasks import Task, do, load_folds, plan
from trm_bt.cli.terminal import progress_bars
from trm_bt.files import write_text_atomically
from trm_bt.learning.parallel import n_available_cpus
from trm_bt.learning.workers import signals_held_back, worker_pool


def do_all(tasks: Sequence[Task], folder: Path, n_processes: int) -> None:
    """Do what has no file yet, several tasks at a time."""
    missing = [task for task in tasks if not (folder / task.file_name).exists()]
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


def read_results(folder: Path, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Read the results that are there, in the order of the tasks."""
    files = [folder / task.file_name for task in tasks]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def main() -> None:
    """Do what is missing, then write the log and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", help="folder with SPY, TLT and VIX files, or sample")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=n_available_cpus())
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    tasks = list(plan(load_folds(options.bars), options.seeds))
    results = options.out / "results"
    if not options.table:
        do_all(tasks, results, options.processes)
    found = read_results(results, tasks)
    log = "".join(json.dumps(result) + "\n" for result in found)
    write_text_atomically(options.out / "results.jsonl", log)
    sys.stdout.write(render(found))


if __name__ == "__main__":
    main()
