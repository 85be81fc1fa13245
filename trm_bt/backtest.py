"""One strategy run over bars in Cerebro, returned as checked pandas results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.config import BacktestConfig
from trm_bt.errors import TRMError
from trm_bt.feeds.backtrader import add_bars, first_day
from trm_bt.market.bars import ROLES, Bars
from trm_bt.market.features import describe_provenance
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.broker import FractionalShares, QuietBroker
from trm_bt.strategies.decision_table import DECISION_COLUMNS
from trm_bt.strategies.readouts import read_out
from trm_bt.strategies.rebalancing import RebalancingStrategy
from trm_bt.strategies.scheduled import ScheduledWeights
from trm_bt.strategies.trm_allocator import TRMAllocator

StrategyParams: TypeAlias = Mapping[str, Any]
"""Params of a strategy by name, as `Cerebro.addstrategy` takes them."""
_ROUND_OFF = 1e-9
_WITH_GIVEN_WEIGHTS = (FixedMix, ScheduledWeights)
"""Strategies that look back on nothing, because their weights are given."""


@dataclass(frozen=True)
class BacktestResult:
    """What one strategy did, session by session.

    Parameters
    ----------
    name : str
        Name of the strategy in tables.
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes from the first deciding session on, in quote
        currency. That first row is the base: nothing has been traded yet.
    weights : DataFrame of shape (n_sessions + 1, 3)
        Actual weights of equity, bond and cash at the same closes.
    orders : DataFrame of shape (n_orders, 9)
        Columns are `ORDER_COLUMNS`.
    executions : DataFrame of shape (n_executions, 12)
        Targets against realised weights; columns are `EXECUTION_COLUMNS`.
    decisions : DataFrame of shape (n_decisions, n_columns)
        As `decision_table` returns it; empty for a strategy without a policy. Its
        ``attrs["feature_schema"]`` says what the features were computed from.
    n_submitted, n_completed, n_rejected : int
        Orders sent, filled, and refused by the broker.
    n_abstained : int
        Sessions on which the policy abstained and cash was held.
    """

    name: str
    equity: pd.Series
    weights: pd.DataFrame
    orders: pd.DataFrame
    executions: pd.DataFrame
    decisions: pd.DataFrame
    n_submitted: int
    n_completed: int
    n_rejected: int
    n_abstained: int


def run_backtest(
    bars: Bars,
    strategy: type[RebalancingStrategy],
    *,
    params: StrategyParams | None = None,
    config: BacktestConfig | None = None,
    decide_from: pd.Timestamp | str | None = None,
    name: str | None = None,
) -> BacktestResult:
    """Run a strategy over `bars`, filled at the open that follows each decision.

    Orders are sized at that open (cheat-on-open), shares are fractional, costs are
    taken from the traded value and cash earns the bars' cash rate.

    Parameters
    ----------
    bars : Bars
        Checked bars, with the history that the features of the first decision need.
    strategy : type
        `TRMAllocator`, `FixedMix` or another `RebalancingStrategy`.
    params : mapping of str to object, optional
        The strategy's params.
    config : BacktestConfig, optional
        Starting cash and costs.
    decide_from : Timestamp or str, optional
        First session on which to decide, and so the base of the results; the first
        session of the bars if None.
    name : str, optional
        Name of the result; the class name if None.

    Raises
    ------
    BarsError
        If the bars end before `decide_from`.
    TRMError
        If cash plus positions differ from the broker's value on any session.
    """
    config, params = config or BacktestConfig(), dict(params or {})
    needed = _needed_bars(bars, strategy, params, decide_from)
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True)
    cerebro.broker = QuietBroker(cash=config.initial_cash)
    cerebro.broker.addcommissioninfo(
        FractionalShares(commission=config.cost_bps / 10_000.0)
    )
    is_given = strategy in _WITH_GIVEN_WEIGHTS
    roles = ("equity", "bond", "cash_rate") if is_given else ROLES
    add_bars(cerebro, needed, roles=roles)
    cerebro.addstrategy(strategy, decide_from=decide_from, **params)
    ran = cerebro.run()[0]
    _check_accounts(ran, needed, config.initial_cash)
    return _result(ran, needed, name or strategy.__name__)


def _needed_bars(
    bars: Bars,
    strategy: type[RebalancingStrategy],
    params: StrategyParams,
    decide_from: pd.Timestamp | str | None,
) -> Bars:
    """Leave out the sessions that nothing looks back on: they only take time.

    A subclass may look back as far as it likes.
    """
    if decide_from is None:
        return bars
    first = first_day("decide_from", decide_from)
    ahead = bars.between(pd.Timestamp.fromordinal(first))
    if strategy in _WITH_GIVEN_WEIGHTS:
        return ahead
    policy = params.get("policy")
    if policy is None or strategy is not TRMAllocator:
        return bars
    n_before = len(bars.sessions) - len(ahead.sessions) - policy.schema.n_lookback + 1
    return bars.between(bars.sessions[max(n_before, 0)])


def _check_accounts(ran: RebalancingStrategy, bars: Bars, initial_cash: float) -> None:
    """Rebuild cash and positions from fills and yields; hold them against the broker.

    Raises
    ------
    TRMError
        At the first session on which the two values differ.
    """
    closes: pd.DataFrame = read_out(ran, "closes")
    fills = read_out(ran, "orders").dropna(subset=["filled_on"])
    rows = closes.index.get_indexer(pd.Index(fills["filled_on"]))

    def summed(is_counted: pd.Series, amounts: pd.Series) -> np.ndarray:
        per_session = np.zeros(len(closes))
        np.add.at(per_session, rows[is_counted], amounts[is_counted])
        return np.cumsum(per_session)

    earned = np.cumsum(closes["credit"].shift(fill_value=0.0).to_numpy())
    spent = fills["value"] + fills["commission"]
    value = initial_cash + earned - summed(spent.notna(), spent)
    for asset in ("equity", "bond"):
        prices = getattr(bars, asset).loc[closes.index, "close"].to_numpy()
        value += summed(fills["asset"] == asset, fills["size"]) * prices
    broker_value = closes["broker_value"].to_numpy()
    ours = closes[["equity", "bond", "cash"]].sum(axis=1).to_numpy()
    is_off = np.abs(np.stack([value, ours]) / broker_value - 1.0).max(axis=0)
    if (is_off > _ROUND_OFF).any():
        at = int((is_off > _ROUND_OFF).argmax())
        raise TRMError(
            f"Cash plus positions must equal the broker's value, on "
            f"{closes.index[at].date()} got {value[at]:.6f} from the fills, "
            f"{ours[at]:.6f} from the positions and {broker_value[at]:.6f}."
        )


def _result(ran: RebalancingStrategy, bars: Bars, name: str) -> BacktestResult:
    orders: pd.DataFrame = read_out(ran, "orders")
    is_allocator = isinstance(ran, TRMAllocator)
    decisions = pd.DataFrame(columns=list(DECISION_COLUMNS))
    if is_allocator:
        decisions = read_out(ran, "decisions")
        decisions.attrs["feature_schema"]["provenance"] = describe_provenance(bars)
    return BacktestResult(
        name=name,
        equity=read_out(ran, "closes")["broker_value"].rename(name),
        weights=read_out(ran, "weights"),
        orders=orders,
        executions=read_out(ran, "executions"),
        decisions=decisions,
        n_submitted=read_out(ran, "n_submitted"),
        n_completed=int((orders["status"] == "Completed").sum()),
        n_rejected=read_out(ran, "n_rejected"),
        n_abstained=read_out(ran, "n_abstained") if is_allocator else 0,
    )
