"""Kill `trm-bt sweep` and its workers, and give the same command again.

One attack of `tests.evidence.kill_cluster`. One point of the grid always fails.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.command_line import write_folder, write_settings
from tests.conftest import make_bars
from tests.evidence.clusters import require, wait_until
from tests.test_interrupts import MAIN, members
from tests.test_sweep import SETTINGS

GRID = {"strategy.decision": ["argmax", "blend"], "training.min_labels": [80, 100_000]}
N_SOUND = 2 * 2 * 2
N_FAILING = 2 * 2 * 2
N_FOLDS = 2 * 2


class Sweep:
    """A command line of `trm-bt sweep`, for one folder."""

    def __init__(self, work: Path, name: str, *options: str) -> None:
        self.out = work / name / "sweep"
        given = ["--grid", str(work / "grid.json"), "--config", str(work / "settings")]
        given += [word for n in "12" for word in ("--bars", str(work / n))]
        given += ["--seeds", "2", "--out", str(self.out), *options]
        self.command = [sys.executable, "-W", "ignore", "-c", MAIN, "sweep", *given]

    def start(self) -> "subprocess.Popen[str]":
        """Start it in a session of its own."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def finish(self) -> str:
        """Run it to its end, which must be a good one; return what it printed."""
        process = self.start()
        out, errors = process.communicate()
        require(process.returncode == 0, errors)
        wait_until(lambda: not members(process.pid), "end of its workers", 30)
        return out

    def kill_at(self, n_results: int) -> int:
        """Start it, kill it and all its workers at so many results; count them."""
        process = self.start()
        wait_until(
            lambda: len(self.written()) >= n_results or process.poll() is not None,
            f"{n_results} results",
        )
        n_processes = len(members(process.pid))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        require(process.returncode == -signal.SIGKILL, process.returncode)
        wait_until(lambda: not members(process.pid), "end of its workers", 30)
        return n_processes

    def written(self) -> dict[str, int]:
        """Return when the result of each fold and of each trial was written."""
        found = self.out.glob("*/*.result")
        return {
            str(path.relative_to(self.out)): path.stat().st_mtime_ns for path in found
        }

    def result(self) -> dict[str, bytes]:
        """Return what must be the same however it came about."""
        names = ["summary.json", "ranking.csv", "index.html"]
        names += self.written()
        return {name: (self.out / name).read_bytes() for name in names}


def sweep_killed(work: Path, _: object) -> None:
    """Kill a sweep and its workers among its folds and its trials, here and on Dask."""
    write_settings(work / "grid.json", GRID)
    write_settings(work / "settings", SETTINGS)
    for n in "12":
        write_folder(work / n, make_bars(200, seed=int(n)))
    alone = Sweep(work, "s1", "--jobs", "1")
    check_table(alone, alone.finish())
    for executor in ("local", "dask"):
        killed = Sweep(work, executor, "--jobs", "2", "--executor", executor)
        before: dict[str, int] = {}
        for n_results in (2, N_FOLDS + 3):
            n_processes = killed.kill_at(n_results)
            kept = killed.written()
            require(before.items() <= kept.items(), "a result was written again")
            before = kept
        killed.finish()
        require(before.items() <= killed.written().items(), "written again")
        found, expected = killed.result(), alone.result()
        names = {*found, *expected}
        other = [name for name in names if found.get(name) != expected.get(name)]
        require(not other, f"not the same bytes: {other}")
        hidden = [path.name for path in killed.out.parent.rglob(".*")]
        require(not hidden, hidden)
        print(
            f"a sweep killed twice, {executor:<5}       {N_SOUND}/{N_SOUND} trials, "
            f"{N_FOLDS} folds, same bytes, page and table too; "
            f"{n_processes} processes killed with it, {len(before)} files kept",
            flush=True,
        )
        shutil.rmtree(killed.out.parent)


def check_table(sweep: Sweep, printed: str) -> None:
    """Fail unless the trials that always fail are named, with their error."""
    summary = json.loads((sweep.out / "summary.json").read_text())
    found = summary["n_trials"], len(summary["failed"])
    require(found == (N_SOUND, N_FAILING), found)
    error = "BarsError: A walk-forward needs 100000 labels"
    words = " ".join(printed.replace("│", " ").split())
    page = (sweep.out / "index.html").read_text()
    require(error in words and page.count(error) == N_FAILING, printed)
    print(f"a sweep: {N_SOUND} trials ranked, {N_FAILING} failed: {error} ...")
