"""What a cluster costs: seconds and bytes a task, memory, and the cores it keeps busy.

python -m tests.evidence.cluster_overhead
"""

import os
import pickle
import time
from concurrent.futures import Executor
from pathlib import Path

from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.executors import Workers, opened, share
from trm_bt.learning.workers import Lesson, Packed, TrainingJob, pack, train_job
from trm_bt.market.features import FeatureSchema
from trm_bt.tasks import Task, as_done, code_versions, in_order

COUNTS = (100, 1000, 10_000)
N_TRAININGS = 8


def nothing(number: int) -> int:
    """Return at once."""
    return number


def memory() -> float:
    """Return the resident megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def overhead(pool: Executor, n_tasks: int) -> float:
    """Return seconds a task that does nothing."""
    tasks = (Task(str(number), nothing, (number,)) for number in range(n_tasks))
    began = time.perf_counter()
    n_done = sum(done.error is None for done in as_done(tasks, pool))
    assert n_done == n_tasks
    return (time.perf_counter() - began) / n_tasks


def train(job: TrainingJob, lesson: Lesson) -> Packed:
    """Train a model, and return it as it travels."""
    return pack(train_job(job, lesson))


def train_all(pool: Executor, lesson: Lesson) -> float:
    """Return the wall seconds of some trainings."""
    shared = share(pool, lesson)
    jobs = [TrainingJob(str(seed), slice(None), seed) for seed in range(N_TRAININGS)]
    # imports are no part of the work
    in_order([Task(f"w{i}", train, (jobs[0], shared)) for i in range(4)], pool)
    began = time.perf_counter()
    in_order([Task(job.name, train, (job, shared)) for job in jobs], pool)
    return time.perf_counter() - began


def main() -> None:
    """Print a line a figure."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with opened(Workers("dask", 2), 2) as pool:
        overhead(pool, 50)
        for n_tasks in COUNTS:
            each = overhead(pool, n_tasks)
            print(
                f"{n_tasks:>6} tasks that do nothing: {1000 * each:.2f} ms each, "
                f"driver {memory():.0f} MB",
                flush=True,
            )
    model = ModelConfig(hidden_dim=128)
    config = TRMConfig(model=model, training=naming(epochs=2, max_batches_per_epoch=5))
    lesson = Lesson(planted_samples(2000), FeatureSchema(), config)
    job = TrainingJob("0", slice(None), 0)
    sent = ("", code_versions(), train, job)
    back = train(job, lesson)
    print(
        f"bytes a training: {len(pickle.dumps(sent)):,} sent, "
        f"{len(pickle.dumps(back)):,} back, {len(pickle.dumps(lesson)):,} shared once"
    )
    for executor in ("local", "dask"):
        walls = []
        for n_workers in (1, 2):
            # a local pool of one would be this process
            with opened(
                Workers("dask", n_workers) if executor == "dask" else n_workers,
                N_TRAININGS,
            ) as pool:
                walls.append(train_all(pool, lesson))
        print(
            f"{executor}: {N_TRAININGS} trainings, {walls[0]:.1f} s with one worker, "
            f"{walls[1]:.1f} s with two: efficiency {walls[0] / walls[1] / 2:.2f}",
            flush=True,
        )
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
