"""The walk-forward: retrain, decide what comes next, and go on; never look back.

Its folder is a run folder that grows: checkpoints first, so that a walk-forward killed
anywhere goes on with those it has, then the tables and pages of a run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from trm_bt import report
from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.config import TRMConfig
from trm_bt.errors import CheckpointError, RunError
from trm_bt.evaluation.recorded import RecordedPolicy
from trm_bt.evaluation.trials import record_run_trial
from trm_bt.evaluation.walkforward import CrisisPlan, plan_fold_crises
from trm_bt.files import exclusive_lock, staged_folder
from trm_bt.learning.checkpoint import is_checkpoint, load_checkpoint
from trm_bt.learning.dataset import samples_from_labels, split_chronologically
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import (
    ProgressCallback,
    TrainedModel,
    TrainingProgress,
)
from trm_bt.learning.splits import Fold, fold_samples, plan_folds
from trm_bt.learning.workers import TrainingJob, train_each
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import Features, compute_features
from trm_bt.processes import Progress, no_progress
from trm_bt.runfolder.records import (
    CHECKPOINTS,
    RUN,
    SUMMARY,
    BarsRecord,
    RunRecord,
    RunRequest,
    Summary,
    versions,
)
from trm_bt.runfolder.store import write_json
from trm_bt.runs.backtests import backtest_all, session_after
from trm_bt.runs.request import requested_bars, timed
from trm_bt.runs.results import model_record, save_labels, save_results, summarize
from trm_bt.runs.train import save_trained

MARKER: Final = "walkforward.json"
DECISIONS: Final = "out_of_sample.parquet"


@dataclass(frozen=True)
class _Work:
    """What a walk-forward works on."""

    request: RunRequest
    bars: Bars
    features: Features
    labels: pd.DataFrame
    folds: Sequence[Fold]
    plans: Sequence[CrisisPlan]
    out: Path

    @property
    def seeds(self) -> range:
        """The seeds averaged in every fold."""
        config = self.request.config
        return range(config.seed, config.seed + config.walkforward.n_seeds)

    def checkpoint(self, fold: Fold, seed: int) -> Path:
        """Return the folder of a fold's model."""
        return self.out / CHECKPOINTS / f"seed_{seed}" / fold.name

    def settings(self, seed: int) -> TRMConfig:
        """Return the settings of a model."""
        return self.request.config.model_copy(update={"seed": seed})

    def crises_of(self, fold: Fold) -> list[CrisisPlan]:
        """Return the crises that the fold's models decide: those begun in it."""
        begun = {
            plan: session_after(self.bars, plan.frozen_on)
            for plan in self.plans
            if plan.frozen_on is not None
        }
        return [p for p, day in begun.items() if fold.first <= day <= fold.last]


@dataclass
class _Told:
    """What the models of the folds said.

    Parameters
    ----------
    by_fold : dict of str to list of Decision
        The decisions of each fold's sessions.
    by_crisis : dict of str to list of Decision
        Those of each crisis, all by the fold in which it begins.
    models : dict of str to list of TrainedModel
        By fold, the models that were averaged, without their parameters.
    deciders : dict of str to TrainedModel
        By crisis, one of the models that decided it, named as their mean.
    """

    by_fold: dict[str, list[Decision]] = field(default_factory=dict)
    by_crisis: dict[str, list[Decision]] = field(default_factory=dict)
    models: dict[str, list[TrainedModel]] = field(default_factory=dict)
    deciders: dict[str, TrainedModel] = field(default_factory=dict)


def run_walkforward(
    request: RunRequest,
    out: Path,
    *,
    command: str,
    force: bool = False,
    n_processes: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Train the models of every fold, decide out of sample, backtest and report.

    Parameters
    ----------
    request : RunRequest
        Bars and settings; `config.walkforward` lays out the folds.
    out : Path
        The run folder. If it holds the same walk-forward, finished or not, its
        checkpoints are kept and the rest is made.
    command : str
        The command line, shown on the page.
    force : bool
        Replace another walk-forward.
    n_processes : int, optional
        Models trained at a time, by default one per processor.
    progress : callable, optional
        Called as each stage moves on.

    Returns
    -------
    Summary
        What summary.json holds.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad, another process is at work in the folder, or a checkpoint
        that is there cannot be believed; nothing that was there is touched then.
    """
    request.config.check_walkable()
    tell = progress or no_progress
    seconds: dict[str, float] = {}
    with exclusive_lock(out):
        with timed(seconds, "bars, features and labels"):
            work = _prepare(request, out)
        _check_splits(work)
        _claim(work, force=force)
        with timed(seconds, "training"):
            _train(work, n_processes, tell)
        with timed(seconds, "deciding"):
            told = _decide(work, tell)
        with timed(seconds, "backtests"):
            summary = _save_tables(work, told, tell)
        models = [model for fold in told.models.values() for model in fold]
        record = RunRecord(
            finished=True,
            schedule="calendar",
            command=command,
            request=request,
            versions=versions(),
            bars=BarsRecord.of(work.bars),
            feature_schema=work.features.schema,
            models=tuple(map(model_record, models)),
        )
        write_json(out / RUN, record.model_copy(update={"seconds": seconds}))
        with timed(seconds, "report"):
            report.build(out, progress=tell)
        write_json(out / RUN, record.model_copy(update={"seconds": seconds}))
    return summary


def _prepare(request: RunRequest, out: Path) -> _Work:
    """Load the bars and lay out the folds."""
    config, bars = request.config, requested_bars(request)
    features = compute_features(bars, config.features)
    labels = label_bars(bars, config.features, config.labels)
    known_on = pd.DatetimeIndex(labels["known_on"])
    sessions = pd.DatetimeIndex(features.frame.index)
    folds = plan_folds(sessions, known_on, config)
    plans = plan_fold_crises(bars.sessions, folds)
    return _Work(request, bars, features, labels, folds, plans, out)


def _check_splits(work: _Work) -> None:
    """Raise `BarsError` for a fold of too few labels, before anything is trained."""
    config, samples = work.request.config, samples_from_labels(work.labels)
    for fold in work.folds:
        rows = fold_samples(samples, fold, config.walkforward.window)
        split_chronologically(rows, config.training.validation_fraction)


def _claim(work: _Work, *, force: bool) -> None:
    """Make the folder this walk-forward's, or find that it is already."""
    out, marker = work.out, work.out / MARKER
    asked = {
        "request": TypeAdapter(RunRequest).dump_python(work.request, mode="json"),
        "bars": work.bars.sha256(),
        "schema": work.features.schema.model_dump(mode="json"),
        "versions": versions(),
    }
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not marker.is_file():
            raise RunError(
                f"{out}: must be a new folder or one that holds {MARKER}, and is "
                "neither. Choose another --out."
            )
        if json.loads(marker.read_text(encoding="utf-8")) == asked:
            return
        if not force:
            raise RunError(
                f"{out}: holds a walk-forward of other settings, bars or versions. "
                "Choose another --out, or pass --force to replace it."
            )
    with staged_folder(out) as draft:
        write_json(draft / MARKER, asked)


def _train(work: _Work, n_processes: int | None, tell: Progress) -> None:
    """Train and save the models that are not there yet."""
    config, samples = work.request.config, samples_from_labels(work.labels)
    targets = {
        f"{fold.name} seed {seed}": (fold, seed)
        for seed in work.seeds
        for fold in work.folds
    }
    jobs = [
        TrainingJob(name, fold_samples(samples, fold, config.walkforward.window), seed)
        for name, (fold, seed) in targets.items()
        if not is_checkpoint(work.checkpoint(fold, seed))
    ]
    trainings = train_each(
        jobs,
        work.features.schema,
        config,
        n_processes=n_processes,
        progress=_training_progress(len(targets), len(targets) - len(jobs), tell),
    )
    for model in trainings:
        folder = work.checkpoint(*targets[model.name])
        save_trained(model, work.labels, work.bars, folder)
    tell("training", 1, 1)


def _training_progress(n_models: int, n_there: int, tell: Progress) -> ProgressCallback:
    """Turn the news of trainings side by side into one count, in thousandths."""
    shares: dict[str, float] = {}

    def advance(news: TrainingProgress) -> None:
        shares[news.name] = news.step / news.total_steps
        done = n_there + sum(shares.values())
        tell("training", round(1000 * done), 1000 * n_models)

    return advance


def _decide(work: _Work, tell: Progress) -> _Told:
    """Have each fold's models decide its sessions, and the crises that begin in it."""
    sessions = pd.DatetimeIndex(work.features.frame.index)
    told = _Told()
    for n_done, fold in enumerate(work.folds):
        tell("deciding", n_done, len(work.folds))
        policy = _policy_of(work, fold)
        told.by_fold[fold.name] = _decide_rows(work, policy, fold.mask(sessions))
        told.models[fold.name] = [
            replace(member[0], parameters={}) for member in policy.members
        ]
        for plan in work.crises_of(fold):
            begun = session_after(work.bars, plan.frozen_on)
            is_inside = np.asarray((sessions >= begun) & (sessions <= plan.crisis.end))
            name = plan.crisis.name
            told.by_crisis[name] = _decide_rows(work, policy, is_inside)
            told.deciders[name] = replace(
                told.models[fold.name][0], name=told.by_crisis[name][0].model
            )
    tell("deciding", 1, 1)
    return told


def _decide_rows(
    work: _Work, policy: TRMPolicy, is_asked: np.ndarray
) -> list[Decision]:
    """Have a policy decide the sessions of the features that are asked for."""
    rows = work.features.frame[is_asked]
    return policy.decide(pd.DatetimeIndex(rows.index), rows.to_numpy())


def _policy_of(work: _Work, fold: Fold) -> TRMPolicy:
    """Load a fold's models and hold each to what was asked for."""
    members = []
    for seed in work.seeds:
        folder = work.checkpoint(fold, seed)
        model = load_checkpoint(folder)
        if model.config != work.settings(seed):
            raise CheckpointError(
                f"{folder}: must be a model of this walk-forward's settings, and is of "
                "others. Remove it, and it is trained anew."
            )
        members.append([model])
    policy = TRMPolicy(*members, device=work.request.device)
    policy.check_schema(work.features.schema)
    return policy


def _save_tables(work: _Work, told: _Told, tell: Progress) -> Summary:
    """Backtest what was decided, write every table of the run, and count it."""
    out, request, bars = work.out, work.request, work.bars
    for name in (SUMMARY, RUN):  # what stands there is not of these
        (out / name).unlink(missing_ok=True)
    work.features.frame.to_parquet(out / "features.parquet")
    save_labels(work.labels, work.features, bars, request.config.labels, out)
    _decision_table(work, told).to_parquet(out / DECISIONS)
    schema = work.features.schema
    in_turn = [decision for fold in told.by_fold.values() for decision in fold]

    def policy_for(plan: CrisisPlan | None) -> RecordedPolicy:
        decided = in_turn if plan is None else told.by_crisis[plan.crisis.name]
        return RecordedPolicy(schema, decided)

    first = work.folds[0].first
    results, crises = backtest_all(bars, request, work.plans, policy_for, first, tell)
    summary = summarize(
        bars,
        results,
        crises,
        work.plans,
        map(model_record, told.deciders.values()),
        seed=request.config.seed,
    )
    save_results(results, crises, out)
    write_json(out / SUMMARY, summary)
    record_run_trial(out, request.config, results["trm"], bars)
    return summary


def _decision_table(work: _Work, told: _Told) -> pd.DataFrame:
    """Return one row a decision, with whose it is and what its models knew."""
    rows = []
    for fold in work.folds:
        record = told.models[fold.name][0].record
        rows += [
            {
                "session": decision.decided_on,
                "fold": fold.name,
                "model": decision.decided_by,
                "base_model": decision.model,
                "n_seeds": len(work.seeds),
                "trained_until": pd.Timestamp(record.validation_end),
                "last_label_known_on": pd.Timestamp(record.last_label_known_on),
                "allocation": decision.allocation,
                "confidence": decision.confidence,
                "halt_prob": decision.halt_prob,
                "n_steps": decision.n_steps,
                **{f"prob_{k}": p for k, p in enumerate(decision.probabilities)},
            }
            for decision in told.by_fold[fold.name]
        ]
    return pd.DataFrame(rows)
