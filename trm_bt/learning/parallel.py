"""Train several models side by side, one process and one thread each.

Two trainings of one thread use two cores fully, where one training of two threads
gains a third and, on a busy machine, loses ten times that. A model's bits do not
depend on how many processes there are.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.queues import SimpleQueue

import numpy as np
import torch

from trm_bt.config import TRMConfig
from trm_bt.errors import TRMError
from trm_bt.learning.dataset import Samples
from trm_bt.learning.records import Progress, ProgressCallback, TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.learning.workers import send, signals_held_back, worker_pool
from trm_bt.market.features import FeatureSchema

_Arrays = dict[str, np.ndarray]
_Result = tuple[TrainedModel, _Arrays]
_SECONDS_BETWEEN_NEWS = 0.1


@dataclass(frozen=True)
class TrainingJob:
    """One model to train: its name, every row that it may see, and its seed."""

    name: str
    samples: Samples
    seed: int | None = None

    def settings(self, config: TRMConfig) -> TRMConfig:
        """Return the settings with the job's own seed, if it has one."""
        if self.seed is None:
            return config
        return config.model_copy(update={"seed": self.seed})


def train_all(
    jobs: Sequence[TrainingJob],
    schema: FeatureSchema,
    config: TRMConfig,
    *,
    n_processes: int | None = None,
    progress: ProgressCallback | None = None,
) -> list[TrainedModel]:
    """Train one model per job, as `train_each` does; return them in the jobs' order."""
    trained = train_each(
        jobs, schema, config, n_processes=n_processes, progress=progress
    )
    by_name = {model.name: model for model in trained}
    return [by_name[job.name] for job in jobs]


def train_each(
    jobs: Sequence[TrainingJob],
    schema: FeatureSchema,
    config: TRMConfig,
    *,
    n_processes: int | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[TrainedModel]:
    """Train one model per job, several at a time, and yield each when it is done.

    New processes import the main module, so a script that calls this guards its work
    with ``if __name__ == "__main__":``.

    Parameters
    ----------
    jobs : sequence of TrainingJob
        What to train, each under a name of its own.
    schema : FeatureSchema
        What the features of all jobs mean.
    config : TRMConfig
        Settings of every model, and the seed of those whose job has none.
    n_processes : int, optional
        Models trained at a time, by default one per processor this process may use;
        1 trains in this process.
    progress : callable, optional
        Called in this process with the news of all trainings.

    Yields
    ------
    TrainedModel
        One per job, in the order in which they are done.

    Raises
    ------
    TRMError
        If a training fails, or its process dies; the others are given up.
    """
    n_processes = min(n_processes or n_available_cpus(), len(jobs))
    if n_processes <= 1:
        for job in jobs:
            yield _train_here(job, schema, config, progress)
        return
    try:
        with worker_pool(n_processes) as (pool, news):
            with signals_held_back():
                running = {pool.submit(_train_job, job, schema, config) for job in jobs}
            for trained in _follow(running, news, progress):
                yield _rebuild(*trained)
    except BrokenProcessPool as error:
        raise TRMError(
            "A training process ended before its model was done, perhaps for want "
            "of memory. Close other programs and run again."
        ) from error


def n_available_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _follow(
    running: set[Future[_Result]],
    news: "SimpleQueue[Progress]",
    progress: ProgressCallback | None,
) -> Iterator[_Result]:
    """Pass the news on and yield the results; raise when a training has failed.

    A process sends its last news before its result, so none is left at the end. A
    result that was yielded is not kept: models of a long walk-forward would pile up.
    """
    while running:
        done, _ = wait(running, timeout=_SECONDS_BETWEEN_NEWS)
        while not news.empty():
            report = news.get()
            if progress is not None:
                progress(report)
        running -= done
        while done:
            yield done.pop().result()


def _train_job(job: TrainingJob, schema: FeatureSchema, config: TRMConfig) -> _Result:
    """Train in a process of its own; parameters travel as plain arrays."""
    trained = _train_here(job, schema, config, send)
    arrays = {name: value.numpy() for name, value in trained.parameters.items()}
    return replace(trained, parameters={}), arrays


def _train_here(
    job: TrainingJob,
    schema: FeatureSchema,
    config: TRMConfig,
    progress: ProgressCallback | None,
) -> TrainedModel:
    settings = job.settings(config)
    return train(job.samples, schema, settings, name=job.name, progress=progress)


def _rebuild(trained: TrainedModel, arrays: _Arrays) -> TrainedModel:
    return replace(
        trained, parameters={k: torch.from_numpy(v) for k, v in arrays.items()}
    )
