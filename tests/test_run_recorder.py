"""What the recorder notes of a run, on bars whose story fits on a napkin."""

import backtrader as bt
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.analyzers.run_recorder import record_run
from trm_bt.feeds.backtrader import add_bars

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
    return record_run(cerebro)


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
    assert run.notices["price"].tolist() == opens.iloc[[2, 3]].tolist()


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
    run = record_run(cerebro)
    assert run.orders.groupby("strategy")["size"].apply(list).tolist() == [
        [3, -1, 1],
        [1],
    ]
    assert run.notices["order"].tolist() == [0, 1]
    assert len(run.closes) == 12
    assert run.decides_from == SESSIONS[3]


def test_a_refused_order_has_no_session_of_a_fill():
    class Rich(bt.Strategy):
        def next(self) -> None:
            if len(self.data) == 1:
                self.buy(size=1e9)

    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, BARS, roles=("equity",))
    cerebro.addstrategy(Rich)
    (notice,) = record_run(cerebro).notices.to_dict("records")
    assert notice["status"] == "Margin"
    assert pd.isna(notice["filled_on"])
