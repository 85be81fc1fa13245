"""The backtests of a run: the allocator and its baselines, continuous and by crisis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.errors import BarsError, CheckpointError
from trm_bt.evaluation.benchmarks import OURS, baselines
from trm_bt.evaluation.trials import check_log, log_beside, record_run_trial
from trm_bt.files import staged_folder
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.splits import CrisisPlan
from trm_bt.manifest import check_replaceable
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision, Policy
from trm_bt.market.features import FeatureSchema
from trm_bt.market.labels import cash_returns
from trm_bt.processes import Progress, no_progress
from trm_bt.runfolder.records import (
    OUT_OF_SAMPLE,
    SUMMARY,
    RunRequest,
    Summary,
)
from trm_bt.runfolder.store import write_json
from trm_bt.runs.request import choosing, requested_bars
from trm_bt.runs.results import (
    CrisisResults,
    save_results,
    schedule_record,
    summarize,
)
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.schedule import SCHEDULES
from trm_bt.strategies.trm_allocator import TRMAllocator


class RecordedPolicy:
    """Give the recorded decision of each session.

    Parameters
    ----------
    schema : FeatureSchema
        Schema of the features that the decisions were taken on.
    decisions : iterable of Decision
        One a session, at least one.

    Attributes
    ----------
    first : Timestamp
        The first session that was decided.
    """

    def __init__(self, schema: FeatureSchema, decisions: Iterable[Decision]) -> None:
        self.schema = schema
        self._decisions = {decision.decided_on: decision for decision in decisions}
        self.first: pd.Timestamp = min(self._decisions)

    def check_schema(self, schema: FeatureSchema) -> None:
        """Raise `CheckpointError` if features are not those that were decided on."""
        difference = self.schema.difference(schema)
        if difference is not None:
            raise CheckpointError(
                "Recorded decisions must be replayed on features of their own schema, "
                f"these differ (decided on against given): {difference}."
            )

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Return the recorded decisions of `sessions`; the features are not read.

        Parameters
        ----------
        sessions : DatetimeIndex of shape (n_sessions,)
        features : ndarray of shape (n_sessions, n_features)

        Raises
        ------
        BarsError
            If a session was not decided.
        """
        missing = [session for session in sessions if session not in self._decisions]
        if missing:
            raise BarsError(
                f"Decisions are recorded from {self.first.date()} to "
                f"{max(self._decisions).date()}, and none for {missing[0].date()}. "
                "Replay no other sessions."
            )
        return [self._decisions[session] for session in sessions]


def backtest_all(
    bars: Bars,
    request: RunRequest,
    plans: Sequence[CrisisPlan],
    policies: Mapping[str, RecordedPolicy],
    progress: Progress = no_progress,
) -> tuple[dict[str, BacktestResult], CrisisResults]:
    """Run the allocator and every baseline out of sample, and each crisis alone.

    The baselines of a crisis are cut from their continuous runs: a fixed mix,
    rebalanced each session, holds the same weights at the crisis's base whenever it was
    started.

    Parameters
    ----------
    bars : Bars
        All bars of the run.
    request : RunRequest
        Settings.
    plans : sequence of CrisisPlan
        All crises; those with a first decision are run.
    policies : mapping of str to RecordedPolicy
        The decisions of the continuous run, and of each of these crises.
    progress : callable
        Called after each run.

    Returns
    -------
    results : dict of str to BacktestResult
        Continuous runs by strategy, the allocator's first.
    crises : mapping of str to (BacktestResult, DataFrame)
        By crisis name, the allocator's run and every strategy's equity in the crisis.
    """
    total = len(policies) + len(_baselines(request))
    progress("backtests", 0, total)
    continuous = policies[OUT_OF_SAMPLE]
    ours = allocate(bars, continuous, continuous.first, request)
    results = {OURS: ours, **run_baselines(bars, request, ours, total, progress)}
    crises: dict[str, tuple[BacktestResult, pd.DataFrame]] = {}
    for plan in plans:
        if plan.first is None:
            continue
        crisis = plan.crisis
        seen = bars.between(end=crisis.end)
        result = allocate(seen, policies[crisis.name], plan.first, request)
        equities = {name: done.equity for name, done in results.items()}
        equities[OURS] = result.equity
        # from the base, the close before the crisis, to its last session
        inside = pd.DataFrame(equities).loc[plan.base : crisis.end]
        crises[crisis.name] = result, inside
        progress("backtests", len(results) + len(crises), total)
    return results, crises


def allocate(
    bars: Bars, policy: Policy, decide_from: pd.Timestamp, request: RunRequest
) -> BacktestResult:
    """Run the allocator with a policy.

    Parameters
    ----------
    bars : Bars
        Bars that reach back far enough for the first decision's features.
    policy : Policy
        Who decides.
    decide_from : Timestamp
        First session to decide on.
    request : RunRequest
        Settings.

    Raises
    ------
    BarsError
        If the bars end before any session may be decided.
    CheckpointError
        If the policy reads features of another schema.
    """
    config = request.config
    return run_backtest(
        bars,
        TRMAllocator,
        params={"policy": policy, **config.strategy.model_dump()},
        config=config.backtest,
        decide_from=decide_from,
        name=OURS,
    )


def compare_schedules(
    bars: Bars, policy: Policy, ours: BacktestResult, request: RunRequest
) -> dict[str, object]:
    """Trade the allocator's decisions on every schedule.

    Parameters
    ----------
    bars, policy, request
        As in `allocate`.
    ours : BacktestResult
        The run on the schedule of the request.

    Returns
    -------
    dict
        `schedules` and `schedule` of a `Summary`.
    """
    config, first = request.config, ours.equity.index[0]
    earned = None if bars.cash_rate is None else cash_returns(bars)
    found = {}
    for name in SCHEDULES:
        settings = config.strategy.model_copy(update={"schedule": name})
        other = replace(
            request, config=config.model_copy(update={"strategy": settings})
        )
        is_ours = name == config.strategy.schedule
        run = ours if is_ours else allocate(bars, policy, first, other)
        found[name] = schedule_record(run, earned)
    return {"schedules": found, "schedule": config.strategy.schedule}


def run_baselines(
    bars: Bars,
    request: RunRequest,
    ours: BacktestResult,
    total: int,
    progress: Progress,
) -> dict[str, BacktestResult]:
    """Run SPY, 60/40 and the allocations over the allocator's sessions.

    `progress` is called after the allocator's run, which comes first of `total`, and
    after each of these.
    """
    results: dict[str, BacktestResult] = {}
    progress("backtests", 1, total)
    for name, weights in _baselines(request).items():
        results[name] = run_backtest(
            bars,
            FixedMix,
            params={"weights": weights},
            config=request.config.backtest,
            decide_from=ours.equity.index[0],
            name=name,
        )
        progress("backtests", 1 + len(results), total)
    return results


def backtest_checkpoint(
    request: RunRequest,
    checkpoint: Path,
    out: Path,
    *,
    allow_in_sample: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Backtest an existing checkpoint, beside the baselines.

    Parameters
    ----------
    request : RunRequest
        Bars, device and settings.
    checkpoint : Path
        Folder of a checkpoint, a walk-forward set, or an ensemble of such sets.
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
    Summary
        Its crises are empty.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_replaceable(out, marker="equity.parquet", force=force)
    if not allow_in_sample:
        check_log(log_beside(out))
    bars = requested_bars(request)
    policy = TRMPolicy.load(
        checkpoint, device=request.device, allow_in_sample=allow_in_sample
    )
    request = choosing(request, policy.schema)
    decide_from = _first_decision(bars, policy, checkpoint)
    ours = allocate(bars, policy, decide_from, request)
    total = 1 + len(_baselines(request))
    others = run_baselines(bars, request, ours, total, progress or no_progress)
    results = {OURS: ours, **others}
    seed = policy.models[0].config.seed
    summary = summarize(bars, results, {}, [], [], seed=seed).model_copy(
        update=compare_schedules(bars, policy, ours, request)
    )
    with staged_folder(out) as folder:
        save_results(results, {}, folder)
        write_json(folder / SUMMARY, summary)
        if not allow_in_sample:  # counted before it stands
            record_run_trial(out, request.config, ours, bars)
    return summary


def _baselines(request: RunRequest) -> dict[str, tuple[float, ...]]:
    return baselines(Allocations.of(request.config.labels.allocations))


def _first_decision(bars: Bars, policy: TRMPolicy, path: Path) -> pd.Timestamp:
    """Return the first session that has features and that no model was trained on."""
    possible = bars.sessions[policy.schema.n_lookback - 1 :]
    known_on = pd.Timestamp(policy.models[0].record.last_label_known_on)
    if not policy.in_sample:
        possible = possible[possible > known_on]
    if not len(possible):
        raise BarsError(
            f"{path}: knows labels up to {known_on.date()}, and the bars end on "
            f"{bars.sessions[-1].date()}: no session is left to decide."
        )
    return possible[0]
