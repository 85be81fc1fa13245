"""Kill workers, drivers and the scheduler of a sweep on a cluster, and compare the end.

A sweep of 40 trials runs in one process, in two of this machine, and on a Dask cluster
of four worker processes: with two workers killed by SIGKILL; with a worker that is
stopped for a while; with its own process killed twice and started again; and with the
scheduler killed, which must end it with one sentence, and a new cluster. Each must end
in the same result files, to the byte, and none that was there may be written again.
    python -m tests.evidence.kill_cluster
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.command_line import write_folder
from tests.conftest import make_bars

MAIN = (sys.executable, "-c", "from trm_bt.cli import main; main()")
DASK = (sys.executable, "-m", "dask")
GRID = {
    "strategy.decision": ["argmax", "blend"],
    "strategy.n_averaged": [1, 5],
    "training.learning_rate": [0.0003, 0.001, 0.003, 0.01, 0.03],
}
N_TRIALS = 40
SETTINGS = {
    "model": {"hidden_dim": 16, "num_latent_steps": 1, "num_recursion_cycles": 1},
    "training": {"epochs": 2, "max_batches_per_epoch": 2, "min_labels": 80},
    "walkforward": {"n_seeds": 1},
}
SECONDS_STOPPED = 8.0
Process = subprocess.Popen[str]


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, stack: ExitStack, work: Path, n_workers: int = 4) -> None:
        file = work / "scheduler.json"
        where = ("--scheduler-file", str(file))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        own = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        environment = os.environ | {
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "5"
        }
        self.scheduler = subprocess.Popen(
            (*DASK, "scheduler", *own, *where), env=environment, **quiet
        )
        stack.callback(end, self.scheduler)
        wait_until(file.exists, "a scheduler")
        alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
        self.workers = [
            subprocess.Popen((*DASK, "worker", *alone, *where), cwd=work, **quiet)
            for _ in range(n_workers)
        ]
        for worker in self.workers:
            stack.callback(end, worker)
        self.address: str = json.loads(file.read_text())["address"]


def end(process: Process) -> None:
    """End a process of ours, whatever it does."""
    process.kill()
    process.wait()


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 600.0) -> None:
    """Wait, and fail if it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: no {what} within {seconds:.0f} s")
        time.sleep(0.05)


class Sweep:
    """One sweep in a folder of its own, started as often as it takes."""

    def __init__(self, work: Path, name: str, *options: str) -> None:
        self.out, self.options = work / name / "sweep", options
        self.inputs = work

    def start(self) -> Process:
        """Start the command in a process that leads its own session."""
        given = {
            "--bars": "bars",
            "--grid": "grid.json",
            "--config": "settings.json",
        }
        words = [w for k, v in given.items() for w in (k, str(self.inputs / v))]
        return subprocess.Popen(
            (*MAIN, "sweep", *words, "--seeds", "2", "--out", self.out, *self.options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def written(self) -> dict[str, int]:
        """Return when each result was written."""
        found = (self.out / "results").glob("*.result")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def results(self) -> dict[str, bytes]:
        """Return all results."""
        return {p.name: p.read_bytes() for p in (self.out / "results").glob("*.result")}

    def wait_for(self, n_results: int) -> None:
        """Wait until there are so many results."""
        wait_until(lambda: len(self.written()) >= n_results, f"{n_results} results")

    def finish(self, process: Process) -> None:
        """Wait for a process that must end well."""
        _, errors = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"FAILED: exit code {process.returncode}: {errors}")


def check(
    name: str, sweep: Sweep, expected: dict[str, bytes] | None, note: str
) -> None:
    """Print a line, or fail if the results are not those expected."""
    found = sweep.results()
    is_same = expected is None or found == expected
    if len(found) != N_TRIALS or not is_same:
        raise SystemExit(f"FAILED: {name}: {len(found)} of {N_TRIALS}, same: {is_same}")
    print(f"{name:<42} {len(found)}/{N_TRIALS}, same bytes; {note}", flush=True)


@contextmanager
def on_cluster(work: Path, name: str) -> Iterator[tuple[Cluster, Sweep]]:
    """Yield a new cluster, and a sweep that is sent to it."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as own:
        cluster = Cluster(stack, Path(own))
        options = ("--executor", "dask", "--scheduler", cluster.address)
        yield cluster, Sweep(work, name, *options)


def main() -> None:
    """Sweep in peace, then under fire."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_folder(work / "bars", make_bars(200, seed=1))
        (work / "grid.json").write_text(json.dumps(GRID))
        (work / "settings.json").write_text(json.dumps(SETTINGS))
        alone = Sweep(work, "alone", "--jobs", "1")
        alone.finish(alone.start())
        expected = alone.results()
        check("one process", alone, None, "what the others are held to")
        local = Sweep(work, "local", "--jobs", "2")
        local.finish(local.start())
        check("two processes", local, expected, "no kill")
        for attack in (workers_killed, worker_stopped, driver_killed, scheduler_killed):
            attack(work, expected)


def workers_killed(work: Path, expected: dict[str, bytes]) -> None:
    """Kill two of four workers midway."""
    with on_cluster(work, "workers") as (cluster, sweep):
        process = sweep.start()
        for n_results, worker in zip((8, 16), cluster.workers, strict=False):
            sweep.wait_for(n_results)
            worker.kill()
        sweep.finish(process)
        check("two workers killed", sweep, expected, "at 8 and 16 results")


def worker_stopped(work: Path, expected: dict[str, bytes]) -> None:
    """Stop a worker, as a network that is cut would, and let it go on."""
    with on_cluster(work, "stopped") as (cluster, sweep):
        process = sweep.start()
        sweep.wait_for(8)
        cluster.workers[0].send_signal(signal.SIGSTOP)
        time.sleep(SECONDS_STOPPED)
        cluster.workers[0].send_signal(signal.SIGCONT)
        sweep.finish(process)
        note = f"for {SECONDS_STOPPED:.0f} s"
        check("a worker stopped and continued", sweep, expected, note)


def driver_killed(work: Path, expected: dict[str, bytes]) -> None:
    """Kill the sweep's own process twice; what it had is not done again."""
    with on_cluster(work, "driver") as (_, sweep):
        before: dict[str, int] = {}
        for n_results in (8, 24):
            process = sweep.start()
            sweep.wait_for(n_results)
            end(process)
            kept = sweep.written()
            require_kept(before, kept)
            before = kept
        sweep.finish(sweep.start())
        require_kept(before, sweep.written())
        check(
            "the sweep's process killed twice", sweep, expected, f"{len(before)} kept"
        )


def require_kept(before: dict[str, int], after: dict[str, int]) -> None:
    """Fail if a result that was there has been written again."""
    again = [name for name, when in before.items() if after.get(name) != when]
    if again:
        raise SystemExit(f"FAILED: {len(again)} results were done again")


def scheduler_killed(work: Path, expected: dict[str, bytes]) -> None:
    """Kill the scheduler: one sentence, and another cluster goes on."""
    with on_cluster(work, "scheduler") as (cluster, sweep):
        process = sweep.start()
        sweep.wait_for(8)
        end(cluster.scheduler)
        began = time.monotonic()
        _, errors = process.communicate(timeout=120)
        seconds, last = time.monotonic() - began, errors.strip().splitlines()[-1]
        print(
            f"the scheduler killed: exit code {process.returncode} after "
            f"{seconds:.1f} s: {last}"
        )
        if process.returncode != 1 or not last.startswith(
            "trm-bt: The workers were lost"
        ):
            raise SystemExit(f"FAILED: {errors}")
        before = sweep.written()
    with on_cluster(work, "scheduler") as (_, sweep):
        sweep.finish(sweep.start())
        require_kept(before, sweep.written())
        check("resumed on another cluster", sweep, expected, f"{len(before)} kept")


if __name__ == "__main__":
    main()
