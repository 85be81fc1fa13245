"""When each model is frozen, so that no crisis is decided by a model that saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from trm_bt.config import TRMConfig
from trm_bt.learning.dataset import known_by, samples_from_labels
from trm_bt.learning.records import ProgressCallback, TrainedModel
from trm_bt.learning.splits import Fold
from trm_bt.learning.workers import TrainingJob, train_each
from trm_bt.market.crises import CRISES, Crisis
from trm_bt.market.features import FeatureSchema

FREEZE_LEAD: Final = 3
"""Sessions from the freeze to the crisis.

A model frozen at the close of session s - 3 first decides at the close of s - 2 and is
invested at the close of s - 1, the base of every crisis figure; s is the first session
of the crisis.
"""


@dataclass(frozen=True)
class CrisisPlan:
    """One crisis and the session after whose close its model stopped learning.

    Parameters
    ----------
    crisis : Crisis
        The window.
    frozen_on : Timestamp or None
        Last session whose bars the model may know; None if the crisis has no model.
    base : Timestamp or None
        Last session before the crisis: its figures start from this close.
    reason : str
        Why the crisis has no model; empty if it has one.
    """

    crisis: Crisis
    frozen_on: pd.Timestamp | None
    base: pd.Timestamp | None
    reason: str = ""


def plan_crises(
    sessions: pd.DatetimeIndex,
    labels: pd.DataFrame,
    min_labels: int,
    crises: Sequence[Crisis] = CRISES,
) -> list[CrisisPlan]:
    """Plan one freeze a crisis, in date order.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions of the bars.
    labels : DataFrame of shape (n_labels, 24)
        What `compute_labels` returns for these bars.
    min_labels : int
        Labels known at the freeze below which no model is trained.
    crises : sequence of Crisis
        The windows.

    Returns
    -------
    list of CrisisPlan
        One per crisis; a crisis that cannot be judged carries the reason.
    """
    plans = []
    for crisis in crises:
        if missing := crisis.missing(sessions):
            plans.append(CrisisPlan(crisis, None, None, missing))
            continue
        first = int(sessions.searchsorted(crisis.start))
        frozen_on = sessions[max(first - FREEZE_LEAD, 0)]
        n_known = int((labels["known_on"] <= frozen_on).sum())
        if n_known < min_labels:
            reason = f"{n_known} labels known before it, a model needs {min_labels}"
            plans.append(CrisisPlan(crisis, None, None, reason))
            continue
        plans.append(CrisisPlan(crisis, frozen_on, sessions[first - 1]))
    return plans


def plan_fold_crises(
    sessions: pd.DatetimeIndex,
    folds: Sequence[Fold],
    crises: Sequence[Crisis] = CRISES,
) -> list[CrisisPlan]:
    """Plan the crises that a walk-forward decides, in date order.

    A crisis has a run if its first decision, two sessions before it, lies in a fold.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions of the bars.
    folds : sequence of Fold
        What `plan_folds` returns.
    crises : sequence of Crisis
        The windows.
    """
    plans = []
    for crisis in crises:
        first = int(sessions.searchsorted(crisis.start))
        if missing := crisis.missing(sessions):
            plans.append(CrisisPlan(crisis, None, None, missing))
        elif first < FREEZE_LEAD or sessions[first - FREEZE_LEAD + 1] < folds[0].first:
            reason = f"before the first fold, which begins {folds[0].first.date()}"
            plans.append(CrisisPlan(crisis, None, None, reason))
        else:
            frozen_on = sessions[first - FREEZE_LEAD]
            plans.append(CrisisPlan(crisis, frozen_on, sessions[first - 1]))
    return plans


def train_before_crises(
    labels: pd.DataFrame,
    schema: FeatureSchema,
    config: TRMConfig,
    plans: Sequence[CrisisPlan],
    *,
    progress: ProgressCallback | None = None,
) -> dict[str, TrainedModel]:
    """Train one model per planned crisis on an expanding window.

    Parameters
    ----------
    labels : DataFrame of shape (n_labels, 24)
        What `compute_labels` returns; a model sees those known on its freeze.
    schema : FeatureSchema
        Schema of the features in `labels`.
    config : TRMConfig
        All settings.
    plans : sequence of CrisisPlan
        What `plan_crises` returns.
    progress : callable, optional
        Called after every optimiser step of every training.

    Returns
    -------
    dict of str to TrainedModel
        By crisis name, in date order.
    """
    samples = samples_from_labels(labels)
    jobs = [
        TrainingJob(plan.crisis.name, known_by(samples, plan.frozen_on))
        for plan in plans
        if plan.frozen_on is not None
    ]
    models = {m.name: m for m in train_each(jobs, schema, config, progress=progress)}
    return {job.name: models[job.name] for job in jobs}
