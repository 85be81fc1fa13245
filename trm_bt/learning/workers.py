"""Train several models side by side, one process and one thread each.

Two trainings of one thread use two cores fully, where one training of two threads
gains a third and, on a busy machine, loses ten times that. A model's bits do not
depend on the number of processes.

Workers end with the work: they hold one end of a pipe, their lifeline, and exit at once
when the other end is closed, by their parent when it needs them no more, or by its
death. Torch is imported late, so that a worker can exit while it imports it.
"""

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.queues import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

import numpy as np

from trm_bt.errors import TRMError

if TYPE_CHECKING:
    from trm_bt.config import TRMConfig
    from trm_bt.learning.dataset import Samples
    from trm_bt.learning.records import (
        ProgressCallback,
        TrainedModel,
        TrainingProgress,
    )
    from trm_bt.market.features import FeatureSchema

_Arrays = dict[str, np.ndarray]
_SECONDS_BETWEEN_NEWS: Final = 0.1
_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM}
_HAS_MASKS: Final = hasattr(signal, "pthread_sigmask")  # Windows has none.
_news: "SimpleQueue[TrainingProgress] | None" = None
"""Set once in each worker."""


@dataclass(frozen=True)
class TrainingJob:
    """One model to train.

    Parameters
    ----------
    name : str
        Name of the model, different from that of every other job.
    samples : Samples
        Every row that the model may see.
    seed : int, optional
        Seed of the model; that of the settings if it is None.
    """

    name: str
    samples: "Samples"
    seed: int | None = None


def train_each(
    jobs: Sequence[TrainingJob],
    schema: "FeatureSchema",
    config: "TRMConfig",
    *,
    n_processes: int | None = None,
    progress: "ProgressCallback | None" = None,
) -> "Generator[TrainedModel, None, None]":
    """Train one model per job, several at a time, and yield each when it is done.

    New processes import the main module, so a script that calls this guards its work
    with ``if __name__ == "__main__":``.

    Parameters
    ----------
    jobs : sequence of TrainingJob
        What to train.
    schema : FeatureSchema
        What the features of all jobs mean.
    config : TRMConfig
        Settings of every model, and the seed of those whose job has none.
    n_processes : int, optional
        Models trained at a time, by default one per processor this process may use;
        1 trains in this process.
    progress : callable, optional
        Called in this process with the progress of all trainings.

    Yields
    ------
    TrainedModel
        One per job, in the order in which they are done.

    Raises
    ------
    TRMError
        If a training fails, or its process dies; the others are stopped.
    """
    n_processes = min(n_processes or n_available_cpus(), len(jobs))
    if n_processes <= 1:
        for job in jobs:
            yield _train(job, schema, config, progress)
        return
    try:
        with worker_pool(n_processes) as (pool, news):
            with signals_held_back():
                running = {pool.submit(_train_job, job, schema, config) for job in jobs}
            yield from _follow(running, news, progress)
    except BrokenProcessPool as error:
        raise TRMError(
            "A training process ended before its model was done, perhaps because "
            "memory ran out. Close other programs and run again."
        ) from error


def _follow(
    running: "set[Future[tuple[TrainedModel, _Arrays]]]",
    news: "SimpleQueue[TrainingProgress]",
    progress: "ProgressCallback | None",
) -> "Iterator[TrainedModel]":
    """Pass progress on and yield the models; raise when a training has failed.

    A process sends its last progress before its result, so none is left at the end. A
    result that was yielded is not kept: models of a long walk-forward would pile up.
    """
    from torch import from_numpy

    while running:
        done, _ = wait_for(running, timeout=_SECONDS_BETWEEN_NEWS)
        while not news.empty():
            report = news.get()
            if progress is not None:
                progress(report)
        running -= done
        while done:
            model, arrays = done.pop().result()
            parameters = {name: from_numpy(value) for name, value in arrays.items()}
            yield replace(model, parameters=parameters)


def _train_job(
    job: TrainingJob, schema: "FeatureSchema", config: "TRMConfig"
) -> "tuple[TrainedModel, _Arrays]":
    """Train in a process of its own; parameters travel as plain arrays."""
    assert _news is not None
    model = _train(job, schema, config, _news.put)
    arrays = {name: value.numpy() for name, value in model.parameters.items()}
    return replace(model, parameters={}), arrays


def _train(
    job: TrainingJob,
    schema: "FeatureSchema",
    config: "TRMConfig",
    progress: "ProgressCallback | None",
) -> "TrainedModel":
    from trm_bt.learning.trainer import train

    if job.seed is not None:
        config = config.model_copy(update={"seed": job.seed})
    return train(job.samples, schema, config, name=job.name, progress=progress)


def n_available_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def worker_pool(
    n_processes: int,
) -> Iterator[tuple[ProcessPoolExecutor, "SimpleQueue[TrainingProgress]"]]:
    """Yield a pool of new processes, and the queue that their progress arrives in.

    However the block ends, the workers end with it; unfinished work is dropped.

    Parameters
    ----------
    n_processes : int
        Tasks done at a time, at least 1.
    """
    context = multiprocessing.get_context("spawn")
    news: SimpleQueue[TrainingProgress] = context.SimpleQueue()
    ending, lifeline = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        n_processes, context, initializer=_begin, initargs=(news, ending)
    )
    with ending, pool, lifeline:
        yield pool, news


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Submit tasks inside, so that no worker is half started when a signal comes.

    Ctrl-C reaches all processes of a terminal, and only the parent answers it: workers
    ignore it from their first moment. A signal that comes inside the block reaches the
    parent after it.
    """
    if not _HAS_MASKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(news: "SimpleQueue[TrainingProgress]", ending: Connection) -> None:
    """Prepare a worker: where its progress goes, and when it ends."""
    global _news
    _news = news
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    Thread(target=_end_with, args=(ending,), daemon=True).start()


def _end_with(ending: Connection) -> None:
    """End this process, whatever it does, once the lifeline's other end is closed."""
    wait([ending])
    os._exit(1)
