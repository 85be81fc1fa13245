"""The stages of a run, from bars to pages, each readable alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trm_bt import report
from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.backtests import Progress, backtest_all, session_after
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.evaluation.trials import record_run
from trm_bt.evaluation.walkforward import (
    CrisisPlan,
    plan_crises,
    train_before_crises,
)
from trm_bt.files import check_replaceable, staged_folder
from trm_bt.learning.ensemble import load_policy
from trm_bt.learning.records import Progress as TrainingProgress
from trm_bt.learning.records import ProgressCallback
from trm_bt.market.bars import Bars
from trm_bt.market.features import compute_features
from trm_bt.runfolder import (
    RunRequest,
    check_target,
    describe_run,
    save_labels,
    save_results,
    summarize,
    timed,
    write_json,
)
from trm_bt.training import save_trained


def run(
    request: RunRequest,
    out: Path,
    *,
    command: str,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, object]:
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
    dict
        What summary.json holds.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    request.config.check_trainable()
    check_target(out, request, force=force)
    tell = progress or (lambda stage, done, total: None)
    seconds: dict[str, float] = {}
    config = request.config
    with staged_folder(out) as folder:
        with timed(seconds, "bars"):
            bars = request.load()
        with timed(seconds, "features"):
            features = compute_features(bars, config.features)
            features.frame.to_parquet(folder / "features.parquet")
        with timed(seconds, "labels"):
            tell("labels", 0, 1)
            labels = label_bars(bars, config.features, config.labels)
            save_labels(labels, features, bars, config.labels, folder)
            tell("labels", 1, 1)
        plans = _planned(bars, labels, config)
        with timed(seconds, "training"):
            models = train_before_crises(
                labels,
                features.schema,
                config,
                plans,
                progress=_training_progress(plans, tell),
            )
            tell("training", 1, 1)
            for model in models.values():
                checkpoint = folder / "checkpoints" / model.name
                save_trained(model, labels, bars, checkpoint)
        with timed(seconds, "backtests"):
            results, crises = backtest_all(
                bars,
                request,
                plans,
                lambda plan: load_policy(
                    folder / "checkpoints" / (plan.crisis.name if plan else ""),
                    device=request.device,
                ),
                session_after(bars, next(p.frozen_on for p in plans if p.frozen_on)),
                tell,
            )
        summary = summarize(bars, results, crises, plans, models, seed=config.seed)
        save_results(results, crises, folder)
        write_json(folder / "summary.json", summary)
        record = {
            **describe_run(request, command, bars, models.values()),
            "seconds": seconds,
        }
        write_json(folder / "run.json", record)
        with timed(seconds, "report"):
            report.build(
                folder, progress=lambda done, total, _: tell("report", done, total)
            )
        write_json(folder / "run.json", record)
    record_run(out, config, results["trm"], bars)
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
    config, bars = request.config, request.load()
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
