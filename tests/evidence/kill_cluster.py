"""Kill workers, drivers and the scheduler of 40 trainings on a cluster, and compare.

The trainings are done in one process, in two of this machine, and on a Dask cluster of
four worker processes: with two workers killed by SIGKILL; with a worker that is stopped
for a while, and with one that is cut off for good; with the driver killed twice and
started again; and with the scheduler killed, which must end it with one sentence, and a
new cluster. Each must end in the same result files, to the byte, and none that was
there may be written again. Then one training always fails, and one result is of
another hash: both must fail alone. Last, `trm-bt sweep` is killed with its workers.

    python -m tests.evidence.kill_cluster [ATTACK ...]
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path

from tests.evidence import kill_sweep
from tests.evidence.clusters import (
    Cluster,
    Process,
    cluster_of,
    end,
    require,
    wait_until,
)
from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.errors import RunError, TRMError
from trm_bt.executors import Workers, opened, share
from trm_bt.keys import key_of
from trm_bt.learning.workers import Lesson, TrainingJob, train_job
from trm_bt.market.features import FeatureSchema
from trm_bt.tasks import ResultFiles, Task, as_done

N_TASKS = 40
SECONDS_A_TASK = 0.5
SECONDS_STOPPED = 8.0
MODEL = ModelConfig(hidden_dim=16, num_latent_steps=1, num_recursion_cycles=1)
CONFIG = TRMConfig(model=MODEL, training=naming(epochs=1, max_batches_per_epoch=2))


def learn(seed: int, lesson: Lesson) -> bytes:
    """Train a model, and take a while; a negative seed always fails."""
    if seed < 0:
        raise ValueError(f"{seed} is no seed")
    time.sleep(SECONDS_A_TASK)
    model = train_job(TrainingJob(str(seed), slice(None), seed), lesson)
    return b"".join(v.numpy().tobytes() for v in model.parameters.values())


def trainings(pool: Executor, seeds: range) -> list[Task]:
    """Return a task a seed; what they share is sent once."""
    lesson = Lesson(planted_samples(320), FeatureSchema(), CONFIG)
    shared, digest = share(pool, lesson), lesson.samples.features.tobytes()
    settings = CONFIG.to_json()
    return [
        Task(
            f"model {seed}", learn, (seed, shared), key_of(digest, settings, str(seed))
        )
        for seed in seeds
    ]


def drive(folder: str, where: str) -> int:
    """Do the tasks that have no result, on a cluster or in so many processes here."""
    runner = Workers("dask", scheduler=where) if ":" in where else int(where)
    try:
        with opened(runner, N_TASKS) as pool:
            tasks = trainings(pool, range(N_TASKS))
            for done in as_done(tasks, pool, results=ResultFiles(Path(folder))):
                if done.error is not None:
                    raise done.error
    except TRMError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


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
        require(process.returncode == 0, f"exit code {process.returncode}: {errors}")


def check(
    name: str, driver: Driver, expected: dict[str, bytes] | None, note: str
) -> None:
    """Print a line, or fail if the results are not those expected."""
    found = driver.results()
    is_same = expected is None or found == expected
    n_found = f"{len(found)}/{N_TASKS}"
    require(len(found) == N_TASKS and is_same, f"{name}: {n_found}, same: {is_same}")
    print(f"{name:<34} {n_found}, same bytes; {note}", flush=True)


@contextmanager
def on_cluster(
    work: Path, name: str, **options: str
) -> Iterator[tuple[Cluster, Driver]]:
    """Yield a new cluster, and the tasks that are sent to it."""
    with cluster_of(4, **options) as cluster:
        yield cluster, Driver(work / name, cluster.address)


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
        process = stop_one(cluster, driver)
        time.sleep(SECONDS_STOPPED)
        cluster.workers[0].send_signal(signal.SIGCONT)
        driver.finish(process)
        note = f"for {SECONDS_STOPPED:.0f} s"
        check("a worker stopped and continued", driver, expected, note)


def worker_cut_off(work: Path, expected: dict[str, bytes]) -> None:
    """Stop a worker until all is done: the scheduler gives its tasks to others."""
    patience = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "15 s"}
    with on_cluster(work, "cut", **patience) as (cluster, driver):
        driver.finish(stop_one(cluster, driver))
        cluster.workers[0].send_signal(signal.SIGCONT)
        note = "given up by the scheduler after 15 s"
        check("a worker cut off for good", driver, expected, note)


def stop_one(cluster: Cluster, driver: Driver) -> Process:
    """Start the tasks, stop a worker at 8 results, and return the driver."""
    process = driver.start()
    driver.wait_for(8)
    cluster.workers[0].send_signal(signal.SIGSTOP)
    return process


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
    require(not again, f"{len(again)} results were done again")


def scheduler_killed(work: Path, expected: dict[str, bytes]) -> None:
    """Kill the scheduler: one sentence, and another cluster goes on."""
    with on_cluster(work, "scheduler") as (cluster, driver):
        process = driver.start()
        driver.wait_for(8)
        end(cluster.scheduler)
        began = time.monotonic()
        _, errors = process.communicate(timeout=120)
        seconds, last = time.monotonic() - began, errors.strip().splitlines()[-1]
        print(f"the scheduler killed: exit code {process.returncode} after", end=" ")
        print(f"{seconds:.1f} s: {last}", flush=True)
        is_told = last.startswith("The workers were lost")
        require(process.returncode == 1 and is_told, errors)
        before = driver.written()
    with on_cluster(work, "scheduler") as (_, driver):
        driver.finish(driver.start())
        require_kept(before, driver.written())
        check("resumed on another cluster", driver, expected, f"{len(before)} kept")


class Poisoning(Executor):
    """Has a cluster answer the task of one key for another."""

    def __init__(self, pool: Executor, poisoned: str) -> None:
        self.pool, self.poisoned = pool, poisoned

    def submit(
        self, function: Callable[..., object], /, key: str, *arguments: object
    ) -> Future:
        """Hand a task on."""
        sent = "f" * 64 if key == self.poisoned else key
        return self.pool.submit(function, sent, *arguments)


def tasks_spoiled(work: Path, expected: dict[str, bytes]) -> None:
    """Let one task fail always, and one answer for another: each ends alone."""
    with on_cluster(work, "spoiled") as (cluster, driver):
        workers = Workers("dask", scheduler=cluster.address)
        with opened(workers, N_TASKS) as pool:
            tasks = trainings(pool, range(-1, N_TASKS))
            results = ResultFiles(driver.out)
            poisoned = Poisoning(pool, tasks[7].key)
            ended = list(as_done(tasks, poisoned, results=results))
            errors = {d.task.name: str(d.error) for d in ended if d.error}
            print(f"failed alone: {errors}")
            require(errors.pop("model -1") == "-1 is no seed", errors)
            require(errors.pop("model 6").endswith("is refused."), errors)
            require(not errors and len(driver.results()) == N_TASKS - 1, errors)
            again = list(as_done(tasks[1:], pool, results=results))
            require(sum(done.is_found for done in again) == N_TASKS - 1, "found")
            check("a failing and a poisoned task", driver, expected, "39, then 40")
            one, other = (results.path(task.key) for task in tasks[1:3])
            shutil.copy(one, other)
            try:
                list(as_done(tasks[1:], pool, results=results))
            except RunError as error:
                print(f"a result file of another task: {error}", flush=True)
            else:
                raise SystemExit("FAILED: the result of another task was taken")


ATTACKS = (
    *(workers_killed, worker_stopped, worker_cut_off, driver_killed),
    *(scheduler_killed, tasks_spoiled, kill_sweep.sweep_killed),
)


def main() -> int:
    """Do the tasks in peace, then under fire."""
    if sys.argv[1:2] == ["--drive"]:
        return drive(*sys.argv[2:])
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        work, began = Path(folder), time.monotonic()
        alone = Driver(work / "alone", "1")
        alone.finish(alone.start())
        expected = alone.results()
        check("one process", alone, None, "what the others are held to")
        local = Driver(work / "local", "2")
        local.finish(local.start())
        check("two processes", local, expected, "no kill")
        for attack in ATTACKS:
            if attack.__name__ in (sys.argv[1:] or [a.__name__ for a in ATTACKS]):
                attack(work, expected)
    print(f"all as it must be, in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
