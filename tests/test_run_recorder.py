"""What the recorder notes of a run, on bars whose story fits on a napkin."""

from datetime import timedelta

import backtrader as bt
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.analyzers.run_recorder import record_cerebro
from trm_bt.feeds.backtrader import TRMPandasData, add_bars

BARS = make_bars(6)
SESSIONS = BARS.sessions


class Story(bt.Strategy):
    """Buy 3 at the close of bar 2, sell 1 at the open of bar 4, order on the last."""

    def next(self) -> None:
        if len(self.data) == 2:
            self.buy(size=3)
        if len(self.data) == 6:
            self.buy(size=1, exectype=bt.Order.Limit, price=12.5)

    def next_open(self) -> None:
        if len(self.data) == 4:
            self.sell(size=1, price=self.data.close[0])


@pytest.fixture(params=[True, False], ids=["runonce", "bar by bar"])
def run(request):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True, runonce=request.param)
    cerebro.broker.setcash(1000.0)
    add_bars(cerebro, BARS, roles=("equity", "bond"))
    cerebro.addstrategy(Story)
    return record_cerebro(cerebro)


def test_orders_are_noted_when_they_are_sent(run):
    assert run.orders["session"].tolist() == list(SESSIONS[[1, 3, 5]])
    assert run.orders["is_at_open"].tolist() == [False, True, False]
    assert run.orders["size"].tolist() == [3, -1, 1]
    assert run.orders["type"].tolist() == ["Market", "Market", "Limit"]
    assert run.orders["price"].isna().tolist() == [True, True, False]
    assert run.orders["price"].iloc[2] == 12.5
    assert set(run.orders["feed"]) == {"equity"}


def test_fills_are_noted_with_the_session_that_filled_them(run):
    opens = BARS.equity["open"]
    assert run.notices["order"].tolist() == [0, 1]
    assert run.notices["status"].tolist() == ["Completed", "Completed"]
    assert run.notices["session"].tolist() == list(SESSIONS[[2, 3]])
    assert run.notices["filled_on"].tolist() == list(SESSIONS[[2, 3]])
    assert run.notices["price"].tolist() == pytest.approx(opens.iloc[[2, 3]].tolist())


def test_closes_hold_what_was_owned(run):
    assert run.closes["session"].tolist() == list(SESSIONS)
    assert run.closes["position equity"].tolist() == [0, 0, 3, 2, 2, 2]
    assert run.closes["position bond"].tolist() == [0] * 6
    opens, closes = BARS.equity["open"].to_numpy(), BARS.equity["close"].to_numpy()
    cash = 1000.0 - 3 * opens[2] + opens[3]
    assert run.closes["cash"].iloc[-1] == pytest.approx(cash, rel=1e-12)
    assert run.closes["value"].iloc[-1] == pytest.approx(cash + 2 * closes[-1])
    assert run.decides_from == SESSIONS[0]


def test_two_strategies_are_told_apart_and_prenext_is_no_decision():
    class Late(Story):
        def __init__(self) -> None:
            self.mean = bt.indicators.SMA(self.data.close, period=4)

    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True)
    add_bars(cerebro, BARS, roles=("equity",))
    cerebro.addstrategy(Story)
    cerebro.addstrategy(Late)
    run = record_cerebro(cerebro)
    assert run.orders.groupby("strategy")["size"].apply(list).tolist() == [
        [3, -1, 1],
        [1],
    ]
    assert run.notices["order"].tolist() == [0, 1]
    assert run.notices["strategy"].tolist() == [0, 0]
    assert len(run.closes) == 12
    assert run.decides_from == SESSIONS[3]


def test_notices_name_an_order_by_its_strategy_and_its_number_there():
    class Again(bt.Strategy):
        def next(self) -> None:
            if len(self.data) in (2, 3):
                self.buy(size=1)

    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, BARS, roles=("equity",))
    cerebro.addstrategy(Again)
    cerebro.addstrategy(Again)
    notices = record_cerebro(cerebro).notices
    assert notices["order"].tolist() == [0, 1, 2, 3]
    assert notices["strategy"].tolist() == [0, 0, 1, 1]
    assert notices["nth"].tolist() == [0, 1, 0, 1]


def test_what_else_is_asked_of_the_broker_is_noted():
    class Asking(bt.Strategy):
        def next(self) -> None:
            limit = {"size": 1, "exectype": bt.Order.Limit, "price": 1.0}
            if len(self.data) == 1:
                self.first = self.buy(**limit, valid=timedelta(days=30))
                self.other = self.buy(**limit, oco=self.first)
            if len(self.data) == 2:
                self.broker.add_cash(7.0)
                parent = self.buy(**limit, transmit=False)
                self.sell(size=1, parent=parent)
            if len(self.data) == 3:
                self.cancel(self.other)

    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, BARS, roles=("equity",))
    cerebro.addstrategy(Asking)
    cerebro.addstrategy(bt.Strategy)
    run = record_cerebro(cerebro)
    assert run.requests["what"].tolist() == ["cash", "cancel"]
    assert run.requests["session"].tolist() == list(SESSIONS[1:3])
    assert run.requests["amount"].fillna(0).tolist() == [7.0, 0.0]
    assert run.requests["nth"].fillna(-1).tolist() == [-1, 1]
    lasts = SESSIONS[0] + pd.Timedelta(days=30)
    assert run.orders["valid"].tolist()[:1] == [bt.date2num(lasts)]
    assert run.orders["valid"].isna().tolist() == [False, True, True, True]
    assert run.orders["oco"].fillna(-1).tolist() == [-1, 0, -1, -1]
    assert run.orders["parent"].fillna(-1).tolist() == [-1, -1, -1, 2]
    assert run.orders["transmit"].tolist() == [True, True, False, True]


def test_a_feed_without_bars_yet_is_left_alone():
    cerebro = bt.Cerebro(stdstats=False)
    feed = TRMPandasData(dataname=BARS.equity)
    cerebro.adddata(feed, name="days")
    weeks = cerebro.resampledata(feed, name="weeks", timeframe=bt.TimeFrame.Weeks)
    cerebro.addstrategy(Story)
    run = record_cerebro(cerebro)
    assert run.is_flushed
    assert len(weeks) == 2
    assert set(run.closes["position weeks"]) == {0}
    assert set(run.closes["session"]) == set(SESSIONS)


def test_a_refused_order_has_no_session_of_a_fill():
    class Rich(bt.Strategy):
        def next(self) -> None:
            if len(self.data) == 1:
                self.buy(size=1e9)

    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, BARS, roles=("equity",))
    cerebro.addstrategy(Rich)
    (notice,) = record_cerebro(cerebro).notices.to_dict("records")
    assert notice["status"] == "Margin"
    assert pd.isna(notice["filled_on"])
