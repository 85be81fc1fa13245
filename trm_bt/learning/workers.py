"""Train several models side by side; a model's bits do not depend on who trains it.

Torch is imported late, so that a worker can exit while it imports it.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from trm_bt.executors import Runner, opened, share
from trm_bt.tasks import Task, as_done, tell

if TYPE_CHECKING:
    from trm_bt.config import TRMConfig
    from trm_bt.learning.dataset import Samples
    from trm_bt.learning.records import ProgressCallback, TrainedModel, TrainingProgress
    from trm_bt.market.features import FeatureSchema

Packed: TypeAlias = "tuple[TrainedModel, dict[str, np.ndarray]]"
"""A model without its parameters, and these as arrays."""


@dataclass(frozen=True)
class TrainingJob:
    """One model to train.

    Parameters
    ----------
    name : str
        Name of the model, different from that of every other job.
    rows : slice
        The rows that the model may see, of those that all jobs share.
    seed : int, optional
        Seed of the model; that of the settings if it is None.
    pooled : dict of str to slice
        The same of each further universe, by name; all rows of one that is absent.
    """

    name: str
    rows: slice
    seed: int | None = None
    pooled: dict[str, slice] = field(default_factory=dict)

    def samples(self, samples: "Samples") -> "Samples":
        """Return the rows that the model may see."""
        everything = slice(None)
        pooled = {
            name: rows.where(self.pooled.get(name, everything))
            for name, rows in samples.pooled.items()
        }
        return replace(samples.where(self.rows), pooled=pooled)


@dataclass(frozen=True)
class Lesson:
    """What all jobs share: every row, what its features mean, and the settings."""

    samples: "Samples"
    schema: "FeatureSchema"
    config: "TRMConfig"


def train_each(
    jobs: Sequence[TrainingJob],
    lesson: Lesson,
    *,
    executor: Runner = None,
    progress: "ProgressCallback | None" = None,
) -> "Generator[TrainedModel, None, None]":
    """Train one model per job, several at a time, and yield each when it is done.

    New processes import the main module, so a script that calls this guards its work
    with ``if __name__ == "__main__":``.

    Parameters
    ----------
    jobs : sequence of TrainingJob
        What to train.
    lesson : Lesson
        What they share, and the seed of those whose job has none.
    executor : Executor, Workers or int, optional
        Who trains; a number for so many processes, by default one per processor this
        process may use. 1 trains in this process.
    progress : callable, optional
        Called in this process with the progress of all trainings; a cluster reports
        none.

    Yields
    ------
    TrainedModel
        One per job, in the order in which they are done.

    Raises
    ------
    TRMError
        If a training fails, or its process dies; the others are stopped.
    """
    with opened(executor, len(jobs)) as pool:
        shared = share(pool, lesson)
        tasks = [Task(job.name, _train_job, (job, shared)) for job in jobs]
        with closing(as_done(tasks, pool, on_news=progress or _ignore)) as trainings:
            for done in trainings:
                if done.error is not None:
                    raise done.error
                yield unpack(done.value)


def train_job(job: TrainingJob, lesson: Lesson) -> "TrainedModel":
    """Train the model of a job in this process."""
    from trm_bt.learning.trainer import train

    config = lesson.config
    if job.seed is not None:
        config = config.model_copy(update={"seed": job.seed})
    samples = job.samples(lesson.samples)
    return train(samples, lesson.schema, config, name=job.name, progress=tell)


def _train_job(job: TrainingJob, lesson: Lesson) -> "Packed":
    return pack(train_job(job, lesson))


def pack(model: "TrainedModel") -> "Packed":
    """Return a model as it travels between processes: its parameters as plain arrays.

    Torch would share the memory of a tensor with a process that may have ended.
    """
    arrays = {name: value.numpy() for name, value in model.parameters.items()}
    return replace(model, parameters={}), arrays


def unpack(packed: "Packed") -> "TrainedModel":
    """Return a model that has arrived."""
    from torch import from_numpy

    model, arrays = packed
    parameters = {name: from_numpy(value) for name, value in arrays.items()}
    return replace(model, parameters=parameters)


def _ignore(news: "TrainingProgress") -> None:
    """Do nothing with the progress of a training."""
