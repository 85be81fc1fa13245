"""Somebody else's habits: no name or method of a subclass reaches what is kept."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakePolicy
from tests.test_rebalancing import gapping_bars
from trm_bt.analyzers.decision_log import DecisionLog
from trm_bt.errors import BarsError, CheckpointError, ConfigError, RunError, TRMError
from trm_bt.feeds.backtrader import add_bars
from trm_bt.indicators import MarketFeatures, TRMDecision
from trm_bt.market.bars import Bars
from trm_bt.report import tearsheet
from trm_bt.report.returns import find_returns
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.readouts import read_out
from trm_bt.strategies.trm_allocator import TRMAllocator

TOLD = ("orders", "closes", "weights", "executions", "decisions")
COUNTS = ("n_submitted", "n_rejected", "n_abstained", "n_kept")


@pytest.fixture(scope="module")
def short():
    return Bars(**vars(gapping_bars(100, max_gap=0.05)) | {"cash_rate": None})


def run(bars, strategy, *, coo=False, policy=None, **settings):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo, **settings)
    cerebro.broker.set_cash(1e6)
    add_bars(cerebro, bars)
    policy = policy or FakePolicy.reading(bars)
    # no cash is spared for a gap, so that some orders are refused
    settings = {"decision": "argmax", "n_averaged": 1, "max_gap": 0.0}
    cerebro.addstrategy(strategy, policy=policy, **settings)
    return cerebro.run()[0]


class Quickstart(TRMAllocator):
    """What Backtrader's quickstart teaches, without a word to the class below."""

    def __init__(self):
        self.dataclose = self.datas[0].close
        self.order = self.buyprice = self.buycomm = None

    def log(self, text):
        self.logged = text

    def start(self):
        self.val_start = self.broker.get_cash()

    def stop(self):
        self.roi = self.broker.get_value() / self.val_start

    def notify_order(self, order):
        if order.status in [order.Submitted, order.Accepted]:
            return
        self.order = None

    def notify_trade(self, trade):
        pass

    def notify_cashvalue(self, cash, value):
        pass

    def next(self):
        self.log(f"Close, {self.dataclose[0]:.2f}")

    def prenext(self):
        pass

    def next_open(self):
        pass


class Names(TRMAllocator):
    """Own attributes by the names of everything that is told or was kept."""

    def __init__(self):
        super().__init__()
        for name in (
            *(*TOLD, *COUNTS, "halts", "signal", "roles", "is_ready", "target"),
            *("_feeds", "_assets", "_ledger", "_targets", "_recent", "_rate", "_gap"),
            *("_open_orders", "_opens", "_sessions", "_awaited", "_costs", "_inputs"),
            *("_decided_on", "_credit", "_must_trade", "_is_at_open", "_decide_from"),
            *("feeds", "sessions", "ledger", "execution", "interest", "policy"),
        ):
            setattr(self, name, {"mine": name})


class ClassNames(TRMAllocator):
    orders: dict = {}  # noqa: RUF012 # as people write it
    weights = None
    closes = 5
    n_rejected = 0

    def decisions(self):
        return "mine"


class Nextstart(TRMAllocator):
    def nextstart(self):
        self.begun = len(self)


HABITS = [Quickstart, Names, ClassNames, Nextstart]
ENGINES = [
    pytest.param({}, id="plain"),
    pytest.param({"coo": True}, id="coo"),
    pytest.param({"runonce": False}, id="next"),
    pytest.param({"preload": False, "coo": True}, id="bar by bar"),
    pytest.param({"quicknotify": True}, id="quicknotify"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_changes_nothing_that_is_told(short, habit, engine):
    plain, own = (run(short, kind, **engine) for kind in (TRMAllocator, habit))
    for name in TOLD:
        expected = getattr(plain, name)
        assert len(expected)
        pd.testing.assert_frame_equal(read_out(own, name), expected)
    for name in COUNTS:
        assert read_out(own, name) == getattr(plain, name)
    pd.testing.assert_series_equal(find_returns(own), find_returns(plain))
    if not engine.get("coo"):
        assert plain.n_rejected > 0


def test_a_name_of_ones_own_is_ones_own(short):
    ran = run(short, Names)
    assert ran.orders == {"mine": "orders"}
    assert run(short, ClassNames).decisions() == "mine"


def test_next_may_say_on_which_bars_to_decide(short):
    class EveryTenth(TRMAllocator):
        def next(self):
            if len(self) % 10 == 0:
                super().next()
                super().next()

    log = run(short, EveryTenth).decisions
    assert log["session"].tolist() == short.sessions[59::10].tolist()


def test_deciding_twice_on_a_bar_is_deciding_once(short):
    class Twice(TRMAllocator):
        def next(self):
            super().next()
            super().next()

    plain, twice = (run(short, kind) for kind in (TRMAllocator, Twice))
    pd.testing.assert_frame_equal(twice.decisions, plain.decisions)
    pd.testing.assert_frame_equal(twice.orders, plain.orders)


@pytest.mark.parametrize(
    "weights",
    [
        *({"equity": 0.6, "bond": 0.4}, (0.6, 0.3, 0.1), (0.6,), "60", 0.6, "ab"),
        *(("a", "b"), np.eye(2), (np.nan, 0.4), (-0.1, 0.5), (0.8, 0.4)),
        *((None, 0.5), pd.Series({"a": 0.2, "b": 0.2, "c": 0.6}), float),
    ],
    ids=repr,
)
def test_a_hook_that_returns_something_else_gets_a_sentence(short, weights):
    class Hook(TRMAllocator):
        def target_weights(self):
            return weights

    with pytest.raises(ConfigError, match=r"`target_weights` must return .* got"):
        run(short, Hook)


@pytest.mark.parametrize(
    "weights", [[0.6, 0.3], np.array([0.6, 0.3]), pd.Series([0.6, 0.3])], ids=repr
)
def test_any_two_numbers_are_weights(short, weights):
    class Hook(TRMAllocator):
        def target_weights(self):
            return weights

    ran = run(short, Hook)
    assert ran.decisions["target_equity"].tolist() == [0.6] * 41


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"wieghts": (1, 0, 0)}, "no parameter 'wieghts'.* mean 'weights'"),
        ({"weights": "60/40"}, "`weights` must be .* got '60/40'"),
        ({"weights": 0.6}, r"`weights` must be .* got 0\.6"),
        ({"equity": 0}, "`equity` names a feed that must be in the Cerebro, got '0'"),
    ],
)
def test_a_setting_that_means_nothing_is_told(short, settings, sentence):
    cerebro = bt.Cerebro()
    add_bars(cerebro, short)
    cerebro.addstrategy(FixedMix, **settings)
    with pytest.raises(TRMError, match=sentence):
        cerebro.run()


def test_a_setting_of_ones_own_reaches_ones_own_init(short):
    class Own(FixedMix):
        def __init__(self, lot):
            self.lot = lot

    cerebro = bt.Cerebro()
    add_bars(cerebro, short)
    cerebro.addstrategy(Own, lot=3)
    assert cerebro.run()[0].lot == 3


def test_a_path_in_the_place_of_a_policy_is_told(short):
    cerebro = bt.Cerebro()
    add_bars(cerebro, short)
    cerebro.addstrategy(TRMAllocator, policy="models/mine")
    with pytest.raises(ConfigError, match=r"`policy` must .* got 'models/mine'"):
        cerebro.run()


@pytest.mark.parametrize("name", ["decide_from", "trade_from"])
@pytest.mark.parametrize("value", ["tomorrow week", object(), "", pd.NaT, 20010301])
def test_what_is_no_date_is_told(short, name, value):
    cerebro = bt.Cerebro()
    add_bars(cerebro, short)
    cerebro.addstrategy(FixedMix, **{name: value})
    with pytest.raises(ConfigError, match=f"`{name}` must be a date, got"):
        cerebro.run()


def test_a_checkpoint_in_the_home_folder_is_found(
    tiny_checkpoint, tmp_path, monkeypatch
):
    bars, folder = tiny_checkpoint
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, bars.between(bars.sessions[580]))
    cerebro.addstrategy(TRMAllocator, checkpoint=f"~/{folder.name}")
    assert len(cerebro.run()[0].decisions) == 61
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, bars)
    cerebro.addstrategy(TRMAllocator, checkpoint="~/nothing")
    with pytest.raises(CheckpointError, match="nothing"):
        cerebro.run()


@pytest.mark.parametrize("kind", [TRMDecision, MarketFeatures])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_in_the_place_of_a_feed_gets_a_sentence(short, kind, place):
    class Lines(bt.Strategy):
        def __init__(self):
            datas = list(self.datas[:3])
            datas[place] = datas[place].close
            settings = {"policy": FakePolicy.reading(short)}
            kind(*datas, **(settings if kind is TRMDecision else {}))

    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, short)
    cerebro.addstrategy(Lines)
    role = ("equity", "bond", "volatility")[place]
    with pytest.raises(BarsError, match=f"{kind.__name__} needs a feed as {role}, got"):
        cerebro.run()


@pytest.mark.parametrize(
    "benchmark",
    [5, pd.DataFrame({"SPY": [0.0, 0.1]}), [0.1, 0.2], np.zeros(3)],
    ids=["number", "frame", "list", "array"],
)
def test_a_benchmark_that_is_no_series_gets_a_sentence(short, tmp_path, benchmark):
    ran = run(short, TRMAllocator)
    with pytest.raises(
        RunError, match="`benchmark` must be a Series of daily returns or prices"
    ):
        tearsheet(ran, tmp_path / "page.html", benchmark=benchmark)


def test_a_benchmark_that_names_no_feed_gets_the_names(short, tmp_path):
    ran = run(short, TRMAllocator)
    with pytest.raises(RunError, match="got 'QQQ'; feeds: equity, bond, volatility"):
        tearsheet(ran, tmp_path / "page.html", benchmark="QQQ")


class Other(bt.Strategy):
    """Any second strategy."""

    def next(self):
        self.seen = self.data.close[0]


@pytest.mark.parametrize("order", [(TRMAllocator, Other), (Other, TRMAllocator)])
def test_a_log_is_kept_beside_any_second_strategy(short, order):
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, short)
    cerebro.addanalyzer(DecisionLog, _name="log")
    for kind in order:
        settings = {"policy": FakePolicy.reading(short)} if kind is TRMAllocator else {}
        cerebro.addstrategy(kind, **settings)
    for ran in cerebro.run():
        n_decided = 41 if isinstance(ran, TRMAllocator) else 0
        analysis = ran.analyzers.log.get_analysis()
        assert analysis["n_decisions"] == len(analysis["decisions"]) == n_decided
        assert len(ran.analyzers.log.to_frame()) == n_decided


def test_a_log_reads_the_books_and_not_the_names(short):
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, short)
    cerebro.addanalyzer(DecisionLog, _name="log")
    cerebro.addstrategy(ClassNames, policy=FakePolicy.reading(short))
    analysis = cerebro.run()[0].analyzers.log.get_analysis()
    assert analysis["n_decisions"] == 41
    assert sum(analysis["by_status"].values()) == analysis["n_submitted"] > 0


class Selling(bt.Strategy):
    """A second strategy that closes the equity every third bar."""

    def next(self):
        if len(self) % 3 == 0:
            self.close(self.datas[0])


class LeastHeld(bt.Analyzer):
    def start(self):
        self.least = 0.0

    def next(self):
        held = self.strategy.broker.positions
        sizes = [held[feed].size for feed in self.datas[:2] if feed in held]
        self.least = min(self.least, *sizes, 0.0)


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
def test_nothing_goes_short_beside_a_strategy_that_sells(short, is_first, coo):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(1e6)
    add_bars(cerebro, short)
    cerebro.addanalyzer(LeastHeld, _name="least")
    kinds = [Selling, TRMAllocator] if is_first else [TRMAllocator, Selling]
    for kind in kinds:
        settings = {"policy": FakePolicy.reading(short)} if kind is TRMAllocator else {}
        cerebro.addstrategy(kind, **settings)
    for ran in cerebro.run():
        assert ran.analyzers.least.least == 0.0
