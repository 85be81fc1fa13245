"""The stages of a run, from bars to pages, each readable alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trm_bt import report
from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.backtest import BacktestResult
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, RunError
from trm_bt.evaluation.trials import record_run_trial
from trm_bt.evaluation.walkforward import (
    CrisisPlan,
    plan_crises,
    train_before_crises,
)
from trm_bt.files import check_replaceable, staged_folder
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import (
    ProgressCallback,
    TrainedModel,
    TrainingProgress,
)
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Policy
from trm_bt.market.features import Features, compute_features
from trm_bt.processes import Progress, no_progress
from trm_bt.runfolder.records import (
    RUN,
    SUMMARY,
    BarsRecord,
    RunRecord,
    RunRequest,
    Summary,
    versions,
)
from trm_bt.runfolder.store import read_run_record, write_json
from trm_bt.runs.backtests import backtest_all, session_after
from trm_bt.runs.request import requested_bars, timed
from trm_bt.runs.results import (
    CrisisResults,
    model_record,
    save_labels,
    save_results,
    summarize,
)
from trm_bt.runs.train import save_trained


@dataclass(frozen=True)
class _Work:
    """What a run works on, and the folder that it fills."""

    request: RunRequest
    bars: Bars
    features: Features
    labels: pd.DataFrame
    plans: Sequence[CrisisPlan]
    folder: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the models, one frozen before each crisis."""
        return self.folder / "checkpoints"


def run(
    request: RunRequest,
    out: Path,
    *,
    command: str,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Run everything: features, labels, one model per crisis, backtests, pages.

    Parameters
    ----------
    request : RunRequest
        Bars and settings.
    out : Path
        The run folder; it appears whole when the run is done, or not at all.
    command : str
        The command line, shown on the page.
    force : bool
        Replace another run's folder.
    progress : callable, optional
        Called as each stage moves on.

    Returns
    -------
    Summary
        What summary.json holds.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    request.config.check_trainable()
    check_replaceable(out, marker=RUN, force=force or _is_same(out, request))
    tell = progress or no_progress
    seconds: dict[str, float] = {}
    with staged_folder(out) as folder:
        work = _prepare(request, folder, seconds, tell)
        with timed(seconds, "training"):
            models = _train(work, tell)
        with timed(seconds, "backtests"):
            results, crises = _backtest(work, tell)
        records = tuple(model_record(model) for model in models.values())
        summary = summarize(
            work.bars, results, crises, work.plans, records, seed=request.config.seed
        )
        save_results(results, crises, folder)
        write_json(folder / SUMMARY, summary)
        record = RunRecord(
            finished=True,
            schedule="crises",
            command=command,
            request=request,
            versions=versions(),
            bars=BarsRecord.of(work.bars),
            feature_schema=work.features.schema,
            models=records,
        )
        write_json(folder / RUN, record.model_copy(update={"seconds": seconds}))
        with timed(seconds, "report"):
            report.build(folder, progress=tell)
        write_json(folder / RUN, record.model_copy(update={"seconds": seconds}))
    record_run_trial(out, request.config, results["trm"], work.bars)
    return summary


def write_labels(
    request: RunRequest, out: Path, *, only_crises: bool = False, force: bool = False
) -> dict[str, Any]:
    """Label the bars and write the table as parquet and CSV, with a summary.

    Parameters
    ----------
    request : RunRequest
        Bars and settings.
    out : Path
        The folder of the three files.
    only_crises : bool
        Keep the labels of sessions inside the twelve crises only. They look ahead as
        any others do: the last ones of a crisis are known after its end.
    force : bool
        Replace labels that are there.

    Returns
    -------
    dict
        What labels_summary.json holds.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_replaceable(out, marker="labels.csv", force=force)
    config, bars = request.config, requested_bars(request)
    features = compute_features(bars, config.features)
    labels = label_bars(bars, config.features, config.labels)
    if only_crises:
        labels = labels[labels["crises"] != ""]
        if labels.empty:
            raise BarsError(
                "The bars must give labels inside at least one crisis, and give none: "
                f"they run from {bars.sessions[0].date()} to "
                f"{bars.sessions[-1].date()}. Give more history."
            )
    with staged_folder(out) as folder:
        return save_labels(labels, features, bars, config.labels, folder)


def _prepare(
    request: RunRequest, folder: Path, seconds: dict[str, float], tell: Progress
) -> _Work:
    """Load the bars, save their features and labels, and plan the crises."""
    config = request.config
    with timed(seconds, "bars"):
        bars = requested_bars(request)
    with timed(seconds, "features"):
        features = compute_features(bars, config.features)
        features.frame.to_parquet(folder / "features.parquet")
    with timed(seconds, "labels"):
        tell("labels", 0, 1)
        labels = label_bars(bars, config.features, config.labels)
        save_labels(labels, features, bars, config.labels, folder)
        tell("labels", 1, 1)
    plans = _planned(bars, labels, config)
    return _Work(request, bars, features, labels, plans, folder)


def _train(work: _Work, tell: Progress) -> dict[str, TrainedModel]:
    """Train and save a model a crisis; return them by crisis."""
    models = train_before_crises(
        work.labels,
        work.features.schema,
        work.request.config,
        work.plans,
        progress=_training_progress(work.plans, tell),
    )
    tell("training", 1, 1)
    for name, model in models.items():
        save_trained(model, work.labels, work.bars, work.checkpoints / name)
    return models


def _backtest(
    work: _Work, tell: Progress
) -> tuple[Mapping[str, BacktestResult], CrisisResults]:
    """Run every strategy out of sample, and the allocator in each crisis.

    A crisis is decided by its own model, the continuous run by the newest of each
    session.
    """
    bars, request, plans = work.bars, work.request, work.plans

    def policy_for(plan: CrisisPlan | None) -> Policy:
        folder = work.checkpoints / plan.crisis.name if plan else work.checkpoints
        return TRMPolicy.load(folder, device=request.device)

    first_freeze = next(plan.frozen_on for plan in plans if plan.frozen_on)
    decide_from = session_after(bars, first_freeze)
    return backtest_all(bars, request, plans, policy_for, decide_from, tell)


def _is_same(out: Path, request: RunRequest) -> bool:
    """Tell whether the folder holds an earlier run of the same request."""
    try:
        return read_run_record(out).request == request
    except RunError:
        return False


def _planned(bars: Bars, labels: pd.DataFrame, config: TRMConfig) -> list[CrisisPlan]:
    """Plan all crises; refuse bars on which no model could be trained."""
    plans = plan_crises(bars.sessions, labels, config.training.min_labels)
    if all(plan.frozen_on is None for plan in plans):
        reasons = "; ".join(f"{plan.crisis.name}: {plan.reason}" for plan in plans)
        raise BarsError(
            "The bars must cover at least one crisis with enough history before it, "
            f"and cover none ({reasons})."
        )
    return plans


def _training_progress(plans: Sequence[CrisisPlan], tell: Progress) -> ProgressCallback:
    """Turn the steps of trainings that run side by side into one count of steps."""
    n_models = sum(plan.frozen_on is not None for plan in plans)
    steps: dict[str, int] = {}

    def advance(state: TrainingProgress) -> None:
        steps[state.name] = state.step
        tell("training", sum(steps.values()), n_models * state.total_steps)

    return advance
