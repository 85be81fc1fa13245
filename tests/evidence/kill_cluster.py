"""Kill workers, drivers and the scheduler of 40 tasks on a cluster, and compare.

The tasks run in one process, in two of this machine, and on a Dask cluster of four
worker processes: with two workers killed by SIGKILL; with a worker that is stopped for
a while; with the driver killed twice and started again; and with the scheduler killed,
which must end it with one sentence, and a new cluster. Each must end in the same result
files, to the byte, and none that was there may be written again.
    python -m tests.evidence.kill_cluster [ATTACK ...]
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

import numpy as np

from trm_bt.errors import TRMError
from trm_bt.executors import Workers, opened
from trm_bt.tasks import ResultFiles, Task, as_done, key_of

DASK = (sys.executable, "-m", "dask")
N_TASKS = 40
SECONDS_A_TASK = 0.5
SECONDS_STOPPED = 8.0
Process = subprocess.Popen[str]


def draw(seed: int) -> bytes:
    """Return the spectrum of a random matrix, and take a while."""
    time.sleep(SECONDS_A_TASK)
    matrix = np.random.default_rng(seed).normal(size=(60, 60))
    return np.linalg.eigvalsh(matrix @ matrix.T).tobytes()


def drive(folder: str, where: str) -> int:
    """Do the tasks that have no result, on a cluster or in so many processes here."""
    is_address = ":" in where
    runner = Workers("dask", scheduler=where) if is_address else int(where)
    tasks = [Task(f"draw {i}", draw, (i,), key_of(f"draw {i}")) for i in range(N_TASKS)]
    try:
        with opened(runner, N_TASKS) as pool:
            for done in as_done(tasks, pool, results=ResultFiles(Path(folder))):
                if done.error is not None:
                    raise done.error
    except TRMError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


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


class Driver:
    """The tasks with a folder of results of their own, started as often as it takes."""

    def __init__(self, out: Path, where: str) -> None:
        self.out, self.where = out, where

    def start(self) -> Process:
        """Start a process that does what is missing."""
        command = (sys.executable, "-W", "ignore", "-m", "tests.evidence.kill_cluster")
        return subprocess.Popen(
            (*command, "--drive", str(self.out), self.where),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def written(self) -> dict[str, int]:
        """Return when each result was written."""
        found = self.out.glob("*.result")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def results(self) -> dict[str, bytes]:
        """Return all results."""
        return {p.name: p.read_bytes() for p in self.out.glob("*.result")}

    def wait_for(self, n_results: int) -> None:
        """Wait until there are so many results."""
        wait_until(lambda: len(self.written()) >= n_results, f"{n_results} results")

    def finish(self, process: Process) -> None:
        """Wait for a process that must end well."""
        _, errors = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"FAILED: exit code {process.returncode}: {errors}")


def check(
    name: str, driver: Driver, expected: dict[str, bytes] | None, note: str
) -> None:
    """Print a line, or fail if the results are not those expected."""
    found = driver.results()
    is_same = expected is None or found == expected
    if len(found) != N_TASKS or not is_same:
        raise SystemExit(f"FAILED: {name}: {len(found)} of {N_TASKS}, same: {is_same}")
    print(f"{name:<42} {len(found)}/{N_TASKS}, same bytes; {note}", flush=True)


@contextmanager
def on_cluster(work: Path, name: str) -> Iterator[tuple[Cluster, Driver]]:
    """Yield a new cluster, and a sweep that is sent to it."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as own:
        cluster = Cluster(stack, Path(own))
        yield cluster, Driver(work / name, cluster.address)


def main() -> int:
    """Do the tasks in peace, then under fire."""
    if sys.argv[1:2] == ["--drive"]:
        return drive(*sys.argv[2:])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        alone = Driver(work / "alone", "1")
        alone.finish(alone.start())
        expected = alone.results()
        check("one process", alone, None, "what the others are held to")
        local = Driver(work / "local", "2")
        local.finish(local.start())
        check("two processes", local, expected, "no kill")
        attacks = (workers_killed, worker_stopped, driver_killed, scheduler_killed)
        for attack in attacks:
            if attack.__name__ in (sys.argv[1:] or [a.__name__ for a in attacks]):
                attack(work, expected)
    return 0


def workers_killed(work: Path, expected: dict[str, bytes]) -> None:
    """Kill two of four workers midway."""
    with on_cluster(work, "workers") as (cluster, driver):
        process = driver.start()
        for n_results, worker in zip((8, 16), cluster.workers, strict=False):
            driver.wait_for(n_results)
            worker.kill()
        driver.finish(process)
        check("two workers killed", driver, expected, "at 8 and 16 results")


def worker_stopped(work: Path, expected: dict[str, bytes]) -> None:
    """Stop a worker, as a network that is cut would, and let it go on."""
    with on_cluster(work, "stopped") as (cluster, driver):
        process = driver.start()
        driver.wait_for(8)
        cluster.workers[0].send_signal(signal.SIGSTOP)
        time.sleep(SECONDS_STOPPED)
        cluster.workers[0].send_signal(signal.SIGCONT)
        driver.finish(process)
        note = f"for {SECONDS_STOPPED:.0f} s"
        check("a worker stopped and continued", driver, expected, note)


def driver_killed(work: Path, expected: dict[str, bytes]) -> None:
    """Kill the driver twice; what it had is not done again."""
    with on_cluster(work, "driver") as (_, driver):
        before: dict[str, int] = {}
        for n_results in (8, 24):
            process = driver.start()
            driver.wait_for(n_results)
            end(process)
            kept = driver.written()
            require_kept(before, kept)
            before = kept
        driver.finish(driver.start())
        require_kept(before, driver.written())
        check("the driver killed twice", driver, expected, f"{len(before)} kept")


def require_kept(before: dict[str, int], after: dict[str, int]) -> None:
    """Fail if a result that was there has been written again."""
    again = [name for name, when in before.items() if after.get(name) != when]
    if again:
        raise SystemExit(f"FAILED: {len(again)} results were done again")


def scheduler_killed(work: Path, expected: dict[str, bytes]) -> None:
    """Kill the scheduler: one sentence, and another cluster goes on."""
    with on_cluster(work, "scheduler") as (cluster, driver):
        process = driver.start()
        driver.wait_for(8)
        end(cluster.scheduler)
        began = time.monotonic()
        _, errors = process.communicate(timeout=120)
        seconds, last = time.monotonic() - began, errors.strip().splitlines()[-1]
        print(
            f"the scheduler killed: exit code {process.returncode} after "
            f"{seconds:.1f} s: {last}"
        )
        if process.returncode != 1 or not last.startswith("The workers were lost"):
            raise SystemExit(f"FAILED: {errors}")
        before = driver.written()
    with on_cluster(work, "scheduler") as (_, driver):
        driver.finish(driver.start())
        require_kept(before, driver.written())
        check("resumed on another cluster", driver, expected, f"{len(before)} kept")


if __name__ == "__main__":
    raise SystemExit(main())
