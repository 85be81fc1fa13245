"""The backtests of a run: the allocator and its baselines, continuous and by crisis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.errors import BarsError, CheckpointError
from trm_bt.evaluation.benchmarks import MATCHED, OURS, average_mix, baselines
from trm_bt.learning.splits import CrisisPlan
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision, Policy
from trm_bt.market.features import FeatureSchema
from trm_bt.market.labels import cash_returns
from trm_bt.processes import Progress, no_progress
from trm_bt.runfolder.records import (
    OUT_OF_SAMPLE,
    RunRequest,
)
from trm_bt.runs.results import (
    CrisisResults,
    schedule_record,
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
    total = len(policies) + len(_baselines(request)) + 1
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
    """Run SPY, 60/40, the allocations and the average mix over the same sessions.

    `progress` is called after the allocator's run, which comes first of `total`, and
    after each of these.
    """
    results: dict[str, BacktestResult] = {}
    progress("backtests", 1, total)
    mixes = {**_baselines(request), MATCHED: average_mix(ours.weights.iloc[1:].mean())}
    for name, weights in mixes.items():
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


def _baselines(request: RunRequest) -> dict[str, tuple[float, ...]]:
    return baselines(Allocations.of(request.config.labels.allocations))
