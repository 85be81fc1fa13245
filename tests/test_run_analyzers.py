"""What the analyzers of a run count, held against plain sums of the same run."""

import json

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakePolicy
from trm_bt.analyzers.decision_log import DecisionLog
from trm_bt.analyzers.turnover import TurnoverAnalyzer
from trm_bt.analyzers.weights import WeightsAnalyzer
from trm_bt.errors import RunError
from trm_bt.feeds.backtrader import add_bars
from trm_bt.strategies.broker import FractionalShares
from trm_bt.strategies.decision_table import with_orders
from trm_bt.strategies.trm_allocator import TRMAllocator

ANALYZERS = {
    "log": DecisionLog,
    "weights": WeightsAnalyzer,
    "turnover": TurnoverAnalyzer,
}


def run(bars, *, coo, strategy=TRMAllocator, **params):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(1e6)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=0.0005))
    add_bars(cerebro, bars)
    for name, kind in ANALYZERS.items():
        if strategy is TRMAllocator or kind is not DecisionLog:
            cerebro.addanalyzer(kind, _name=name)
    cerebro.addstrategy(strategy, **params)
    return cerebro.run()[0]


@pytest.fixture(scope="module", params=[True, False], ids=["coo", "plain"])
def ran(request, bars):
    policy = FakePolicy.reading(bars)
    policy.abstains = (bars.sessions[100], bars.sessions[120])
    settings = {"n_averaged": 1, "min_confidence": 0.5}
    return run(bars, coo=request.param, policy=policy, **settings)


def test_the_log_joins_decisions_with_their_orders(ran):
    log = ran.analyzers.log.to_frame()
    assert log["session"].tolist() == ran.decisions["session"].tolist()
    by_hand = {}
    for order in ran.orders.itertuples():
        by_hand[order.decided_on, order.asset] = order
    assert len(by_hand) > 200
    for row in log.itertuples():
        for asset in ("equity", "bond"):
            order = by_hand.pop((row.session, asset), None)
            found = [
                getattr(row, f"{asset}_{name}")
                for name in ("size", "price", "filled_on", "status", "slippage")
            ]
            if order is None:
                assert pd.isna(found).all()
                continue
            expected = [
                order.size,
                order.price,
                order.filled_on,
                order.status,
                order.slippage,
            ]
            assert [str(value) for value in found] == [str(v) for v in expected]
    assert not by_hand
    assert log.attrs["feature_schema"] == ran.decisions.attrs["feature_schema"]


@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
def test_of_several_orders_for_a_decision_the_log_shows_the_last(bars, coo):
    class Monthly(TRMAllocator):
        """Decide on every twentieth bar, and rebalance to that on all of them."""

        def is_ready(self):
            return super().is_ready() and len(self.datas[0]) % 20 == 0

    done = run(bars, coo=coo, strategy=Monthly, policy=FakePolicy.reading(bars))
    log = with_orders(done.decisions, done.orders)
    assert log["session"].tolist() == bars.sessions[59::20].tolist()
    n_ordered = done.orders.groupby(["decided_on", "asset"]).size()
    assert n_ordered.iloc[:-2].min() > 10
    last = {(row.decided_on, row.asset): row.size for row in done.orders.itertuples()}
    for asset in ("equity", "bond"):
        wanted = [last.get((day, asset), np.nan) for day in log["session"]]
        np.testing.assert_array_equal(log[f"{asset}_size"], wanted)


def test_the_log_counts(ran, bars):
    analysis = ran.analyzers.log.get_analysis()
    assert analysis["n_decisions"] == 341
    assert analysis["n_abstained"] == 21
    assert analysis["n_kept"] == (ran.decisions["confidence"] < 0.5).sum() > 0
    assert sum(analysis["by_status"].values()) == analysis["n_submitted"]
    assert analysis["n_rejected"] == 0
    first = json.loads(json.dumps(analysis))["decisions"][0]["session"]
    assert first == bars.sessions[59].date().isoformat()


def test_weights_are_positions_times_closes(ran, bars):
    table = ran.analyzers.weights.to_frame()
    assert table.columns.tolist() == ["equity", "bond", "cash"]
    pd.testing.assert_frame_equal(table, ran.weights, rtol=1e-12, check_freq=False)
    analysis = ran.analyzers.weights.get_analysis()
    assert json.loads(json.dumps(analysis))["n_sessions"] == len(bars.sessions)
    assert analysis["last"] == table.iloc[-1].to_dict()


def test_turnover_is_what_the_orders_traded(ran):
    table = ran.analyzers.turnover.to_frame()
    filled = ran.orders.dropna(subset=["filled_on"])
    for session, rows in filled.groupby("filled_on"):
        traded = sum(abs(value) for value in rows["value"])
        assert table.loc[session, "traded"] == pytest.approx(traded)
        value = ran.closes.loc[session, "broker_value"]
        assert table.loc[session, "turnover"] == pytest.approx(traded / 2 / value)
    analysis = ran.analyzers.turnover.get_analysis()
    assert analysis["traded"] == pytest.approx(filled["value"].abs().sum())
    assert analysis["commission"] == pytest.approx(filled["commission"].sum())
    assert analysis["n_sessions_with_trades"] == filled["filled_on"].nunique()
    assert json.loads(json.dumps(analysis))


class AllIn(bt.Strategy):
    """Any strategy: buy one feed, sell the half of it again."""

    def next(self):
        if len(self) in (10, 20):
            self.order_target_value(self.datas[0], 500_000 * (20 / len(self) - 1))


def test_any_strategy_has_weights_and_turnover(bars):
    done = run(bars, coo=False, strategy=AllIn)
    weights = done.analyzers.weights.to_frame()
    assert weights.columns.tolist() == ["equity", "cash"]
    bought = weights.loc[bars.sessions[12], "equity"]
    assert bought == pytest.approx(0.5, abs=0.05)
    turnover = done.analyzers.turnover.to_frame()["turnover"]
    assert np.flatnonzero(turnover).tolist() == [10, 20]


def test_a_log_needs_decisions(bars):
    cerebro = bt.Cerebro()
    add_bars(cerebro, bars)
    cerebro.addanalyzer(DecisionLog)
    cerebro.addstrategy(AllIn)
    with pytest.raises(RunError, match="needs a strategy that decides, such as"):
        cerebro.run()


@pytest.mark.parametrize("kind", ANALYZERS.values(), ids=ANALYZERS.keys())
def test_nothing_is_told_before_the_end(bars, kind):
    class Asking(TRMAllocator):
        def next(self):
            super().next()
            self.analyzers[0].get_analysis()

    cerebro = bt.Cerebro()
    add_bars(cerebro, bars)
    cerebro.addanalyzer(kind)
    cerebro.addstrategy(Asking, policy=FakePolicy.reading(bars))
    with pytest.raises(RunError, match=r"Ask it after `cerebro.run\(\)`"):
        cerebro.run()
