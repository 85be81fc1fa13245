"""What came out of a run, as the tables and the summary of its folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trm_bt.backtest import BacktestResult
from trm_bt.config import ScheduleName
from trm_bt.evaluation.benchmarks import OURS
from trm_bt.evaluation.leads import draws_of, leads_of, resampling_of
from trm_bt.evaluation.metrics import (
    MIN_SESSIONS,
    costs_annual,
    excess_returns,
    max_drawdown,
    summarize_strategy,
    total_return,
)
from trm_bt.evaluation.statistics import interval
from trm_bt.files import staged_files
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.splits import CrisisPlan
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import IN_SAMPLE
from trm_bt.market.features import FeatureSchema
from trm_bt.market.labels import cash_returns
from trm_bt.runfolder.holding import NOW, DecisionReport
from trm_bt.runfolder.orders import GapRecord, OrdersRecord
from trm_bt.runfolder.records import (
    OUT_OF_SAMPLE,
    BarsRecord,
    CashRecord,
    CrisisRecord,
    FeaturesRecord,
    ModelRecord,
    SpanRecord,
    Summary,
    ValidationRecord,
)
from trm_bt.runfolder.schedules import ScheduleRecord
from trm_bt.runfolder.store import write_json

CrisisResults = Mapping[str, tuple[BacktestResult, pd.DataFrame]]
"""By crisis: the allocator's run, and every strategy's equity in the crisis."""


def model_record(model: TrainedModel) -> ModelRecord:
    """Describe a trained model."""
    record, best = model.record, model.record.best
    return ModelRecord(
        name=model.name,
        trained_from=record.train_start,
        trained_until=record.last_label_known_on,
        n_rows=record.n_train + record.n_validation,
        n_train=record.n_train,
        n_validation=record.n_validation,
        n_purged=record.n_purged,
        n_visited=record.n_visited,
        seed=model.config.seed,
        batch_size=record.batch_size,
        n_optimizer_steps=record.n_optimizer_steps,
        best_epoch=record.best_epoch,
        validation=ValidationRecord(
            accuracy=best.validation_accuracy,
            majority_accuracy=record.majority_accuracy,
            utility=best.validation_utility,
            best_fixed_utility=record.best_fixed_utility,
        ),
        temperature=record.temperature,
        n_effective=record.n_effective,
        pooled=record.pooled,
    )


@dataclass(frozen=True)
class Backtests:
    """All backtests of a run.

    Parameters
    ----------
    results : dict of str to BacktestResult
        Continuous out-of-sample runs by strategy, the allocator's first.
    crises : mapping of str to (BacktestResult, DataFrame)
        By crisis name, the allocator's run and every strategy's equity in the crisis.
    schedules : dict of str to ScheduleRecord
        The allocator's decisions traded on every schedule.
    schedule : str
        Of these, the one of the run.
    """

    results: dict[str, BacktestResult]
    crises: CrisisResults
    schedules: dict[ScheduleName, ScheduleRecord]
    schedule: ScheduleName


def summarize(
    bars: Bars,
    done: Backtests,
    plans: Sequence[CrisisPlan],
    models: Iterable[ModelRecord],
    *,
    seed: int,
) -> Summary:
    """Return what summary.json holds.

    Parameters
    ----------
    bars : Bars
        The bars of the run.
    done : Backtests
        All backtests of the run.
    plans : sequence of CrisisPlan
        All crises, those without data included.
    models : iterable of ModelRecord
        The models that decided the crises.
    seed : int
        Seed of the run.
    """
    cash = CashRecord.of(bars)
    earned = None if cash.source is None else cash_returns(bars)
    results, ours = done.results, done.results[OURS]
    everything = [*results.values(), *(alone for alone, _ in done.crises.values())]
    schema = FeatureSchema.model_validate(ours.decisions.attrs["feature_schema"])
    by_name = {model.name: model for model in models}
    return Summary(
        bars=BarsRecord.of(bars),
        cash=str(cash),
        cash_rate=cash,
        features=FeaturesRecord(
            formula_version=schema.formula_version,
            members=schema.members,
            status=dict(schema.status_by_name),
        ),
        out_of_sample=_span(ours),
        strategies={
            name: summarize_strategy(r.equity, orders=r.orders, cash_returns=earned)
            for name, r in results.items()
        },
        crises=tuple(_crisis_record(plan, done.crises, by_name) for plan in plans),
        orders=_orders_record(everything),
        seed=seed,
        allocations=schema.table.names,
        schedules=done.schedules,
        schedule=done.schedule,
        **_tests(results, earned),
    )


def _span(result: BacktestResult) -> SpanRecord:
    days = result.equity.index
    return SpanRecord(
        start=days[1].date(),
        end=days[-1].date(),
        sessions=len(days) - 1,
        abstained=result.n_abstained,
    )


def _tests(
    results: Mapping[str, BacktestResult], cash_returns: pd.Series | None
) -> dict[str, Any]:
    """Return `leads` and `sharpe_intervals`; nothing where the span is short."""
    excess = pd.DataFrame(
        {name: excess_returns(r.equity, cash_returns) for name, r in results.items()}
    )
    if len(excess) < MIN_SESSIONS:
        return {}
    draws = draws_of(excess, resampling_of(excess))
    return {
        "leads": leads_of(excess, draws, list(results)),
        "sharpe_intervals": {name: interval(values) for name, values in draws.items()},
    }


def schedule_record(
    result: BacktestResult, cash_returns: pd.Series | None
) -> ScheduleRecord:
    """Return the figures of one run of the allocator, by which schedules are compared.

    Parameters
    ----------
    result : BacktestResult
        The allocator's run.
    cash_returns : Series or None
        What cash earned, None where it earned nothing.
    """
    orders = result.orders
    figures = summarize_strategy(
        result.equity, orders=orders, cash_returns=cash_returns
    )
    return ScheduleRecord(
        total_return=figures.total_return,
        sharpe=figures.sharpe,
        max_drawdown=figures.max_drawdown,
        turnover_annual=figures.turnover_annual,
        costs_annual=costs_annual(result.equity, orders),
        orders=result.n_completed,
        trading_sessions=orders["filled_on"].nunique(),
    )


def _crisis_record(
    plan: CrisisPlan, crises: CrisisResults, models: Mapping[str, ModelRecord]
) -> CrisisRecord:
    crisis, found = plan.crisis, crises.get(plan.crisis.name)
    facts: dict[str, object] = dict.fromkeys(CrisisRecord.model_fields)
    facts |= {
        "name": crisis.name,
        "start": crisis.start.date(),
        "end": crisis.end.date(),
        "covered": found is not None,
        "reason": plan.reason,
    }
    if found is not None:
        result, equity = found
        first = result.decisions.iloc[0]
        model = models[first["base_model"].removesuffix(IN_SAMPLE)]
        facts |= {
            "sessions": len(equity) - 1,
            "model": first["model"],
            "base_model": model.name,
            "trained_from": model.trained_from,
            "trained_until": model.trained_until,
            "n_optimizer_steps": model.n_optimizer_steps,
            "total_return": {name: total_return(equity[name]) for name in equity},
            "max_drawdown": {name: max_drawdown(equity[name]) for name in equity},
        }
    return CrisisRecord.model_validate(facts)


def _orders_record(runs: Sequence[BacktestResult]) -> OrdersRecord:
    """Count the orders of all runs; gaps are those of the first, the allocator's."""
    return OrdersRecord(
        submitted=sum(result.n_submitted for result in runs),
        completed=sum(result.n_completed for result in runs),
        rejected=sum(result.n_rejected for result in runs),
        gaps={
            "fill": gap_record(runs[0].executions["fill_gap"]),
            "close": gap_record(runs[0].executions["close_gap"]),
        }
        if len(runs[0].executions)
        else {},
    )


def gap_record(gaps: pd.Series) -> GapRecord:
    """Return quantiles of how far weights were from their targets.

    Parameters
    ----------
    gaps : Series of shape (n_executions,)
        Shares of the portfolio; at least one.

    Examples
    --------
    >>> gap_record(pd.Series([0.1, 0.2, 0.3])).median
    0.2
    """
    levels = {"median": 0.5, "p95": 0.95, "p99": 0.99, "largest": 1.0}
    found = {name: float(gaps.quantile(level)) for name, level in levels.items()}
    return GapRecord(**found)


def save_results(
    results: Mapping[str, BacktestResult], crises: CrisisResults, folder: Path
) -> None:
    """Write equity, weights, decisions, orders and executions of all runs."""
    equity = pd.DataFrame({name: result.equity for name, result in results.items()})
    equity.rename_axis("session").to_parquet(folder / "equity.parquet")
    # where there is no crisis, a table of no rows
    windows = {name: frame for name, (_, frame) in crises.items()} or {"": equity[:0]}
    pd.concat(windows, names=["crisis", "session"]).to_parquet(
        folder / "crisis_equity.parquet"
    )
    runs = [
        *((OUT_OF_SAMPLE, name, result) for name, result in results.items()),
        *((crisis, OURS, result) for crisis, (result, _) in crises.items()),
    ]
    ours = [row for row in runs if row[1] == OURS]
    tables = {
        "orders": [_tagged(r.orders, *tag) for *tag, r in runs],
        "executions": [_tagged(r.executions.reset_index(), *tag) for *tag, r in ours],
        "weights": [
            _tagged(r.weights.rename_axis("session").reset_index(), *tag)
            for *tag, r in ours
        ],
        "decisions": [_tagged(r.decisions, *tag) for *tag, r in ours],
    }
    for table, parts in tables.items():
        whole = pd.concat(parts, ignore_index=True)
        whole.to_parquet(folder / f"{table}.parquet")


def save_now(report: DecisionReport, folder: Path) -> None:
    """Write what is held after the last session into a run folder."""
    with staged_files(folder) as new:
        write_json(new / NOW, report)


def _tagged(frame: pd.DataFrame, run: str, strategy: str) -> pd.DataFrame:
    tagged = frame.copy()
    tagged.insert(0, "run", run)
    tagged.insert(1, "strategy", strategy)
    return tagged
