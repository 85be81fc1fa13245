"""The stages of a run, from bars to pages, each readable alone."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pandas as pd

from trm_bt import report
from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.evaluation.crises import crisis_equity
from trm_bt.evaluation.walkforward import (
    CrisisPlan,
    plan_crises,
    train_before_crises,
)
from trm_bt.files import check_replaceable, staged_folder
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import Progress as TrainingProgress
from trm_bt.learning.records import ProgressCallback
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
from trm_bt.training import save_trained

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
            save_labels(labels, features, bars, config.labels, folder)
            tell("labels", 1, 1)
        plans = _planned(bars, labels, config)
        with _timed(seconds, "training"):
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
    tell("backtests", 0, total)
    ours = allocate(bars, folder, decide_from, request)
    tell("backtests", 1, total)
    baselines = run_baselines(
        bars, request, decide_from, lambda done: tell("backtests", 1 + done, total)
    )
    results = {"trm": ours, **baselines}
    crises: dict[str, tuple[BacktestResult, pd.DataFrame]] = {}
    for plan in planned:
        tell("backtests", len(results) + len(crises), total)
        crisis = plan.crisis
        since = _session_after(bars, plan.frozen_on)
        checkpoint = folder / crisis.name
        result = allocate(bars.between(end=crisis.end), checkpoint, since, request)
        equities = {"trm": result.equity} | {
            name: results[name].equity for name in BASELINES
        }
        crises[crisis.name] = result, crisis_equity(plan, equities)
    tell("backtests", total, total)
    return results, crises


def allocate(
    bars: Bars,
    checkpoint: Path,
    decide_from: pd.Timestamp | None,
    request: RunRequest,
    *,
    allow_in_sample: bool = False,
) -> BacktestResult:
    """Run the allocator on a checkpoint or a walk-forward set.

    Parameters
    ----------
    bars : Bars
        Bars that reach back far enough for the first decision's features.
    checkpoint : Path
        Folder of a checkpoint or of a set.
    decide_from : Timestamp or None
        First session to decide on; None: the first that no model has seen.
    request : RunRequest
        Device and settings.
    allow_in_sample : bool
        Whether sessions that a model was trained on are decided, and stamped.

    Raises
    ------
    BarsError
        If the bars end before any session may be decided.
    CheckpointError
        If the checkpoint cannot be believed or reads features of another schema.
    """
    config = request.config
    policy = TRMPolicy.load(
        checkpoint, device=request.device, allow_in_sample=allow_in_sample
    )
    if decide_from is None:
        first = policy.schema.n_lookback - 1
        possible = bars.sessions[first:]
        known_on = pd.Timestamp(policy.models[0].record.last_label_known_on)
        if not allow_in_sample:
            possible = possible[possible > known_on]
        if not len(possible):
            raise BarsError(
                f"{checkpoint}: knows labels up to {known_on.date()}, and the bars "
                f"end on {bars.sessions[-1].date()}: no session is left to decide."
            )
        decide_from = possible[0]
    return run_backtest(
        bars,
        TRMAllocator,
        params={"policy": policy, **config.strategy.model_dump()},
        config=config.backtest,
        decide_from=decide_from,
        name="trm",
    )


def run_baselines(
    bars: Bars,
    request: RunRequest,
    decide_from: pd.Timestamp,
    tell: Callable[[int], None],
) -> dict[str, BacktestResult]:
    """Run SPY, 60/40 and the eight allocations over the allocator's sessions.

    `tell` is called with the number of runs done.
    """
    results = {}
    for name, weights in BASELINES.items():
        results[name] = run_backtest(
            bars,
            FixedMix,
            params={"weights": weights},
            config=request.config.backtest,
            decide_from=decide_from,
            name=name,
        )
        tell(len(results))
    return results


def backtest_checkpoint(
    request: RunRequest,
    checkpoint: Path,
    out: Path,
    *,
    allow_in_sample: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Backtest a checkpoint that is there already, beside the baselines.

    Parameters
    ----------
    request : RunRequest
        Bars, device and settings.
    checkpoint : Path
        Folder of a checkpoint or of a walk-forward set.
    out : Path
        Folder for summary.json and the tables of equity, weights, decisions, orders.
    allow_in_sample : bool
        Whether sessions that the model was trained on are decided, and stamped.
    force : bool
        Replace an earlier backtest.
    progress : callable, optional
        Called after each run.

    Returns
    -------
    dict
        What summary.json holds; its crises are empty.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_replaceable(out, marker="equity.parquet", force=force)
    tell = progress or (lambda stage, done, total: None)
    total = 1 + len(BASELINES)
    bars = request.load()
    ours = allocate(bars, checkpoint, None, request, allow_in_sample=allow_in_sample)
    tell("backtests", 1, total)
    baselines = run_baselines(
        bars,
        request,
        ours.equity.index[0],
        lambda done: tell("backtests", 1 + done, total),
    )
    results = {"trm": ours, **baselines}
    summary = summarize(bars, results, {}, [], {}, seed=request.config.seed)
    with staged_folder(out) as folder:
        save_results(results, {}, folder)
        write_json(folder / "summary.json", summary)
    return summary


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
