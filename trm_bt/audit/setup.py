"""The look-ahead audit of a set-up of this package, from features to trades."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.audit.api import audit_features, audit_labels, audit_policy
from trm_bt.audit.checks import AuditResult, AuditSettings, Evaluation, run_check
from trm_bt.audit.counterfactual import Counterfactual
from trm_bt.audit.differences import DatedTable, compare_tables, table_by_session
from trm_bt.audit.pooled import Pooled, beside, samples_by
from trm_bt.audit.training import (
    Learned,
    audit_counterfactual_training,
    audit_split,
    freezes_of,
)
from trm_bt.backtest import run_backtest
from trm_bt.config import Device, TRMConfig
from trm_bt.executors import Runner, opened, share
from trm_bt.learning.dataset import Samples, Scaler, split_chronologically
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.learning.workers import Packed, pack, unpack
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FEATURE_NAMES, compute_features, schema_for
from trm_bt.market.labels import features_and_labels
from trm_bt.processes import no_progress
from trm_bt.strategies.decision_table import step_columns
from trm_bt.strategies.trm_allocator import TRMAllocator
from trm_bt.tasks import Task, in_order, tell_progress

N_ROWS: Final = 32
"""Rows that a network decides before each cut and after it: two fill its block."""


def audit_setup(
    bars: Bars,
    config: TRMConfig,
    settings: AuditSettings | None = None,
    policy: TRMPolicy | None = None,
    executor: Runner = 1,
    pooled: Pooled | None = None,
) -> Iterator[AuditResult]:
    """Audit features, labels, training, split, scaler, decisions and trades.

    Everything is compared bit for bit, whatever the tolerance of `settings`.

    Parameters
    ----------
    bars : Bars
        Bars to audit on.
    config : TRMConfig
        The set-up.
    settings : AuditSettings, optional
        Cuts and seed.
    policy : TRMPolicy, optional
        Policy whose decisions and trades to audit; by default that of the models which
        the audit of the training trains.
    executor : Executor, Workers or int, optional
        Who does the checks; a number for so many processes.
    pooled : mapping of str to Bars, optional
        Further universes that are trained on; they have another future wherever the
        bars have one.

    Yields
    ------
    AuditResult
        One per check, as it is done.

    Raises
    ------
    BarsError
        If the bars are too short for labels, or to train on half of them.
    ConfigError
        If the labels cannot measure the utility.
    """
    config.check_trainable()
    progress = (settings.progress if settings else None) or no_progress
    exact = replace(settings or AuditSettings(), rtol=0.0, progress=tell_progress)
    freeze = freezes_of(bars)[-1]
    fraction = config.training.validation_fraction
    with opened(executor, len(_FIRST)) as pool:
        shared = share(pool, _SetUp(bars, config, exact, pooled or {}))
        first = [Task(check.__name__, check, (shared,)) for check in _FIRST]
        *results, (training, models) = in_order(first, pool, progress)
        yield from (*results, training)
        samples = samples_by(bars, freeze, config, pooled)
        old, new = split_chronologically(samples, fraction)
        known_on = np.concatenate([rows.known_on for rows in old.universes])
        yield audit_split(pd.DatetimeIndex(known_on), new.sessions[0])
        if freeze in models:  # else the training leaked at an earlier freeze
            yield audit_scaler(models[freeze][0].scaler, old)
        if training.difference is not None and policy is None:
            return  # models of a leaking training are not worth auditing
        members = policy.members if policy else [map(unpack, models.values())]
        packed = [[pack(model) for model in member] for member in members]
        used = _Used(packed, policy.device if policy else "auto")
        after = None if policy else freeze
        yield from in_order(
            [
                Task("policy", _check_policy, (shared, used)),
                Task("trades", _check_trades, (shared, used, after)),
            ],
            pool,
            progress,
        )


@dataclass(frozen=True)
class _SetUp:
    """What all checks of a set-up share."""

    bars: Bars
    config: TRMConfig
    settings: AuditSettings
    pooled: Pooled


@dataclass(frozen=True)
class _Used:
    """A policy as it travels between processes."""

    members: list[list[Packed]]
    device: Device

    def policy(self) -> TRMPolicy:
        """Return the policy."""
        members = [[unpack(packed) for packed in member] for member in self.members]
        return TRMPolicy(*members, device=self.device, keeps_answers=False)


def _check_features(setup: _SetUp) -> AuditResult:
    def compute(bars: Bars) -> pd.DataFrame:
        return compute_features(bars, setup.config.features).frame

    return audit_features(compute, setup.bars, setup.settings)


def _check_labels(setup: _SetUp) -> AuditResult:
    config = setup.config
    return audit_labels(
        lambda bars: features_and_labels(bars, config)[1],
        setup.bars,
        setup.settings,
        n_ahead=config.labels.n_ahead,
    )


def _check_training(setup: _SetUp) -> tuple[AuditResult, dict[pd.Timestamp, Packed]]:
    """Audit the training, and return the models that it trained on all bars."""
    models: dict[pd.Timestamp, Packed] = {}

    def learn(given: Counterfactual) -> Mapping[str, Learned]:
        pooled = beside(given, setup.pooled, setup.config, setup.settings.seed)
        model = train_frozen(given.bars, given.cut, setup.config, pooled)
        # the first training of each freeze is the one on all bars
        models.setdefault(given.cut, pack(model))
        return learned(model)

    found = audit_counterfactual_training(learn, setup.bars, setup.settings)
    return found, models


_FIRST: Final = (_check_features, _check_labels, _check_training)
"""Checks that wait for no other."""


def _check_policy(setup: _SetUp, used: _Used) -> AuditResult:
    policy = used.policy()
    return audit_policy(lambda _: policy, setup.bars, setup.settings, n_rows=N_ROWS)


def _check_trades(
    setup: _SetUp, used: _Used, after: pd.Timestamp | None
) -> AuditResult:
    policy = used.policy()
    decide_from = first_decision(policy, setup.bars, after)
    return audit_trades(policy, setup.bars, setup.config, setup.settings, decide_from)


def train_frozen(
    bars: Bars, frozen_on: pd.Timestamp, config: TRMConfig, pooled: Pooled | None = None
) -> TrainedModel:
    """Train a model on the labels known at the close of `frozen_on`.

    Parameters
    ----------
    bars : Bars
        Bars that may continue after the freeze.
    frozen_on : Timestamp
        Last session that the model may know.
    config : TRMConfig
        All settings.
    pooled : mapping of str to Bars, optional
        Further universes to train on.
    """
    samples = samples_by(bars, frozen_on, config, pooled)
    schema = schema_for(bars, config.features)
    return train(samples, schema, config, name=f"frozen_{frozen_on.date()}")


def learned(model: TrainedModel) -> dict[str, Learned]:
    """Return all results of a training: scaler, parameters, spans and figures."""
    return {
        "scaler mean": model.scaler.mean,
        "scaler std": model.scaler.std,
        "record": model.record.model_dump_json(),
        **{name: values.numpy() for name, values in model.parameters.items()},
    }


def audit_scaler(scaler: Scaler, training: Samples) -> AuditResult:
    """Compare a scaler with one fitted on the training rows, without validation rows.

    Parameters
    ----------
    scaler : Scaler
        What a training fitted.
    training : Samples
        The rows it trained on.
    """
    names = [f"{what} {name}" for what in ("mean", "std") for name in FEATURE_NAMES]
    last = pd.DatetimeIndex([training.known_on.max()])
    refitted, given = (
        DatedTable(pd.DataFrame([np.r_[one.mean, one.std]], columns=names), last)
        for one in (Scaler.fit(training.features), scaler)
    )
    seen = compare_tables(refitted, given, rtol=0.0)
    detail = f"refitted on {len(training)} training rows"
    return AuditResult("scaler", detail, **vars(seen))


def first_decision(
    policy: TRMPolicy, bars: Bars, after: pd.Timestamp | None
) -> pd.Timestamp:
    """Return the first session, after `after` if given, that the policy decides."""
    sessions = bars.sessions[policy.schema.n_lookback - 1 :]
    if after is not None:
        sessions = sessions[sessions > after]
    return next(session for session in sessions if policy.model_for(session))


def audit_trades(
    policy: TRMPolicy,
    bars: Bars,
    config: TRMConfig,
    settings: AuditSettings,
    decide_from: pd.Timestamp,
) -> AuditResult:
    """Audit decisions, orders, weights and value of whole backtests of the allocator.

    Orders are sized at the open that fills them, so they may depend on that open and on
    nothing else of its session.

    Parameters
    ----------
    policy : TRMPolicy
        What decides; a row it has decided once is remembered, for `audit_policy` has
        shown that a row's decision is its own.
    bars : Bars
        Bars to trade on.
    config : TRMConfig
        Strategy and backtest settings.
    settings : AuditSettings
        Cuts, seed and tolerance.
    decide_from : Timestamp
        First session on which to decide.
    """
    remembered = _Remembered(policy)

    def evaluate(given: Counterfactual) -> Evaluation:
        result = run_backtest(
            given.bars,
            TRMAllocator,
            params={"policy": remembered, **config.strategy.model_dump()},
            config=config.backtest,
            decide_from=decide_from,
        )
        orders = result.orders.dropna(subset=["filled_on"])
        number = orders.groupby("filled_on").cumcount()
        filled_on = pd.DatetimeIndex(orders["filled_on"])
        named = orders.set_index([filled_on, number])
        closes = result.weights.assign(value=result.equity)
        decisions = result.decisions.set_index("session")
        # a step that no decision of these bars took is a column of nothing
        steps = step_columns(config.model.max_supervision_steps, policy.schema.table)
        untaken = [name for name in steps if name not in decisions]
        decisions = decisions.reindex(columns=[*decisions.columns, *untaken])
        return Evaluation(
            {
                "order": DatedTable(named, filled_on, is_at_open=True),
                "close": table_by_session(closes, "closes"),
                "decision": table_by_session(decisions, "decisions"),
            },
            cuts_from=decide_from,
        )

    return run_check("trades", evaluate, bars, settings)


class _Remembered:
    """A policy that asks another one about each row of features once."""

    def __init__(self, policy: TRMPolicy) -> None:
        self.schema, self.check_schema = policy.schema, policy.check_schema
        self._policy = policy
        self._known: dict[tuple[pd.Timestamp, bytes], Decision] = {}

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Decide for each row, by what is remembered where there is something."""
        rows = [row.tobytes() for row in features]
        keys = list(zip(sessions, rows, strict=True))
        is_new = np.array([key not in self._known for key in keys], dtype=bool)
        if is_new.any():
            decided = self._policy.decide(sessions[is_new], features[is_new])
            new = (key for key in keys if key not in self._known)
            self._known |= dict(zip(list(new), decided, strict=True))
        return [self._known[key] for key in keys]
