"""Set-ups that somebody already has: gates, fees, other feeds, old engines."""

import functools

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakePolicy
from tests.test_rebalancing import gapping_bars
from trm_bt.analyzers.decision_log import DecisionLog
from trm_bt.analyzers.turnover import TurnoverAnalyzer
from trm_bt.analyzers.weights import WeightsAnalyzer
from trm_bt.errors import ConfigError
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.trm_allocator import TRMAllocator


@pytest.fixture(scope="module")
def short():
    return Bars(**vars(gapping_bars(120, max_gap=0.03)) | {"cash_rate": None})


def prepared(bars, extra=None, **engine) -> bt.Cerebro:
    cerebro = bt.Cerebro(stdstats=False, **engine)
    cerebro.broker.set_cash(1e6)
    add_bars(cerebro, bars)
    if extra is not None:
        cerebro.adddata(bt.feeds.PandasData(dataname=extra), name="XLE")
    return cerebro


def run(cerebro, bars, strategy=TRMAllocator, **settings):
    settings = {"policy": FakePolicy.reading(bars), "n_averaged": 5, **settings}
    cerebro.addstrategy(strategy, **settings)
    return cerebro.run()[0]


class LooksAfter(TRMAllocator):
    def next(self):
        super().next()
        if self.is_ready():
            self.seen = self.target_weights()


class LooksBefore(TRMAllocator):
    def next(self):
        if self.is_ready():
            self.seen = self.target_weights()
        super().next()


class AsksTwice(TRMAllocator):
    def target_weights(self):
        super().target_weights()
        return super().target_weights()


@pytest.mark.parametrize("strategy", [LooksAfter, LooksBefore, AsksTwice])
@pytest.mark.parametrize("decision", ["blend", "argmax"])
def test_weights_may_be_looked_at_any_number_of_times(short, strategy, decision):
    settings = {"decision": decision, "min_confidence": 0.3}
    plain = run(prepared(short), short, **settings)
    looked = run(prepared(short), short, strategy, **settings)
    pd.testing.assert_frame_equal(looked.decisions, plain.decisions)
    assert looked.n_kept == plain.n_kept


def test_a_rule_that_asks_seldom_averages_the_last_sessions(short):
    asked = []

    class Seldom(TRMAllocator):
        def target_weights(self):
            if len(self) % 20:
                return None
            asked.append((len(self), super().target_weights()))
            return asked[-1][1]

    run(prepared(short), short, Seldom, decision="blend")
    daily = run(prepared(short), short, decision="blend").decisions
    first = len(short.sessions) - len(daily)
    for place, weights in asked:
        expected = daily.iloc[place - 1 - first][["target_equity", "target_bond"]]
        assert weights == pytest.approx(tuple(expected), abs=1e-15)
    assert len(asked) > 1


def is_even(strategy) -> bool:
    return strategy.data.datetime.date(0).day % 2 == 0


def go_on(strategy) -> None:
    if is_even(strategy):
        TRMAllocator.next(strategy)


def noted(method):
    @functools.wraps(method)
    def inner(self):
        return method(self)

    return inner


class ByMethod(TRMAllocator):
    def next(self):
        if is_even(self):
            self.trade()

    def trade(self):
        super().next()


class Decorated(TRMAllocator):
    @noted
    def next(self):
        if is_even(self):
            super().next()


class ByHelper(TRMAllocator):
    def next(self):
        go_on(self)


class ByName(TRMAllocator):
    def next(self):
        if is_even(self):
            getattr(super(), "next")()  # noqa: B009 # as some write it


@pytest.mark.parametrize("strategy", [ByMethod, Decorated, ByHelper, ByName])
def test_a_condition_counts_however_next_is_passed_on(short, strategy):
    decided = run(prepared(short), short, strategy).decisions["session"]
    every = run(prepared(short), short).decisions["session"]
    assert [*decided] == [day for day in every if day.day % 2 == 0]


def test_the_function_next_passes_nothing_on(short):
    class Iterates(TRMAllocator):
        def next(self):
            self.first = next(iter([1]))
            super().__repr__()

    every = run(prepared(short), short).decisions
    assert len(run(prepared(short), short, Iterates).decisions) == len(every)


class StampDuty(bt.CommInfoBase):
    """Sales cost three times what purchases cost, as in London or by the SEC."""

    params = (("stocklike", True), ("commtype", bt.CommInfoBase.COMM_PERC))

    def _getcommission(self, size, price, pseudoexec):
        return abs(size) * price * (0.003 if size < 0 else 0.001)


class Flips(FixedMix):
    def target_weights(self):
        return (0.9, 0.1) if len(self) % 2 else (0.1, 0.9)


@pytest.mark.parametrize("coc", [False, True])
def test_sales_may_cost_more_than_purchases(short, coc):
    cerebro = prepared(short, cheat_on_open=not coc)
    cerebro.broker.set_coc(coc)
    cerebro.broker.addcommissioninfo(StampDuty())
    cerebro.addstrategy(Flips, weights=(0.9, 0.1, 0.0))
    ran = cerebro.run()[0]
    assert len(ran.orders) > 200
    assert ran.n_rejected == 0
    fills = ran.orders.dropna(subset=["filled_on"])
    rates = np.where(fills["size"] < 0, 0.003, 0.001)
    np.testing.assert_allclose(fills["commission"], fills["value"].abs() * rates)
    if not coc:  # a weight is exact after costs, but for whole shares
        assert ran.weights["cash"].mean() < 0.01


@pytest.mark.parametrize("oldsync", [False, True])
def test_the_old_engine_trades_at_the_next_open(short, oldsync):
    plain = run(prepared(short), short)
    ran = run(prepared(short, cheat_on_open=True, oldsync=oldsync), short)
    assert len(ran.orders) > 0.9 * len(plain.orders)


def test_a_run_without_a_decision_has_an_empty_table(short):
    cerebro = prepared(short)
    cerebro.addanalyzer(DecisionLog)
    ran = run(cerebro, short, decide_from="2100-01-01")
    assert ran.decisions.empty
    assert ran.n_abstained == ran.n_kept == 0
    assert ran.analyzers[0].to_frame().empty


def test_cheat_on_close_has_no_slippage(short):
    cerebro = prepared(short)
    cerebro.broker.set_coc(True)
    fills = run(cerebro, short).orders.dropna(subset=["filled_on"])
    assert len(fills) > 50
    assert fills["slippage"].abs().max() < 1e-12


def hourly(frame: pd.DataFrame) -> pd.DataFrame:
    """Four bars a session, the last at the close of the day."""
    hours = [frame.set_axis(frame.index + pd.Timedelta(hours=h)) for h in (10, 12, 14)]
    return pd.concat([*hours, frame.set_axis(frame.index)]).sort_index()


def test_a_session_has_one_row_beside_bars_within_it(short):
    plain = prepared(short)
    mixed = prepared(short)
    within = bt.feeds.PandasData(
        dataname=hourly(short.equity), timeframe=bt.TimeFrame.Minutes, compression=60
    )
    mixed.adddata(within, name="XLE")
    tables = []
    for cerebro in (plain, mixed):
        cerebro.addanalyzer(WeightsAnalyzer)
        cerebro.addanalyzer(TurnoverAnalyzer)
        ran = run(cerebro, short)
        tables.append([analyzer.to_frame() for analyzer in ran.analyzers])
    for expected, found in zip(*tables, strict=True):
        assert found.index.is_unique
        pd.testing.assert_index_equal(found.index, expected.index)
    assert tables[1][1]["traded"].sum() == pytest.approx(tables[0][1]["traded"].sum())


def test_a_feed_with_holes_leaves_the_account_as_it_is(short):
    extra = short.equity.copy()
    extra.iloc[70:80] = np.nan
    cerebro = prepared(short, extra)
    cerebro.addanalyzer(WeightsAnalyzer)
    assert not run(cerebro, short).closes["broker_value"].isna().any()


def test_positions_in_other_feeds_count_from_the_first_close(short):
    class Buys(TRMAllocator):
        def prenext(self):
            if len(self) == 5:
                self.buy(self.getdatabyname("XLE"), size=1000)

    later = str(short.sessions[30].date())
    closes = run(prepared(short, short.bond), short, Buys, decide_from=later).closes
    parts = closes[["equity", "bond", "cash", "others"]].sum(axis=1)
    assert closes["others"].gt(0).all()
    np.testing.assert_allclose(parts, closes["broker_value"], rtol=1e-12)


@pytest.mark.parametrize("coo", [False, True])
def test_purchases_in_other_feeds_are_left_their_cash(short, coo):
    class Both(FixedMix):
        """Ask for 1.1 of the account from time to time, a fifth in another feed."""

        def target_weights(self):
            share = 0.45 if len(self) % 2 else 0.3
            return share, share

        def next(self):
            super().next()
            if len(self) % 10 == 5:
                share = 0.2 if len(self) % 20 == 5 else 0.0
                self.order_target_percent(self.getdatabyname("XLE"), share)

    cerebro = prepared(short, short.equity, cheat_on_open=coo)
    cerebro.addstrategy(Both, weights=(0.45, 0.45, 0.1), max_gap=0.03)
    ran = cerebro.run()[0]
    assert ran.closes["others"].max() > 0
    assert ran.n_rejected == 0


@pytest.mark.parametrize("name", ["is_ready", "target_weights"])
def test_a_hook_that_is_no_method_is_named(short, name):
    kind = type("Mine", (TRMAllocator,), {name: False})
    with pytest.raises(ConfigError, match=f"`{name}` of Mine must be a method"):
        run(prepared(short), short, kind)


def test_a_fee_a_share_without_stocklike_gets_the_cure(short):
    cerebro = prepared(short)
    fixed = bt.CommInfoBase.COMM_FIXED
    cerebro.broker.setcommission(commission=0.005, commtype=fixed)
    with pytest.raises(ConfigError, match="`stocklike=True` with a fee per share"):
        run(cerebro, short)
