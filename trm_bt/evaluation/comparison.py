"""The allocator and its benchmarks through one engine, and what each of them did.

Everyone meets the same costs, cash, band, schedule and sessions. Nothing here is a
test: what of the figures is more than luck is the matter of
`trm_bt.evaluation.significance`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.evaluation.assessment import (
    ComparedFigures,
    Period,
    PeriodFigures,
    VolatilityLevel,
)
from trm_bt.evaluation.benchmarks import (
    OURS,
    Benchmark,
    DecisionRecord,
    fixed_benchmarks,
    learned_benchmarks,
    matched_mix,
    missing_modules,
    oracle,
    rule_benchmarks,
)
from trm_bt.evaluation.metrics import (
    CalibrationBin,
    calibration,
    max_drawdown,
    session_returns,
    sharpe,
    summarize_strategy,
    total_return,
)
from trm_bt.evaluation.replay import Replay, replay
from trm_bt.evaluation.risk_skill import RiskForecasts, risk_forecasts
from trm_bt.executors import Runner, opened, share
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.market.labels import cash_returns, features_and_labels, forward_returns
from trm_bt.processes import Progress, no_progress
from trm_bt.strategies.scheduled import ScheduledWeights
from trm_bt.tasks import Task, in_order

PERIOD_YEARS: Final = 5
VOLATILITY_EDGES: Final = (0.0, 15.0, 20.0, 25.0, 30.0, 40.0, float("inf"))


@dataclass(frozen=True)
class Comparison:
    """What every strategy did over the same sessions.

    Parameters
    ----------
    bars : Bars
        The sessions of the comparison, the base first.
    decisions : DecisionRecord
        Decisions of the allocator on them.
    config : TRMConfig
        Settings of the run: costs, starting cash, band, horizon.
    strategies : mapping of str to Benchmark
        By name, the allocator first.
    results : mapping of str to BacktestResult
        The backtest of each.
    labels : DataFrame of shape (n_labels, 24)
        Labels of the sessions whose outcome is known.
    left_out : mapping of str to str
        Benchmarks that are missing, and why.
    risk : RiskForecasts or None
        Forecasts of each allocation's variance.
    """

    bars: Bars
    decisions: DecisionRecord
    config: TRMConfig
    strategies: Mapping[str, Benchmark]
    results: Mapping[str, BacktestResult]
    labels: pd.DataFrame
    left_out: Mapping[str, str]
    risk: RiskForecasts | None = None

    @property
    def allocations(self) -> Allocations:
        """What the allocator chooses from."""
        return Allocations.of(self.config.labels.allocations)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Portfolio values at the closes, shape (n_sessions + 1, n_strategies)."""
        return pd.DataFrame({n: result.equity for n, result in self.results.items()})

    @cached_property
    def cash_returns(self) -> pd.Series:
        """Return of cash in each session, shape (n_sessions + 1,); the first is 0."""
        return cash_returns(self.bars)

    @cached_property
    def excess(self) -> pd.DataFrame:
        """Session returns in excess of cash, shape (n_sessions, n_strategies)."""
        returns = {name: session_returns(self.equity[name]) for name in self.equity}
        return pd.DataFrame(returns).sub(self.cash_returns.iloc[1:], axis=0)

    @cached_property
    def regret(self) -> pd.DataFrame:
        """Return of the best allocation minus that of each strategy's weights.

        Over the horizon after each labelled session, before costs; shape
        (n_labels, n_strategies).
        """
        earned = forward_returns(self.bars, self.config.labels)
        sessions = self.labels.index.intersection(earned.index)
        assets = earned.loc[sessions].to_numpy()
        returns = self.allocations.columns("return")
        best = self.labels.loc[sessions, returns].max(axis=1).to_numpy()
        held = {
            name: (strategy.weights.loc[sessions].to_numpy() * assets).sum(axis=1)
            for name, strategy in self.strategies.items()
        }
        return pd.DataFrame({name: best - row for name, row in held.items()}, sessions)

    @cached_property
    def free_growth(self) -> pd.Series:
        """Growth of one unit in each strategy if trading is free, (n_strategies,)."""
        stacked = np.stack(
            [
                s.weights[["equity", "bond"]].to_numpy()
                for s in self.strategies.values()
            ],
            axis=1,
        )
        no_costs = np.zeros(stacked.shape[1])
        run = replay_in(self.bars, self.config, stacked, no_costs)
        return pd.Series(run.values[-1], list(self.strategies))


def replay_in(
    bars: Bars, config: TRMConfig, targets: np.ndarray, cost_rates: np.ndarray
) -> Replay:
    """Replay targets with the band and the schedule of a run; as `replay` does."""
    settings = config.strategy
    band, schedule = settings.rebalance_band, settings.schedule
    return replay(bars, targets, cost_rates, band=band, schedule=schedule)


def run_comparison(
    bars: Bars,
    decisions: DecisionRecord,
    config: TRMConfig,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    executor: Runner = 1,
) -> Comparison:
    """Run the allocator's decisions and every benchmark over the decided sessions.

    Parameters
    ----------
    bars : Bars
        The whole history up to the last session of the comparison: rules look back on
        it, and models learn from it.
    decisions : DecisionRecord
        Decisions of the allocator; the comparison is held on its sessions.
    config : TRMConfig
        Settings of the run.
    seed : int
        Seed of the benchmarks that are trained.
    progress : callable, optional
        Called after each backtest.
    executor : Executor, Workers or int, optional
        Who does the backtests; a number for so many processes.

    Raises
    ------
    BarsError
        If the sessions of bars and decisions differ from the first decision on.
    """
    span = _span_of(bars, decisions)
    features, labels = features_and_labels(bars, config)
    table = Allocations.of(config.labels.allocations)
    sessions, report = decisions.sessions, progress or no_progress
    ours = Benchmark(OURS, "ours", decisions.weights, classes=decisions.classes)
    results = {OURS: _run(span, ours, config)}
    report("benchmarks", 0, 1)
    others = [
        matched_mix(results[OURS].weights.iloc[1:].mean(), sessions),
        *fixed_benchmarks(sessions, table),
        *rule_benchmarks(bars, sessions, table),
        *learned_benchmarks(bars, decisions, features.frame, labels, seed, table),
        oracle(labels, sessions, table),
    ]
    with opened(executor, len(others)) as pool:
        shared = share(pool, span)
        tasks = [Task(one.name, _run, (shared, one, config)) for one in others]
        found = in_order(tasks, pool, report, stage="benchmarks")
    results |= {one.name: result for one, result in zip(others, found, strict=True)}
    return Comparison(
        bars=span,
        decisions=decisions,
        config=config,
        strategies={strategy.name: strategy for strategy in (ours, *others)},
        results=results,
        labels=labels.loc[labels.index.isin(sessions)],
        left_out=missing_modules(),
        risk=risk_forecasts(bars, decisions, labels, config),
    )


def _run(span: Bars, strategy: Benchmark, config: TRMConfig) -> BacktestResult:
    """Run one table of weights through the engine."""
    return run_backtest(
        span,
        ScheduledWeights,
        params={
            "weights": strategy.weights,
            "rebalance_band": config.strategy.rebalance_band,
            "min_trade_value": config.strategy.min_trade_value,
            "schedule": config.strategy.schedule,
        },
        config=config.backtest,
        name=strategy.name,
    )


def _span_of(bars: Bars, decisions: DecisionRecord) -> Bars:
    """Return the bars of the comparison if each session has one decision."""
    sessions = decisions.sessions
    if len(sessions) < 2:
        raise BarsError(
            f"A comparison needs decisions on 2 sessions or more, got {len(sessions)}."
        )
    span = bars.between(sessions[0])
    differing = span.sessions.symmetric_difference(sessions)
    if len(differing):
        raise BarsError(
            "Each session of the bars needs one decision from the first decision on, "
            f"but the two disagree on {len(differing)} sessions, first "
            f"{differing[0].date()}. Give the bars that the decisions were made on."
        )
    return span


def compared_figures(comparison: Comparison) -> dict[str, ComparedFigures]:
    """Return what each strategy earned, risked, traded, missed and lost to costs."""
    regret, n_labels = comparison.regret.mean(), len(comparison.labels)
    growth = comparison.equity.iloc[-1] / comparison.equity.iloc[0]
    lost = 1.0 - growth / comparison.free_growth
    figures = {}
    for name, strategy in comparison.strategies.items():
        result = comparison.results[name]
        own = summarize_strategy(
            result.equity, orders=result.orders, cash_returns=comparison.cash_returns
        )
        figures[name] = ComparedFigures(
            **asdict(own),
            kind=strategy.kind,
            note=strategy.note,
            sessions_waiting=strategy.n_waiting,
            # without round-off, and without the sign of a negative zero
            regret=round(float(regret[name]), 12) + 0.0 if n_labels else None,
            accuracy=_accuracy(strategy, comparison),
            lost_to_costs=float(lost[name]),
            rejected_orders=result.n_rejected,
        )
    return figures


def _accuracy(strategy: Benchmark, comparison: Comparison) -> float | None:
    """Return the share of right picks; None for a strategy that never picks."""
    if strategy.classes is None:
        return None
    winners = comparison.labels["winner"]
    picked = strategy.classes[comparison.bars.sessions.get_indexer(winners.index)]
    is_picked = picked >= 0
    if not is_picked.any():
        return None
    return float((picked == winners.to_numpy())[is_picked].mean())


def by_period(comparison: Comparison, names: Sequence[str]) -> list[Period]:
    """Return figures of some strategies in blocks of five calendar years.

    Blocks end with years that end in 4 and 9; the oldest comes first. A block begins
    at the close before its first session.
    """
    equity, cash = comparison.equity, comparison.cash_returns
    rows = []
    for first, last in _periods(pd.DatetimeIndex(equity.index)):
        block = equity.iloc[first - 1 : last]
        figures = {
            name: PeriodFigures(
                total_return(block[name]),
                sharpe(block[name], cash),
                max_drawdown(block[name]),
            )
            for name in names
        }
        start, end = (equity.index[row].date().isoformat() for row in (first, last - 1))
        rows.append(Period(start, end, last - first, figures))
    return rows


def _periods(sessions: pd.DatetimeIndex) -> Iterable[tuple[int, int]]:
    """Yield first and last (exclusive) row of each block, the base row left out."""
    blocks = np.asarray(sessions.year) // PERIOD_YEARS
    for block in np.unique(blocks[1:]):
        rows = np.flatnonzero(blocks == block)
        yield max(int(rows[0]), 1), int(rows[-1]) + 1


def regret_by_year(
    comparison: Comparison, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the mean regret by year, then by strategy, over a label's horizon."""
    regret = comparison.regret[list(names)]
    yearly = regret.groupby(pd.DatetimeIndex(regret.index).year).mean()
    return {
        str(year): {str(name): float(value) for name, value in row.items()}
        for year, row in yearly.iterrows()
    }


def calibration_and_confusion(
    comparison: Comparison,
) -> tuple[list[CalibrationBin], list[list[int]]]:
    """Return how often the allocator was right by confidence, and what it mistook.

    Returns
    -------
    list of CalibrationBin
    list of shape (n_allocations, n_allocations)
        Counts of sessions. Row i, column j: class i was the allocator's most probable,
        and j turned out the best.
    """
    decisions, labels = comparison.decisions, comparison.labels
    rows = decisions.sessions.get_indexer(pd.DatetimeIndex(labels.index))
    is_decided = decisions.classes[rows] >= 0
    rows, winners = rows[is_decided], labels["winner"].to_numpy(np.int64)[is_decided]
    classes, n_classes = decisions.classes[rows], len(comparison.allocations)
    pairs = np.bincount(classes * n_classes + winners, minlength=n_classes**2)
    counts: list[list[int]] = pairs.reshape(n_classes, n_classes).tolist()
    return calibration(decisions.confidence[rows], classes == winners), counts


def weights_by_volatility(comparison: Comparison) -> list[VolatilityLevel]:
    """Return the allocator's mean weights by level of the volatility index.

    The level is that of the deciding close; levels that never came up are left out.
    """
    weights = comparison.strategies[OURS].weights
    level = comparison.bars.volatility["close"].reindex(weights.index)
    rows = []
    for low, high in pairwise(VOLATILITY_EDGES):
        is_in = ((level >= low) & (level < high)).to_numpy()
        if is_in.any():
            means = {str(k): float(v) for k, v in weights[is_in].mean().items()}
            end = None if np.isinf(high) else high
            rows.append(VolatilityLevel(low, end, int(is_in.sum()), **means))
    return rows
