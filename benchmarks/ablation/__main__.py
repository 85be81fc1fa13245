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
from pathlib import Path
from typing import Any

from benchmarks.ablation.folds import load_folds, mark_of
from benchmarks.ablation.table import render
from benchmarks.ablation.tasks import do, plan
from benchmarks.resumable import claim, do_all, read_result
from trm_bt.config import LabelConfig
from trm_bt.errors import RunError
from trm_bt.files import write_text_atomically
from trm_bt.learning.parallel import n_available_cpus


def _in_a_line(result: dict[str, Any]) -> str:
    return (
        f"{result['variant']}, seed {result['seed']}, {result['fold']}: "
        f"accuracy {result['accuracy']:.3f}, log loss {result['log_loss']:.3f}, "
        f"{result['utility'] * 1e4:.2f} bp, {result['cpu_seconds']:.1f} s"
    )


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
    do_all(wanted, do, _in_a_line, folder, options.processes)
    results = [result for task in tasks if (result := read_result(folder, task))]
    brief = [{k: v for k, v in one.items() if k != "decisions"} for one in results]
    log = "".join(json.dumps(result) + "\n" for result in brief)
    write_text_atomically(options.out / "results.jsonl", log)
    sys.stdout.write(render(results, shipped))


if __name__ == "__main__":
    main()
