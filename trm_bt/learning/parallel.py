"""Train several models side by side, one process and one thread each.

Two trainings of one thread use two cores fully, where one training of two threads
gains a third and, on a busy machine, loses ten times that. A model's bits do not
depend on how many processes there are.
"""

import os
from collections.abc import Sequence
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
_SECONDS_BETWEEN_NEWS = 0.1


@dataclass(frozen=True)
class TrainingJob:
    """One model to train: its name, and every row that it may see."""

    name: str
    samples: Samples


def train_all(
    jobs: Sequence[TrainingJob],
    schema: FeatureSchema,
    config: TRMConfig,
    *,
    n_processes: int | None = None,
    progress: ProgressCallback | None = None,
) -> list[TrainedModel]:
    """Train one model per job, several at a time.

    New processes import the main module, so a script that calls this guards its work
    with ``if __name__ == "__main__":``.

    Parameters
    ----------
    jobs : sequence of TrainingJob
        What to train; the order is that of the result.
    schema : FeatureSchema
        What the features of all jobs mean.
    config : TRMConfig
        Settings and seed of every model.
    n_processes : int, optional
        Models trained at a time, by default one per processor this process may use;
        1 trains in this process.
    progress : callable, optional
        Called in this process with the news of all trainings.

    Returns
    -------
    list of TrainedModel
        One per job, as `train` returns it.

    Raises
    ------
    TRMError
        If a training fails, or its process dies; the others are given up.
    """
    n_processes = min(n_processes or n_available_cpus(), len(jobs))
    if n_processes <= 1:
        return [
            train(job.samples, schema, config, name=job.name, progress=progress)
            for job in jobs
        ]
    try:
        with worker_pool(n_processes) as (pool, news):
            with signals_held_back():
                futures = [pool.submit(_train_job, job, schema, config) for job in jobs]
            _follow(futures, news, progress)
            return [_rebuild(*future.result()) for future in futures]
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
    futures: Sequence[Future[tuple[TrainedModel, _Arrays]]],
    news: "SimpleQueue[Progress]",
    progress: ProgressCallback | None,
) -> None:
    """Pass the news on until all trainings are done; raise when one has failed.

    A process sends its last news before its result, so none is left at the end.
    """
    running = set(futures)
    while running:
        done, running = wait(running, timeout=_SECONDS_BETWEEN_NEWS)
        while not news.empty():
            report = news.get()
            if progress is not None:
                progress(report)
        for future in done:
            future.result()


def _train_job(
    job: TrainingJob, schema: FeatureSchema, config: TRMConfig
) -> tuple[TrainedModel, _Arrays]:
    """Train in a process of its own; parameters travel as plain arrays."""
    trained = train(job.samples, schema, config, name=job.name, progress=send)
    arrays = {name: value.numpy() for name, value in trained.parameters.items()}
    return replace(trained, parameters={}), arrays


def _rebuild(trained: TrainedModel, arrays: _Arrays) -> TrainedModel:
    return replace(
        trained, parameters={k: torch.from_numpy(v) for k, v in arrays.items()}
    )
