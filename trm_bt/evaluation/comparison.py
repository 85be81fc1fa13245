"""The allocator and every rival through the same engine, costs, cash and dates."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.evaluation.benchmarks import (
    OURS,
    Decided,
    Rival,
    fixed_rivals,
    label_table,
    learned_rivals,
    matched_rival,
    missing_modules,
    oracle_rival,
    rule_rivals,
)
from trm_bt.evaluation.metrics import session_returns
from trm_bt.evaluation.replay import Replay, replay, replay_one
from trm_bt.market.bars import Bars
from trm_bt.market.labels import RETURN_COLUMNS, cash_returns, forward_returns
from trm_bt.processes import Progress, no_progress
from trm_bt.strategies.scheduled import ScheduledWeights


@dataclass(frozen=True)
class Contest:
    """What everybody did over the same sessions.

    Parameters
    ----------
    bars : Bars
        The sessions of the contest, the base first.
    decided : Decided
        What the allocator decided on them.
    config : TRMConfig
        Settings of the run: costs, starting cash, band, horizon.
    rivals : mapping of str to Rival
        By name, the allocator first.
    results : mapping of str to BacktestResult
        What the engine made of each.
    labels : DataFrame of shape (n_labels, 24)
        Labels of the sessions whose outcome is known.
    volatility : Series of shape (n_sessions,)
        Closes of the volatility index.
    left_out : mapping of str to str
        Rivals that are not there, and why.
    """

    bars: Bars
    decided: Decided
    config: TRMConfig
    rivals: Mapping[str, Rival]
    results: Mapping[str, BacktestResult]
    labels: pd.DataFrame
    volatility: pd.Series
    left_out: Mapping[str, str]

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Portfolio values at the closes, shape (n_sessions + 1, n_strategies)."""
        return pd.DataFrame({n: result.equity for n, result in self.results.items()})

    @cached_property
    def cash_returns(self) -> pd.Series:
        """What cash earned in each session, shape (n_sessions + 1,); first 0."""
        return cash_returns(self.bars)

    @cached_property
    def excess(self) -> pd.DataFrame:
        """Session returns less those of cash, shape (n_sessions, n_strategies)."""
        cash = self.cash_returns.iloc[1:]
        returns = {name: session_returns(self.equity[name]) for name in self.equity}
        return pd.DataFrame(returns).sub(cash, axis=0)

    @cached_property
    def regret(self) -> pd.DataFrame:
        """Return of the best of the eight less that of each strategy's weights.

        Over the horizon after each labelled session, before costs; shape
        (n_labels, n_strategies).
        """
        earned = forward_returns(self.bars, self.config.labels)
        sessions = self.labels.index.intersection(earned.index)
        assets = earned.loc[sessions].to_numpy()
        best = self.labels.loc[sessions, list(RETURN_COLUMNS)].max(axis=1).to_numpy()
        held = {
            name: (rival.weights.loc[sessions].to_numpy() * assets).sum(axis=1)
            for name, rival in self.rivals.items()
        }
        return pd.DataFrame({name: best - row for name, row in held.items()}, sessions)

    @cached_property
    def free_growth(self) -> pd.Series:
        """What one unit grows to in each strategy where trading is free."""
        targets = [rival.weights[["equity", "bond"]] for rival in self.rivals.values()]
        stacked = np.stack([table.to_numpy() for table in targets], axis=1)
        band = self.config.strategy.rebalance_band
        run = replay(self.bars, stacked, np.zeros(len(targets)), band=band)
        return pd.Series(run.values[-1], list(self.rivals))

    def at_costs(self, name: str, cost_bps: np.ndarray) -> Replay:
        """Replay a strategy at other costs, in basis points, one path each.

        Arrays make every trade, however small `min_trade_value` finds it.
        """
        band = self.config.strategy.rebalance_band
        weights = self.rivals[name].weights
        return replay_one(self.bars, weights, cost_bps / 1e4, band=band)


def hold_contest(
    bars: Bars,
    decided: Decided,
    config: TRMConfig,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Contest:
    """Run the allocator's decisions and every rival over the decided sessions.

    Parameters
    ----------
    bars : Bars
        The whole history up to the last session of the contest: rules look back on it,
        and models learn from it.
    decided : Decided
        The allocator's decisions; its sessions are the contest.
    config : TRMConfig
        Settings of the run.
    seed : int
        Of the rivals that are trained.
    progress : callable, optional
        Called after each run.

    Raises
    ------
    BarsError
        If the decisions are not one a session of the bars, up to their end.
    """
    span = _check_sessions(bars, decided)
    features, labels = label_table(bars, config)
    sessions, tell = decided.sessions, progress or no_progress
    ours = Rival(OURS, "ours", decided.weights, classes=decided.classes)
    results = {OURS: _run(span, ours, config)}
    tell("rivals", 0, 1)
    mean_weights = results[OURS].weights.iloc[1:].mean()
    others = [
        matched_rival(mean_weights, sessions),
        *fixed_rivals(sessions),
        *rule_rivals(bars, sessions),
        *learned_rivals(bars, decided, features, labels, seed),
        oracle_rival(labels, sessions),
    ]
    for done, rival in enumerate(others, 1):
        results[rival.name] = _run(span, rival, config)
        tell("rivals", done, len(others))
    return Contest(
        bars=span,
        decided=decided,
        config=config,
        rivals={rival.name: rival for rival in (ours, *others)},
        results=results,
        labels=labels.loc[labels.index.isin(sessions)],
        volatility=span.volatility["close"],
        left_out=missing_modules(),
    )


def _run(span: Bars, rival: Rival, config: TRMConfig) -> BacktestResult:
    """Run one table of weights through the engine."""
    return run_backtest(
        span,
        ScheduledWeights,
        params={
            "weights": rival.weights,
            "rebalance_band": config.strategy.rebalance_band,
            "min_trade_value": config.strategy.min_trade_value,
        },
        config=config.backtest,
        name=rival.name,
    )


def _check_sessions(bars: Bars, decided: Decided) -> Bars:
    """Return the bars of the contest if there is one decision on each session."""
    if not len(decided.sessions):
        raise BarsError("A contest needs decisions, and none lie in the span.")
    span = bars.between(decided.sessions[0])
    differing = span.sessions.symmetric_difference(decided.sessions)
    if len(differing):
        raise BarsError(
            "Each session of the bars needs one decision from the first decision on, "
            f"but the two disagree on {len(differing)} sessions, first "
            f"{differing[0].date()}. Give the bars that the decisions were made on."
        )
    if len(span.sessions) < 2:
        raise BarsError("A contest needs 2 sessions or more, got 1.")
    return span
