"""What a run keeps of each bar: plain numbers, and no orders once they are recorded."""

import gc
import tracemalloc

import backtrader as bt
import pytest

from tests.conftest import make_bars
from trm_bt.feeds.backtrader import add_bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.broker import FractionalShares, QuietBroker

ROLES = ("equity", "bond")


class OnesOwn(FixedMix):
    """A mix beside an order of the user's own in a feed that the mix leaves alone."""

    def next(self) -> None:
        """Buy the index once, and keep the order."""
        super().next()
        if len(self) == 5:
            self.mine = bt.Strategy.buy(self, self.datas[2], size=1.0)


def run(n_sessions: int, kind: type = FixedMix, broker: bt.BrokerBase | None = None):
    """Run a mix that trades both assets on each bar, on fractional shares."""
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True)
    cerebro.broker = broker or QuietBroker()
    cerebro.broker.set_cash(1e6)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=0.0005))
    roles = (*ROLES, "volatility") if kind is OnesOwn else ROLES
    add_bars(cerebro, make_bars(n_sessions), roles=roles)
    cerebro.addstrategy(kind)
    (ran,) = cerebro.run()
    return ran


def n_orders_alive() -> int:
    gc.collect()
    return sum(issubclass(type(one), bt.Order) for one in gc.get_objects())


def test_recorded_orders_are_let_go():
    before = n_orders_alive()
    ran = run(120)

    assert n_orders_alive() - before <= 4  # those of the last bar
    assert ran.n_submitted == len(ran.orders) == 2 * 119
    assert not ran.broker._pchildren


def test_with_backtraders_broker_the_strategy_keeps_none():
    ran = run(60, broker=bt.brokers.BackBroker())
    assert ran._orders == []
    assert len(ran.orders) == 2 * 59


def test_orders_of_ones_own_stay():
    ran = run(60, OnesOwn)
    assert {order.ref for order in ran._orders} == {ran.mine.ref}


def test_a_bar_takes_less_than_a_kibibyte():
    def kept_by(n_sessions: int) -> int:
        tracemalloc.start()
        ran = run(n_sessions)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(ran.orders) == 2 * (n_sessions - 1)
        return kept

    run(60)
    few, many = kept_by(200), kept_by(600)
    assert (many - few) / 400 < 1024


def test_work_is_in_proportion_to_the_bars():
    """Count calls of Python in place of seconds: twice the bars, twice the work."""
    import cProfile
    import pstats

    def n_calls(n_sessions: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(run, n_sessions)
        return pstats.Stats(profile).total_calls

    run(60)
    calls = [n_calls(n) for n in (200, 400, 800)]
    assert (calls[2] - calls[1]) / (calls[1] - calls[0]) == pytest.approx(2, rel=0.05)
