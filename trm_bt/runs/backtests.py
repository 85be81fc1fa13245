"""The backtests of a run: the allocator and its baselines, continuous and by crisis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.errors import BarsError, CheckpointError
from trm_bt.evaluation.benchmarks import MATCHED, OURS, average_mix, baselines
from trm_bt.executors import Runner, opened, share
from trm_bt.learning.splits import CrisisPlan
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision, Policy
from trm_bt.market.features import FeatureSchema
from trm_bt.market.labels import cash_returns
from trm_bt.processes import Progress, no_progress
from trm_bt.runfolder.records import OUT_OF_SAMPLE, RunRequest
from trm_bt.runfolder.schedules import ScheduleRecord
from trm_bt.runs.results import Backtests, schedule_record
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.schedule import SCHEDULES
from trm_bt.strategies.trm_allocator import TRMAllocator
from trm_bt.tasks import Task, in_order


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
                f"{max(self._decisions).date()}, but none for {missing[0].date()}. "
                "Replay no other sessions."
            )
        return [self._decisions[session] for session in sessions]


def backtest_all(
    bars: Bars,
    request: RunRequest,
    plans: Sequence[CrisisPlan],
    policies: Mapping[str, RecordedPolicy],
    progress: Progress = no_progress,
    executor: Runner = None,
) -> Backtests:
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
    executor : Executor, Workers or int, optional
        Who does all but the first; a number for so many processes, by default one per
        processor.
    """
    progress("backtests", 0, 1)
    policy = policies[OUT_OF_SAMPLE]
    ours = allocate(bars, policy, policy.first, request)
    first, settings = ours.equity.index[0], request.config.strategy
    mixes = baselines(Allocations.of(request.config.labels.allocations))
    mixes[MATCHED] = average_mix(ours.weights.iloc[1:].mean())
    alone = {plan.crisis.name: plan for plan in plans if plan.first is not None}
    others = [name for name in SCHEDULES if name != settings.schedule]
    with opened(executor, len(mixes) + len(alone) + len(others)) as pool:
        shared = share(pool, bars), request
        tasks = [
            *(Task(name, _hold, (*shared, name, mixes[name], first)) for name in mixes),
            *(
                Task(f"crisis {name}", _allocate_alone, (*shared, policies[name], plan))
                for name, plan in alone.items()
            ),
            *(
                Task(f"schedule {name}", _on_schedule, (*shared, policy, first, name))
                for name in others
            ),
        ]
        found = iter(in_order(tasks, pool, progress, stage="backtests"))
    results = {OURS: ours, **{name: next(found) for name in mixes}}
    crises = {name: _inside(plan, next(found), results) for name, plan in alone.items()}
    by_schedule = {name: next(found) for name in others}
    by_schedule[settings.schedule] = schedule_record(ours, _earned(bars))
    schedules = {name: by_schedule[name] for name in SCHEDULES}
    return Backtests(results, crises, schedules, settings.schedule)


def _hold(
    bars: Bars,
    request: RunRequest,
    name: str,
    weights: tuple[float, ...],
    first: pd.Timestamp,
) -> BacktestResult:
    """Run a fixed mix over the sessions of the allocator's run."""
    return run_backtest(
        bars,
        FixedMix,
        params={"weights": weights},
        config=request.config.backtest,
        decide_from=first,
        name=name,
    )


def _allocate_alone(
    bars: Bars, request: RunRequest, policy: RecordedPolicy, plan: CrisisPlan
) -> BacktestResult:
    """Run the allocator up to the end of a crisis, which its own model decides."""
    assert plan.first is not None
    seen = bars.between(end=plan.crisis.end)
    return allocate(seen, policy, plan.first, request)


def _inside(
    plan: CrisisPlan, alone: BacktestResult, results: Mapping[str, BacktestResult]
) -> tuple[BacktestResult, pd.DataFrame]:
    """Return a crisis's own run, and all equity from its base to its last session."""
    equities = {name: result.equity for name, result in results.items()}
    equities[OURS] = alone.equity
    return alone, pd.DataFrame(equities).loc[plan.base : plan.crisis.end]


def _on_schedule(
    bars: Bars,
    request: RunRequest,
    policy: RecordedPolicy,
    first: pd.Timestamp,
    schedule: str,
) -> ScheduleRecord:
    """Trade the allocator's decisions on another schedule."""
    settings = request.config.strategy.model_copy(update={"schedule": schedule})
    config = request.config.model_copy(update={"strategy": settings})
    result = allocate(bars, policy, first, replace(request, config=config))
    return schedule_record(result, _earned(bars))


def _earned(bars: Bars) -> pd.Series | None:
    return None if bars.cash_rate is None else cash_returns(bars)


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
