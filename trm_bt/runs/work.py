"""What a run works on: bars with features and labels, laid out in splits."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.learning.dataset import Samples, samples_from_labels
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.splits import (
    CrisisPlan,
    Split,
    before_crises,
    by_calendar,
    plan_crises,
)
from trm_bt.learning.workers import Lesson, TrainingJob
from trm_bt.market.bars import Bars
from trm_bt.market.crises import crises_of
from trm_bt.market.decisions import Decision
from trm_bt.market.features import Features, compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.pooled import Pooled, check_pooled, with_pooled

Seconds = dict[str, float]
"""Wall seconds by stage."""


@dataclass(frozen=True)
class Work:
    """The inputs of a run, and its splits.

    Parameters
    ----------
    request : RunRequest
        Settings and schedule.
    bars : Bars
    features : Features
    labels : DataFrame of shape (n_labels, n_columns)
        What `compute_labels` returns.
    splits : sequence of Split
        At least one.
    plans : sequence of CrisisPlan
        All crises.
    samples : Samples
        The labels as training rows, pooled with those of further universes.
    """

    request: RunRequest
    bars: Bars
    features: Features
    labels: pd.DataFrame
    splits: Sequence[Split]
    plans: Sequence[CrisisPlan]
    samples: Samples

    @property
    def by_calendar(self) -> bool:
        """Whether the splits follow the calendar, not the crises."""
        return self.request.schedule == "calendar"

    @property
    def seeds(self) -> range:
        """The seeds averaged in every split."""
        config = self.request.config
        n_seeds = config.walkforward.n_seeds if self.by_calendar else 1
        return range(config.seed, config.seed + n_seeds)

    @cached_property
    def lesson(self) -> Lesson:
        """What all trainings share."""
        return Lesson(self.samples, self.features.schema, self.request.config)

    def job(self, split: Split, seed: int) -> TrainingJob:
        """Return the training of a model of a split."""
        window = self.request.config.walkforward.window if self.by_calendar else None
        name = f"{split.name} seed {seed}" if self.by_calendar else split.name
        pooled = {
            further: split.rows(rows.known_on, window)
            for further, rows in self.samples.pooled.items()
        }
        own = split.rows(self.samples.known_on, window)
        return TrainingJob(name, own, seed, pooled)

    def check_jobs(self) -> None:
        """Refuse a training of too few labels before any is begun."""
        jobs = (self.job(split, self.seeds[0]) for split in self.splits)
        trainings = (job.samples(self.samples) for job in jobs)
        check_pooled(trainings, self.request.config)

    def decide(self, policy: TRMPolicy, span: Split | CrisisPlan) -> list[Decision]:
        """Decide the sessions of a split or of a crisis."""
        return decide_span(policy, self.features, span)


def decide_span(
    policy: TRMPolicy, features: Features, span: Split | CrisisPlan
) -> list[Decision]:
    """Decide the sessions of a split or of a crisis."""
    frame = features.frame
    rows = frame[span.mask(pd.DatetimeIndex(frame.index))]
    return policy.decide(pd.DatetimeIndex(rows.index), rows.to_numpy())


@contextmanager
def timed(seconds: Seconds, stage: str) -> Iterator[None]:
    """Note the wall seconds of a stage."""
    started = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - started, 2)


def lay_out(
    request: RunRequest,
    bars: Bars,
    seconds: Seconds | None = None,
    pooled: Pooled | None = None,
) -> Work:
    """Compute features and labels, and lay out the splits.

    Parameters
    ----------
    request : RunRequest
        Settings and schedule.
    bars : Bars
        Loaded by it.
    seconds : dict, optional
        Where the time of each stage goes.
    pooled : mapping of str to Bars, optional
        Further universes to train on.

    Raises
    ------
    BarsError
        If no split can be laid out.
    """
    config, seconds = request.config, {} if seconds is None else seconds
    with timed(seconds, "features"):
        features = compute_features(bars, config.features)
    with timed(seconds, "labels"):
        labels = compute_labels(bars, features, config.labels)
        samples = samples_from_labels(labels)
        samples = with_pooled(samples, pooled or {}, features.schema, config)
    return arrange(request, bars, features, labels, samples)


def arrange(
    request: RunRequest,
    bars: Bars,
    features: Features,
    labels: pd.DataFrame,
    samples: Samples,
) -> Work:
    """Lay out the splits of bars with features, labels and rows; see `lay_out`."""
    config = request.config
    features = replace(features, schema=features.schema.choosing(config.labels))
    known_on, crises = samples.known_on, crises_of(request.crises)
    if request.schedule == "calendar":
        sessions = pd.DatetimeIndex(features.frame.index)
        splits = by_calendar(sessions, known_on, config)
        plans = plan_crises(bars.sessions, splits[0].first, crises)
    else:
        minimum = config.training.min_labels
        splits, plans = before_crises(bars.sessions, known_on, minimum, crises)
    if not splits:
        reasons = "; ".join(f"{plan.crisis.name}: {plan.reason}" for plan in plans)
        raise BarsError(
            "The bars must cover at least one crisis with enough history before it, "
            f"and cover none ({reasons})."
        )
    return Work(request, bars, features, labels, splits, plans, samples)
