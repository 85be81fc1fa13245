"""What a cluster costs: seconds and bytes a task, memory, and the cores it keeps busy.

The scheduler and its two workers are processes of their own, so that the memory shown
is the driver's. Processor seconds depend little on what else the machine does; wall
seconds need it quiet. The last lines say what the figures come to.

    python -m tests.evidence.cluster_overhead
"""

import os
import pickle
import tempfile
import time
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from tests.command_line import SMALL
from tests.evidence.clusters import cluster_of
from trm_bt.config import TRMConfig
from trm_bt.executors import Workers, opened, share
from trm_bt.keys import code_versions
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.workers import Lesson, Packed, TrainingJob, pack, train_job
from trm_bt.market.bars import Bars
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.fold_task import (
    HashedBars,
    decide_fold,
    folds_by_key,
    trained_settings,
)
from trm_bt.runs.request import training_bars
from trm_bt.runs.train import save_trained
from trm_bt.runs.trial import finish_trial
from trm_bt.runs.work import Work, lay_out
from trm_bt.tasks import ResultFiles, Task, as_done, in_order

COUNTS = (100, 1_000, 10_000)
FILES = (100, 1_000, 10_000, 50_000)
N_TRAININGS = 8
N_FOLDS, N_WORKERS = 1_000, 100
GIGABIT = 125e6


def nothing(number: int) -> int:
    """Return at once."""
    return number


def memory() -> float:
    """Return the resident megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def overhead(pool: Executor, n_tasks: int) -> tuple[float, float]:
    """Return wall and own processor seconds a task that does nothing."""
    tasks = (Task(str(number), nothing, (number,)) for number in range(n_tasks))
    began, busy = time.perf_counter(), time.process_time()
    n_done = sum(done.error is None for done in as_done(tasks, pool))
    assert n_done == n_tasks
    wall, busy = time.perf_counter() - began, time.process_time() - busy
    return wall / n_tasks, busy / n_tasks


def print_overhead() -> float:
    """Print what tasks that do nothing cost; return the driver's seconds for one."""
    with (
        cluster_of(2) as cluster,
        opened(Workers("dask", scheduler=cluster.address), 2) as pool,
    ):
        overhead(pool, 100)
        for n_tasks in COUNTS:
            wall, busy = overhead(pool, n_tasks)
            print(
                f"{n_tasks:>6,} tasks that do nothing: {1e3 * wall:.1f} ms each, of "
                f"which the driver {1e3 * busy:.1f} ms; its memory {memory():.0f} MB",
                flush=True,
            )
    return busy


def print_files() -> None:
    """Print what a result file costs beside others."""
    with tempfile.TemporaryDirectory() as folder:
        results, n_there = ResultFiles(Path(folder) / "results"), 0
        for n_files in FILES:
            with results.writing() as write:
                for number in range(n_there, n_files - 100):
                    results.path(f"{number}").touch()
                busy = time.process_time()
                for number in range(n_files - 100, n_files):
                    write(str(number), b"nothing")
                busy = time.process_time() - busy
            n_there = n_files
            print(f"a result file beside {n_files:>6,}: {10 * busy:.2f} ms", flush=True)


def train(job: TrainingJob, lesson: Lesson) -> Packed:
    """Train a model, and return it as it travels."""
    return pack(train_job(job, lesson))


def print_bytes(bars: Bars, work: Work) -> tuple[int, float, float]:
    """Print what travels; return a model's bytes, its training, and the driver's part.

    The driver saves a model, loads it, and decides the sessions of its fold.
    """
    job = TrainingJob("0", slice(None), 0)
    busy = time.process_time()
    model = train_job(job, work.lesson)
    trained = time.process_time() - busy
    back = len(pickle.dumps(pack(model)))
    busy = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(5):
            save_trained(model, work.labels, bars, Path(folder) / str(number))
        saved = (time.process_time() - busy) / 5
        busy = time.process_time()
        for number in range(5):
            loaded = load_checkpoint(Path(folder) / str(number))
            policy = TRMPolicy([loaded], allow_in_sample=True)
            n_decided = len(work.decide(policy, work.splits[-2]))
        decided = (time.process_time() - busy) / 5
    print_sweep_bytes(bars)
    sent = ("", code_versions(), train, job)
    print(f"a training, sent: {len(pickle.dumps(sent)):,} bytes")
    print(f"what all share, once: {len(pickle.dumps(work.lesson)):,} bytes")
    print(f"bars of a sweep, once: {len(pickle.dumps(bars)):,} bytes")
    print(f"a model, back: {back:,} bytes")
    print(
        f"a shipped training of {len(work.labels):,} labels: {trained:.0f} processor "
        f"seconds; to save it with card and picture: {saved:.2f}; to load it and "
        f"decide {n_decided} sessions: {decided:.2f}",
        flush=True,
    )
    return back, trained, saved + decided


def print_sweep_bytes(bars: Bars) -> None:
    """Print what travels of a fold and of a trial, and what a trial takes."""
    seen = HashedBars.of(bars.between("2014-01-01"))
    config = TRMConfig.model_validate(SMALL | {"walkforward": {"n_seeds": 1}})
    settings, folds = trained_settings(config), folds_by_key(seen, config)
    decided = [decide_fold(seen, settings, fold) for fold in folds.values()]
    key, fold = next(iter(folds.items()))
    sent = (key, code_versions(), decide_fold, settings, fold)
    busy = time.process_time()
    trial = finish_trial(seen, config, decided)
    busy = time.process_time() - busy
    print(
        f"a fold of {int(fold.split.mask(seen.bars.sessions).sum())} sessions, sent: "
        f"{len(pickle.dumps(sent)):,} bytes; back: {len(decided[0]):,} bytes"
    )
    print(
        f"a trial of {len(seen.bars.sessions):,} sessions, sent: its folds, "
        f"{sum(map(len, decided)):,} bytes; back: {len(trial):,} bytes of parquet; "
        f"{busy:.1f} processor seconds"
    )


def seconds_of(pool: Executor, lesson: Lesson, n_workers: int) -> tuple[float, float]:
    """Return the wall seconds of some trainings, and how busy they kept the workers."""
    shared = share(pool, lesson)
    jobs = [TrainingJob(str(seed), slice(None), seed) for seed in range(N_TRAININGS)]
    # imports are no part of the work
    in_order([Task(f"w{i}", train, (jobs[0], shared)) for i in range(4)], pool)
    began = time.perf_counter()
    tasks = [Task(job.name, train, (job, shared)) for job in jobs]
    spent = sum(done.seconds for done in as_done(tasks, pool))
    wall = time.perf_counter() - began
    return wall, spent / wall / n_workers


def print_efficiency(lesson: Lesson) -> None:
    """Print how much two workers do of twice what one does."""
    for executor in ("local", "dask"):
        walls, shares = [], []
        for n_workers in (1, 2):
            # a local pool of one would be this process
            with opened(
                Workers("dask", n_workers) if executor == "dask" else n_workers,
                N_TRAININGS,
            ) as pool:
                wall, share_ = seconds_of(pool, lesson, n_workers)
                walls.append(wall)
                shares.append(share_)
        print(
            f"{executor}: {N_TRAININGS} trainings, {walls[0]:.1f} s with one worker, "
            f"{walls[1]:.1f} s with two: efficiency {walls[0] / walls[1] / 2:.2f}; "
            f"both at work {shares[1]:.0%} of the time; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def print_scale(each: float, back: int, trained: float, driven: float) -> None:
    """Print what many folds on many workers come to."""
    n_models = N_FOLDS * TRMConfig().walkforward.n_seeds
    driver = n_models * (each + driven)
    print(
        f"{N_FOLDS:,} folds of {n_models // N_FOLDS} seeds on {N_WORKERS} workers: "
        f"{trained * n_models / N_FOLDS / 60:.1f} core-minutes a fold, workers "
        f"{trained * n_models / N_WORKERS / 60:.0f} minutes; the driver works for "
        f"{driver / 60:.0f} minutes, hands out for {each * n_models:.0f} s, and "
        f"receives {back * n_models / 1e9:.1f} GB, {back * n_models / GIGABIT:.0f} s "
        f"of a gigabit line. It is the narrow place beyond "
        f"{trained / (each + driven):.0f} workers."
    )


def main() -> None:
    """Print a line a figure."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    each = print_overhead()
    print_files()
    request = RunRequest("sample", TRMConfig(), schedule="calendar")
    bars = training_bars(request)
    work = lay_out(request, bars)
    costs = print_bytes(bars, work)
    short = {"epochs": 1}  # a quarter of a shipped training
    training = request.config.training.model_copy(update=short)
    config = request.config.model_copy(update={"training": training})
    print_efficiency(replace(work.lesson, config=config))
    print_scale(each, *costs)
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
