"""What a model holds after the last session of bars, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pandas as pd

from trm_bt.config import Device, StrategyConfig, TRMConfig
from trm_bt.errors import ConfigError
from trm_bt.feeds import load_bars
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FEATURE_NAMES, compute_features, with_inputs_of
from trm_bt.runfolder.holding import DecisionReport, FeatureReading, PlannedOrder
from trm_bt.runfolder.records import CHECKPOINTS, RUN
from trm_bt.runfolder.store import read_run_record
from trm_bt.runs.folds import RunPolicy
from trm_bt.runs.portfolio import Portfolio, plan_orders
from trm_bt.strategies.averaging import Averaging
from trm_bt.strategies.ledger import WEIGHT_COLUMNS
from trm_bt.strategies.schedule import DueSessions, Weights

Decider: TypeAlias = TRMPolicy | RunPolicy
_SPANS: Final = (64, 512)
"""Sessions that are decided before all of them: most often the newest suffice."""
_N_SHOWN: Final = 2
"""The session, and the one before it."""


def decide(
    model: Decider | Path | str,
    bars: Bars | Path | str,
    *,
    session: pd.Timestamp | str | None = None,
    config: TRMConfig | None = None,
    portfolio: Portfolio | None = None,
    device: Device = "auto",
) -> DecisionReport:
    """Return what a model holds after a session, as its backtest would.

    Parameters
    ----------
    model : Path, str or policy
        A checkpoint, a walk-forward set, the folder of a run, or what `open_model`
        returns for one of them.
    bars : Bars, Path or str
        Bars, or a source for `load_bars`. Nothing after the session is read.
    session : Timestamp or str, optional
        The deciding session, or the last one before it; the last of the bars if None.
    config : TRMConfig, optional
        How decisions become weights, and costs; by default those of the run.
    portfolio : Portfolio, optional
        Current holdings: the report then has the orders that bring them to the weights.
    device : {"auto", "cpu", "cuda"}
        Where a checkpoint decides.

    Returns
    -------
    DecisionReport
        Bit for bit the row of the backtest.

    Raises
    ------
    BarsError
        If the bars are too short for a row of features, or lack an input.
    CheckpointError, RunError
        If the model is invalid, or reads other features.
    """
    policy = open_model(model, device) if isinstance(model, Path | str) else model
    if config is None:
        config = policy.config if isinstance(policy, RunPolicy) else TRMConfig()
    schema = policy.schema
    if not isinstance(bars, Bars):
        bars = load_bars(bars, inputs=schema.optional_inputs or "core")
    seen = with_inputs_of(bars.between(end=session), schema)
    newest = _newest_of(policy, seen, config.strategy)
    orders, (weights, _) = None, newest.held[-1]
    if portfolio is not None and weights is not None:
        orders = plan_orders(portfolio, weights, seen, config)
    return _report(policy, newest, orders)


def open_model(path: Path | str, device: Device = "auto") -> Decider:
    """Load a checkpoint, a walk-forward set, or the models of a run.

    Raises
    ------
    CheckpointError, ConfigError, RunError
        If it is none of these, or is invalid; a run must be finished.
    """
    path = Path(path).expanduser()
    if (path / RUN).is_file():
        if not (path / CHECKPOINTS).is_dir():
            raise ConfigError(
                f"{path}: the folder of a backtest holds no model. Give its checkpoint."
            )
        return RunPolicy(path, read_run_record(path), device)
    return TRMPolicy.load(path, device=device)


@dataclass(frozen=True)
class _Newest:
    """The last two sessions, or the only one.

    Parameters
    ----------
    features : DataFrame of shape (n_sessions, n_features)
    decisions : sequence of n_sessions Decision
    held : sequence of n_sessions (weights or None, session or None)
        Weights in force after each close, and the close that decided them.
    """

    features: pd.DataFrame
    decisions: Sequence[Decision]
    held: Sequence[tuple[Weights | None, pd.Timestamp | None]]


def _newest_of(policy: Decider, bars: Bars, settings: StrategyConfig) -> _Newest:
    """Decide as few of the newest sessions as tell what is in force at the end."""
    n_lookback, n_sessions = policy.schema.n_lookback, len(bars.sessions)
    for n_decided in (*_SPANS, n_sessions):
        n_before = max(n_sessions - n_decided - n_lookback + 1, 0)
        features = compute_features(
            bars.between(bars.sessions[n_before]), policy.schema.lookbacks
        )
        policy.check_schema(features.schema)
        sessions = pd.DatetimeIndex(features.frame.index)
        decisions = policy.decide(sessions, features.frame.to_numpy())
        held, n_sure = _held(decisions, policy.schema.table, settings)
        if n_before == 0 or n_sure >= _N_SHOWN:
            break
    return _Newest(features.frame[-2:], decisions[-2:], held[-2:])


def _held(
    decisions: Sequence[Decision], table: Allocations, settings: StrategyConfig
) -> tuple[list[tuple[Weights | None, pd.Timestamp | None]], int]:
    """Follow the allocator from the first decision given to the last.

    Returns
    -------
    list of (weights or None, session or None)
        Weights in force after each close, and the close that decided them.
    int
        How many of the last ones are the same whatever was decided before the first:
        decided on a full average, and later than the first purchase, which waits for
        no schedule.
    """
    averaging = Averaging(
        table.weights,
        n_averaged=settings.n_averaged,
        decision=settings.decision,
        min_confidence=settings.min_confidence,
    )
    due = DueSessions(settings.schedule)
    held: list[tuple[Weights | None, pd.Timestamp | None]] = []
    in_force: Weights | None = None
    decided_on, decided_row, n_sure = None, 0, 0
    first_row = max(settings.n_averaged - 1, 1)
    for row, decision in enumerate(decisions):
        wanted = averaging.weigh(decision)
        is_first = not any(in_force or ())
        if due.is_due(decision.decided_on, wanted, in_force) and wanted is not None:
            in_force, decided_on, decided_row = wanted, decision.decided_on, row
            if is_first and any(wanted):
                first_row = max(first_row, row + 1)
        n_sure = n_sure + 1 if decided_row >= first_row else 0
        held.append((in_force, decided_on))
    return held, n_sure


def _report(
    policy: Decider, newest: _Newest, orders: tuple[PlannedOrder, ...] | None
) -> DecisionReport:
    """Put together what is known of the last session, and of the one before."""
    decision, (weights, decided_on) = newest.decisions[-1], newest.held[-1]
    trained, table = policy.model_for(decision.decided_on), policy.schema.table
    readings = _readings(newest.features, trained, policy)
    before, held_before = None, None
    if len(newest.decisions) > 1:
        before, held_before = newest.decisions[-2], newest.held[-2][0]
    named, probabilities = _named(weights), _probabilities(decision, table)
    chances_before = None if before is None else _probabilities(before, table)
    return DecisionReport(
        session=decision.decided_on.date(),
        allocation=_name(decision, table),
        weights=named,
        weights_decided_on=decided_on and decided_on.date(),
        probabilities=probabilities,
        confidence=None if probabilities is None else decision.confidence,
        halt_prob=None if probabilities is None else decision.halt_prob,
        n_steps=decision.n_steps,
        model=decision.decided_by,
        knows_until=(trained or policy.models[0]).record.last_label_known_on,
        abstains_because=_why_abstained(policy, decision),
        features=readings,
        outside=tuple(name for name, r in readings.items() if r.is_outside),
        session_before=before and before.decided_on.date(),
        allocation_before=before and _name(before, table),
        weight_changes=_changes(named, _named(held_before)),
        probability_changes=_changes(probabilities, chances_before),
        orders=orders,
    )


def _readings(
    features: pd.DataFrame, trained: TrainedModel | None, policy: Decider
) -> dict[str, FeatureReading]:
    """Read each feature of the last session against the rows trained on."""
    scaler = (trained or policy.models[0]).scaler
    row = features.iloc[-1].to_numpy(np.float64)
    z_scores = scaler.transform(row).tolist()
    low, high = (None if s is None else s.tolist() for s in (scaler.low, scaler.high))
    moves = features.diff().iloc[-1].tolist() if len(features) > 1 else None
    return {
        name: FeatureReading(
            value=value,
            z_score=None if trained is None else z_scores[i],
            low=None if low is None else low[i],
            high=None if high is None else high[i],
            is_outside=None
            if low is None or high is None
            else not low[i] <= value <= high[i],
            change=None if moves is None else moves[i],
            status=policy.schema.status_by_name[name],
        )
        for i, (name, value) in enumerate(zip(FEATURE_NAMES, row.tolist(), strict=True))
    }


def _name(decision: Decision, table: Allocations) -> str | None:
    return None if decision.allocation is None else table.names[decision.allocation]


def _named(weights: Weights | None) -> dict[str, float] | None:
    """Return weights by asset, cash included."""
    if weights is None:
        return None
    return dict(zip(WEIGHT_COLUMNS, (*weights, 1.0 - sum(weights)), strict=True))


def _probabilities(decision: Decision, table: Allocations) -> dict[str, float] | None:
    if decision.allocation is None:
        return None
    return dict(zip(table.names, decision.probabilities.tolist(), strict=True))


def _changes(
    now: dict[str, float] | None, before: dict[str, float] | None
) -> dict[str, float] | None:
    if now is None or before is None:
        return None
    return {name: value - before[name] for name, value in now.items()}


def _why_abstained(policy: Decider, decision: Decision) -> str | None:
    """Say why a policy abstains; None where it does not."""
    if decision.allocation is not None:
        return None
    first, session = policy.models[0], decision.decided_on.date()
    known_on = first.record.last_label_known_on
    if session <= known_on:
        return (
            f"{session} lies in the span that model {first.name} was trained on: it "
            f"knows outcomes up to {known_on} and decides later sessions only."
        )
    assert isinstance(policy, RunPolicy)
    return f"{session} lies before the first decision of the run, {policy.first}."
