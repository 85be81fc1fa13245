"""The walk-forward: retrain, decide what comes next, and go on; never look back.

Its folder is a run folder that grows: checkpoints first, so that a walk-forward killed
anywhere goes on with those it has, then the tables and pages of a run.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt import report
from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.backtests import Progress, backtest_all, session_after
from trm_bt.decisions import Decision
from trm_bt.errors import RunError
from trm_bt.evaluation.folds import Fold, fold_samples, plan_folds
from trm_bt.evaluation.recorded import RecordedPolicy
from trm_bt.evaluation.walkforward import CrisisPlan, plan_fold_crises
from trm_bt.files import write_text_atomically
from trm_bt.learning.checkpoint import is_checkpoint, load_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.ensemble import EnsemblePolicy
from trm_bt.learning.parallel import TrainingJob, train_each
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import Progress as TrainingProgress
from trm_bt.learning.records import ProgressCallback, TrainedModel
from trm_bt.market.bars import Bars
from trm_bt.market.features import Features, compute_features
from trm_bt.runfolder import (
    RunRequest,
    describe_run,
    save_labels,
    save_results,
    summarize,
    write_json,
)
from trm_bt.training import save_trained

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
    checkpoints: Path

    def checkpoint(self, fold: Fold, number: int) -> Path:
        """Return the folder of the model of a fold and a seed's number."""
        return self.checkpoints / f"seed_{number}" / fold.name

    @property
    def numbers(self) -> range:
        return range(self.request.config.walkforward.n_seeds)


def run_walkforward(
    request: RunRequest,
    out: Path,
    *,
    command: str,
    force: bool = False,
    n_processes: int | None = None,
    progress: Progress | None = None,
) -> dict[str, object]:
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
    dict
        What summary.json holds.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad, or a checkpoint that is there cannot be believed.
    """
    tell = progress or (lambda stage, done, total: None)
    config = request.config
    bars = request.load()
    _claim(out, request, bars, force=force)
    features = compute_features(bars, config.features)
    labels = label_bars(bars, config.features, config.labels)
    features.frame.to_parquet(out / "features.parquet")
    save_labels(labels, features, bars, config.labels, out)
    known_on = pd.DatetimeIndex(labels["known_on"])
    sessions = pd.DatetimeIndex(features.frame.index)
    folds = plan_folds(sessions, known_on, config)
    work = _Work(request, bars, features, labels, folds, out / "checkpoints")
    _train(work, n_processes, tell)
    decisions, models = _decide(work, tell)
    _table(work, decisions, models).to_parquet(out / DECISIONS)
    plans = plan_fold_crises(bars.sessions, folds)
    policy = RecordedPolicy(
        features.schema, [told for row in decisions.values() for told in row]
    )
    results, crises = backtest_all(
        bars, request, plans, lambda plan: policy, folds[0].first, tell
    )
    deciders = _deciders(bars, plans, folds, models)
    summary = summarize(bars, results, crises, plans, deciders, seed=config.seed)
    save_results(results, crises, out)
    write_json(out / "summary.json", summary)
    record = describe_run(request, command, bars, models.values())
    write_json(out / "run.json", {**record, "seconds": {}})
    report.build(out, progress=lambda done, total, _: tell("report", done, total))
    return summary


def _claim(out: Path, request: RunRequest, bars: Bars, *, force: bool) -> None:
    """Make the folder this walk-forward's, or find that it is already."""
    asked = {"request": request.to_dict(), "bars": bars.sha256()}
    marker = out / MARKER
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
                f"{out}: holds a walk-forward of other settings or bars. Choose "
                "another --out, or pass --force to replace it."
            )
        shutil.rmtree(out)
    write_text_atomically(marker, json.dumps(asked, indent=2) + "\n")


def _train(work: _Work, n_processes: int | None, tell: Progress) -> None:
    """Train and save the models that are not there yet."""
    config, samples = work.request.config, samples_from_labels(work.labels)
    targets = {
        f"{fold.name} seed {config.seed + number}": (fold, number)
        for number in work.numbers
        for fold in work.folds
    }
    jobs = [
        TrainingJob(
            name,
            fold_samples(samples, fold, config.walkforward.window),
            config.seed + number,
        )
        for name, (fold, number) in targets.items()
        if not is_checkpoint(work.checkpoint(fold, number))
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


def _decide(
    work: _Work, tell: Progress
) -> tuple[dict[str, list[Decision]], dict[str, TrainedModel]]:
    """Have each fold's models decide its sessions; return these models too.

    Returns
    -------
    decisions : dict of str to list of Decision
        By fold.
    models : dict of str to TrainedModel
        By fold, the model of the first seed, without its parameters.
    """
    frame = work.features.frame
    sessions = pd.DatetimeIndex(frame.index)
    decisions: dict[str, list[Decision]] = {}
    models: dict[str, TrainedModel] = {}
    for n_done, fold in enumerate(work.folds):
        tell("deciding", n_done, len(work.folds))
        trained = [load_checkpoint(work.checkpoint(fold, k)) for k in work.numbers]
        policy = EnsemblePolicy(
            [TRMPolicy([model], device=work.request.device) for model in trained]
        )
        rows = frame[fold.mask(sessions)]
        decided_on = pd.DatetimeIndex(rows.index)
        decisions[fold.name] = policy.decide(decided_on, rows.to_numpy())
        models[fold.name] = trained[0]
    tell("deciding", 1, 1)
    return decisions, models


def _table(
    work: _Work,
    decisions: Mapping[str, Sequence[Decision]],
    models: Mapping[str, TrainedModel],
) -> pd.DataFrame:
    """Return one row a decision, with whose it is and what its models knew."""
    rows = [
        {
            "session": told.decided_on,
            "fold": fold.name,
            "model": told.model,
            "n_seeds": len(work.numbers),
            "trained_until": pd.Timestamp(models[fold.name].record.train_end),
            "last_label_known_on": pd.Timestamp(
                models[fold.name].record.last_label_known_on
            ),
            "allocation": told.allocation,
            "confidence": told.confidence,
            "halt_prob": told.halt_prob,
            "n_steps": told.n_steps,
            **{f"prob_{k}": share for k, share in enumerate(told.probabilities)},
        }
        for fold in work.folds
        for told in decisions[fold.name]
    ]
    return pd.DataFrame(rows)


def _deciders(
    bars: Bars,
    plans: Sequence[CrisisPlan],
    folds: Sequence[Fold],
    models: Mapping[str, TrainedModel],
) -> dict[str, TrainedModel]:
    """Return the model that decides the first session of each crisis's run."""
    found = {}
    for plan in plans:
        if plan.frozen_on is not None:
            begun = session_after(bars, plan.frozen_on)
            fold = next(f for f in reversed(folds) if f.first <= begun)
            found[plan.crisis.name] = models[fold.name]
    return found
