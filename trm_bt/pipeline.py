"""The stages of a run, from bars to pages, each readable alone."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt import report
from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.errors import BarsError
from trm_bt.evaluation.crises import crisis_equity
from trm_bt.evaluation.walkforward import (
    CrisisPlan,
    plan_crises,
    train_before_crises,
)
from trm_bt.files import check_replaceable, staged_folder, write_atomically
from trm_bt.learning.checkpoint import save_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import Progress as TrainingProgress
from trm_bt.learning.records import ProgressCallback, TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.market.features import compute_features
from trm_bt.runfolder import (
    RunRequest,
    check_target,
    describe_run,
    save_labels,
    save_results,
    summarize,
    write_json,
)
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.trm_allocator import TRMAllocator

BASELINES: Final[Mapping[str, tuple[float, ...]]] = {
    "spy": (1.0, 0.0, 0.0),
    "sixty_forty": (0.6, 0.4, 0.0),
    **dict(zip(ALLOCATION_NAMES, map(tuple, ALLOCATION_WEIGHTS), strict=True)),
}
Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the units of work done, and those it has in all."""


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
    check_target(out, request, force=force)
    tell = progress or (lambda stage, done, total: None)
    seconds: dict[str, float] = {}
    config = request.config
    with staged_folder(out) as folder:
        with _timed(seconds, "bars"):
            bars = request.load()
        with _timed(seconds, "features"):
            features = compute_features(bars, config.features)
            features.frame.to_parquet(folder / "features.parquet")
        with _timed(seconds, "labels"):
            tell("labels", 0, 1)
            labels = label_bars(bars, config.features, config.labels)
            save_labels(labels, features, bars, folder)
            tell("labels", 1, 1)
        plans = plan_crises(bars.sessions, labels, config.training.min_labels)
        n_models = sum(plan.frozen_on is not None for plan in plans)
        if not n_models:
            reasons = "; ".join(f"{plan.crisis.name}: {plan.reason}" for plan in plans)
            raise BarsError(
                f"The bars must cover at least one crisis with enough history before "
                f"it, and cover none ({reasons})."
            )
        with _timed(seconds, "training"):
            models = train_before_crises(
                labels,
                features.schema,
                config,
                plans,
                folder / "checkpoints",
                progress=_training_progress(n_models, tell),
            )
            tell("training", 1, 1)
            for model in models.values():
                save_history(model, folder / "training")
        with _timed(seconds, "backtests"):
            results, crises = backtest_all(
                bars, request, plans, folder / "checkpoints", tell
            )
        summary = summarize(bars, results, crises, plans, models, seed=config.seed)
        save_results(results, crises, folder)
        write_json(folder / "summary.json", summary)
        record = {
            **describe_run(request, command, bars, models.values()),
            "seconds": seconds,
        }
        write_json(folder / "run.json", record)
        with _timed(seconds, "report"):
            report.build(
                folder, progress=lambda done, total, _: tell("report", done, total)
            )
        write_json(folder / "run.json", record)
    return summary


def train_checkpoint(
    request: RunRequest,
    out: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train one model on every label of the bars and save it.

    Parameters
    ----------
    request : RunRequest
        Bars and settings; `end` decides what the model may know.
    out : Path
        The checkpoint folder. Its history goes beside it, as
        `<name>_history.json` and `<name>_training.png`.
    force : bool
        Replace a checkpoint that is there.
    progress : callable, optional
        Called as the training moves on.

    Returns
    -------
    TrainedModel
        What was saved.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_replaceable(out, marker="manifest.json", force=force)
    tell = progress or (lambda stage, done, total: None)
    config = request.config
    bars = request.load()
    features = compute_features(bars, config.features)
    labels = label_bars(bars, config.features, config.labels)
    if len(labels) < config.training.min_labels:
        raise BarsError(
            f"A model needs {config.training.min_labels} labels, the bars give "
            f"{len(labels)}. Give more history or lower `min_labels`."
        )
    model = train(
        samples_from_labels(labels),
        features.schema,
        config,
        name=out.name,
        progress=lambda state: tell("training", state.step, state.total_steps),
    )
    tell("training", 1, 1)
    save_checkpoint(model, out, force=force)
    save_history(model, out.parent)
    return model


def save_history(model: TrainedModel, folder: Path) -> None:
    """Write a training's history as JSON and as a picture into `folder`."""
    history = [epoch.model_dump() for epoch in model.record.history]
    write_atomically(
        folder / f"{model.name}_history.json",
        lambda draft: draft.write_text(json.dumps(history, indent=2), encoding="utf-8"),
    )
    write_atomically(
        folder / f"{model.name}_training.png",
        lambda draft: report.loss_curve(history, draft),
    )


def backtest_all(
    bars: Bars,
    request: RunRequest,
    plans: Sequence[CrisisPlan],
    folder: Path,
    tell: Progress,
) -> tuple[dict[str, BacktestResult], dict[str, tuple[BacktestResult, pd.DataFrame]]]:
    """Run the allocator and every baseline out of sample, and each crisis alone.

    The continuous run decides with the newest model at each session; a crisis run
    decides with the one model frozen before that crisis. The baselines of a crisis are
    cut from their continuous runs: a fixed mix, rebalanced each session, holds the
    same weights at the crisis's base whenever it was started.

    Returns
    -------
    results : dict of str to BacktestResult
        Continuous runs by strategy, "trm" first.
    crises : dict of str to (BacktestResult, DataFrame)
        By crisis name, the allocator's run and every strategy's equity in the crisis.
    """
    planned = [plan for plan in plans if plan.frozen_on is not None]
    total = 1 + len(BASELINES) + len(planned)
    decide_from = _session_after(bars, planned[0].frozen_on)
    config = request.config

    def allocate(part: Bars, checkpoint: str, since: pd.Timestamp) -> BacktestResult:
        policy = TRMPolicy.load(folder / checkpoint, device=request.device)
        return run_backtest(
            part,
            TRMAllocator,
            params={"policy": policy, **config.strategy.model_dump()},
            config=config.backtest,
            decide_from=since,
            name="trm",
        )

    tell("backtests", 0, total)
    results = {"trm": allocate(bars, ".", decide_from)}
    for name, weights in BASELINES.items():
        tell("backtests", len(results), total)
        results[name] = run_backtest(
            bars,
            FixedMix,
            params={"weights": weights},
            config=config.backtest,
            decide_from=decide_from,
            name=name,
        )
    crises: dict[str, tuple[BacktestResult, pd.DataFrame]] = {}
    for plan in planned:
        tell("backtests", len(results) + len(crises), total)
        crisis = plan.crisis
        since = _session_after(bars, plan.frozen_on)
        result = allocate(bars.between(end=crisis.end), crisis.name, since)
        equities = {"trm": result.equity} | {
            name: results[name].equity for name in BASELINES
        }
        crises[crisis.name] = result, crisis_equity(plan, equities)
    tell("backtests", total, total)
    return results, crises


def _session_after(bars: Bars, session: pd.Timestamp | None) -> pd.Timestamp:
    """Return the first session after a freeze."""
    assert session is not None
    return bars.sessions[bars.sessions > session][0]


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note the wall seconds of a stage."""
    started = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - started, 2)


def _training_progress(n_models: int, tell: Progress) -> ProgressCallback:
    """Turn the steps of trainings that run side by side into one count of steps."""
    steps: dict[str, int] = {}

    def advance(state: TrainingProgress) -> None:
        steps[state.name] = state.step
        tell("training", sum(steps.values()), n_models * state.total_steps)

    return advance
