"""One account: what it is worth, what its cash earns, and what flows in and out."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakePolicy
from trm_bt.errors import BarsError, ConfigError, SetupWarning
from trm_bt.feeds.backtrader import TRMPandasData, add_bars
from trm_bt.market.bars import Bars
from trm_bt.report.returns import find_flows, find_returns
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.broker import QuietBroker
from trm_bt.strategies.trm_allocator import TRMAllocator

PERCENT, FIXED = bt.CommInfoBase.COMM_PERC, bt.CommInfoBase.COMM_FIXED


@pytest.fixture(scope="module")
def short(bars):
    return Bars(**vars(bars.between(None, bars.sessions[79])) | {"cash_rate": None})


class Says(bt.Analyzer):
    """Note at each close what the broker says, asked for nothing but its own."""

    def start(self):
        self.rows = {}

    def next(self):
        broker, strategy = self.strategy.broker, self.strategy
        held = sum(
            broker.positions[feed].size * feed.close[0]
            for feed in strategy.datas[:2]
            if feed in broker.positions
        )
        self.rows[strategy.data.datetime.date(0)] = (
            broker.getcash(),
            held,
            broker.getvalue(),
        )


class MinimumFee(bt.CommissionInfo):
    def _getcommission(self, size, price, pseudoexec):
        return max(5.0, abs(size) * price * self.p.commission)


def scheme(**settings):
    return lambda broker: broker.setcommission(**settings)


BROKERS = {
    "plain": lambda broker: None,
    "share of the value": scheme(commission=0.001),
    "percent": scheme(commission=0.1, percabs=False, commtype=PERCENT, stocklike=True),
    "cents a share": scheme(commission=0.01, commtype=FIXED, stocklike=True),
    "least fee": lambda broker: broker.addcommissioninfo(MinimumFee(commission=0.001)),
    "interest on shorts": scheme(commission=0.001, interest=0.05),
    "interest on all": scheme(commission=0.001, interest=0.05, interest_long=True),
    "slippage": lambda broker: broker.set_slippage_perc(0.001),
    "slippage in points": lambda broker: broker.set_slippage_fixed(0.02),
    "no cash of shorts": lambda broker: broker.set_shortcash(False),
    "interest apart": lambda broker: broker.set_int2pnl(False),
    "unchecked": lambda broker: broker.set_checksubmit(False),
    "fund": lambda broker: broker.set_fundmode(True, 10.0),
    "filled in part": lambda broker: broker.set_filler(bt.fillers.FixedSize(size=50)),
}


class Saver(FixedMix):
    """Pay in on every tenth bar, and draw on every fifteenth."""

    def next(self):
        if len(self) % 10 == 0:
            self.broker.add_cash(5_000.0)
        if len(self) % 15 == 0:
            self.broker.add_cash(-2_000.0)
        super().next()


class Meddling(FixedMix):
    """Buy and close the equity beside the orders of the mix."""

    def next(self):
        super().next()
        if len(self) % 7 == 0:
            self.close(self.datas[0])
        if len(self) % 11 == 0:
            self.buy(self.datas[0], size=40)


class ThirdFeed(FixedMix):
    """Hold something else too: bought, and sold short for a while."""

    def next(self):
        super().next()
        size = {5: 30, 25: -30, 60: 0}.get(len(self))
        if size is not None:
            self.order_target_size(self.datas[2], size)


OWNERS = [FixedMix, Saver, Meddling, ThirdFeed]


def run_mix(bars, set_up, strategy=FixedMix, *, coo=False, coc=False, gold=None):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(100_000.0)
    cerebro.broker.set_coc(coc)
    set_up(cerebro.broker)
    add_bars(cerebro, bars, roles=("equity", "bond", "cash_rate"))
    third = bars.bond.assign(**{n: bars.bond[n] * 2 for n in bars.bond.columns[:4]})
    cerebro.adddata(TRMPandasData(dataname=third), name="GLD")
    if gold:
        cerebro.broker.setcommission(**gold, name="GLD")
    cerebro.addanalyzer(Says, _name="says")
    weights = (0.5, 0.3, 0.2) if strategy is ThirdFeed else (0.6, 0.4, 0.0)
    cerebro.addstrategy(strategy, weights=weights, max_gap=0.1)
    return cerebro.run()[0]


def check_account(ran):
    """Hold our valuation against what the broker said, close by close."""
    closes = ran.closes
    says = pd.DataFrame.from_dict(ran.analyzers.says.rows, orient="index")
    says.index = pd.DatetimeIndex(says.index)
    says = says.loc[closes.index]
    ours = closes[["equity", "bond"]].sum(axis=1)
    np.testing.assert_allclose(closes["cash"], says[0], rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(ours, says[1], rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(closes["broker_value"], says[2], rtol=1e-12)
    total = ours + closes["cash"] + closes["others"]
    np.testing.assert_allclose(total, closes["broker_value"], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("fill", ["open", "plain", "close"])
@pytest.mark.parametrize("strategy", OWNERS)
@pytest.mark.parametrize("name", BROKERS)
def test_cash_plus_positions_is_what_the_broker_says(short, name, strategy, fill):
    """The invariant, over every setting that changes a position's worth or cost."""
    ran = run_mix(
        short, BROKERS[name], strategy, coo=fill == "open", coc=fill == "close"
    )
    check_account(ran)
    assert len(ran.closes) == 80
    sizes = ran.closes["equity"] / short.equity["close"]
    assert sizes.min() >= 0, "sold short by us"
    assert (ran.closes["others"] != 0).any() == (strategy is ThirdFeed)
    if strategy is FixedMix:
        assert ran.n_rejected == 0
        assert ran.n_submitted > 50


@pytest.mark.parametrize(
    "gold",
    [
        {"leverage": 2.0},
        {"margin": 50.0, "mult": 10.0},
        {"margin": 50.0, "commission": 1.0},
        {"interest": 0.05, "interest_long": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
def test_positions_of_ones_own_are_worth_what_the_broker_says(short, gold, coo):
    check_account(run_mix(short, BROKERS["plain"], ThirdFeed, coo=coo, gold=gold))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"leverage": 2.0}, "leverage=2.0"),
        ({"leverage": 0.5}, "leverage=0.5"),
        ({"margin": 1000.0, "mult": 50.0}, "margin=1000.0"),
        ({"mult": 2.0}, "mult=2.0"),
        ({"commission": 2.0, "margin": 5.0}, "margin=5.0"),
        ({"automargin": 0.5, "margin": 1.0}, "margin="),
        ({"stocklike": False, "commtype": PERCENT}, "margin="),
    ],
    ids=str,
)
@pytest.mark.parametrize("strategy", [FixedMix, TRMAllocator])
def test_what_makes_a_share_more_than_its_price_is_refused(
    short, settings, named, strategy
):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcommission(**settings)
    add_bars(cerebro, short)
    params = {} if strategy is FixedMix else {"policy": FakePolicy.reading(short)}
    cerebro.addstrategy(strategy, **params)
    with pytest.raises(ConfigError, match=f"commission scheme of 'equity' .* {named}"):
        cerebro.run()


def test_a_scheme_of_ones_own_that_values_shares_otherwise_is_refused(short):
    class Halved(bt.CommissionInfo):
        def getvaluesize(self, size, price):
            return size * price / 2

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.addcommissioninfo(Halved(), name="bond")
    add_bars(cerebro, short)
    cerebro.addstrategy(FixedMix)
    with pytest.raises(ConfigError, match=r"of 'bond' .* getvaluesize=Halved"):
        cerebro.run()


def test_a_feed_whose_orders_change_another_position_is_refused(short):
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, short)
    cerebro.datas[0].compensate(cerebro.datas[1])
    cerebro.addstrategy(FixedMix)
    with pytest.raises(ConfigError, match=r"'equity' .* but compensates 'bond'"):
        cerebro.run()


def with_rate(bars, rate):
    return Bars(**vars(bars) | {"cash_rate": pd.Series(rate, bars.sessions)})


def in_cash(bars, n_strategies=1, *, live=False, **settings):
    cerebro = bt.Cerebro(stdstats=False, **settings)
    cerebro.broker.set_cash(100_000.0)
    add_bars(cerebro, bars, roles=("equity", "bond", "cash_rate"))
    for _ in range(n_strategies):
        cerebro.addstrategy(FixedMix, weights=(0.0, 0.0, 1.0))
    return cerebro


@pytest.mark.parametrize("preload", [True, False], ids=["preload", "bar by bar"])
@pytest.mark.parametrize(
    ("rate", "first"),
    [
        (5.4, 0),
        (0.1, 0),  # 0.1 % a year, as it was in 2010, in percent
        (-0.03, 0),
        ([0.04] * 40 + [0.08] * 40, 40),
        ([0.001] * 60 + [0.1] * 20, 60),
    ],
    ids=["percent", "small percent", "negative", "leap", "from then on"],
)
def test_a_yield_that_is_no_decimal_is_refused(short, rate, first, preload):
    cerebro = bt.Cerebro(stdstats=False, preload=preload)
    add_bars(cerebro, short, roles=("equity", "bond"))
    rates = pd.DataFrame({"close": np.broadcast_to(rate, 80)}, short.sessions)
    cerebro.adddata(TRMPandasData(dataname=rates), name="cash_rate")
    cerebro.addstrategy(FixedMix, weights=(0.0, 0.0, 1.0))
    sentence = f"cash_rate: an annual yield .* on {short.sessions[first].date()} got"
    with pytest.raises(BarsError, match=sentence):
        cerebro.run()
    with pytest.raises(BarsError, match=sentence):
        with_rate(short, np.broadcast_to(rate, 80))


def test_yields_of_the_eighties_are_decimals_too(short):
    eighties = [
        frame.set_axis(frame.index - pd.DateOffset(years=20))
        for frame in (short.equity, short.bond)
    ]
    cerebro = bt.Cerebro(stdstats=False)
    rates = pd.DataFrame({"close": 0.15}, eighties[0].index)
    frames = dict(zip(("SPY", "TLT", "cash_rate"), [*eighties, rates], strict=True))
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    cerebro.addstrategy(FixedMix, weights=(0.0, 0.0, 1.0))
    (ran,) = cerebro.run()
    assert ran.closes["credit"].iloc[0] == pytest.approx(10_000 * 0.15 / 252)


@pytest.mark.parametrize("n_strategies", [1, 2, 3])
@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
@pytest.mark.filterwarnings("ignore:FixedMix and FixedMix trade")
def test_cash_earns_once_whoever_holds_the_account(short, n_strategies, coo):
    bars = with_rate(short, 0.05)
    ran = in_cash(bars, n_strategies, cheat_on_open=coo).run()
    expected = 100_000 * (1 + 0.05 / 252) ** np.arange(80)
    for strategy in ran:
        np.testing.assert_allclose(strategy.closes["cash"], expected, rtol=1e-12)
        np.testing.assert_allclose(
            strategy.closes["credit"], expected * 0.05 / 252, rtol=1e-12
        )
        assert not len(find_flows(strategy))


def test_the_same_account_earns_in_every_run(short):
    cerebro = in_cash(with_rate(short, 0.05))
    first, second = (cerebro.run()[0].closes["cash"].iloc[-1] for _ in range(2))
    assert first == second == pytest.approx(100_000 * (1 + 0.05 / 252) ** 79)


def test_two_strategies_of_ours_on_one_feed_are_warned_of(short):
    cerebro = in_cash(short, 2)
    with pytest.warns(SetupWarning, match="trade 'equity' and 'bond' on one account"):
        cerebro.run()


def test_strategies_on_feeds_of_their_own_are_not(short):
    cerebro = bt.Cerebro(stdstats=False)
    frames = {"SPY": short.equity, "TLT": short.bond}
    frames |= {"DIA": short.equity, "IEF": short.bond}
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    cerebro.addstrategy(FixedMix)
    cerebro.addstrategy(FixedMix, equity="DIA", bond="IEF")
    assert len(cerebro.run()) == 2


class NoCash(QuietBroker):
    """A broker of a store has no `add_cash`."""

    add_cash = property()


class Refusing(QuietBroker):
    def add_cash(self, cash):
        raise NotImplementedError


@pytest.mark.parametrize("kind", [NoCash, Refusing])
@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
def test_a_broker_that_takes_no_cash_is_warned_of_once(short, kind, coo):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker = kind(cash=100_000.0)
    add_bars(cerebro, with_rate(short, 0.05), roles=("equity", "bond", "cash_rate"))
    cerebro.addstrategy(FixedMix)
    with pytest.warns(SetupWarning, match=f"{kind.__name__} takes no `add_c") as told:
        (ran,) = cerebro.run()
    assert len(told) == 1
    assert (ran.closes["credit"] == 0).all()
    assert ran.n_rejected == 0


@pytest.mark.parametrize("is_fund", [True, False], ids=["fund", "no fund"])
@pytest.mark.parametrize("rate", [None, 0.05], ids=["no yield", "a yield"])
@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
def test_returns_are_those_of_the_fund_whatever_is_paid_in(short, rate, coo, is_fund):
    """Backtrader's own unit value says the same, and its flows are ours."""
    bars = short if rate is None else with_rate(short, rate)
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(100_000.0)
    cerebro.broker.set_fundmode(is_fund)
    add_bars(cerebro, bars, roles=("equity", "bond", "cash_rate"))
    cerebro.addanalyzer(bt.analyzers.TimeReturn, _name="fund", fund=True)
    cerebro.addstrategy(Saver)
    (ran,) = cerebro.run()
    expected = pd.Series(ran.analyzers.fund.get_analysis())[1:]
    found = find_returns(ran)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    paid = {9: 5_000.0, 19: 5_000.0, 29: 3_000.0, 39: 5_000.0, 49: 5_000.0}
    paid |= {59: 3_000.0, 69: 5_000.0, 14: -2_000.0, 44: -2_000.0, 74: -2_000.0}
    expected_flows = {bars.sessions[at + 1]: cash for at, cash in paid.items()}
    assert find_flows(ran).to_dict() == pytest.approx(expected_flows)


def test_without_flows_returns_are_those_of_the_value(short):
    ran = run_mix(short, BROKERS["plain"])
    value = ran.closes["broker_value"]
    expected = (value / value.shift() - 1).iloc[1:]
    pd.testing.assert_series_equal(find_returns(ran), expected, check_exact=True)
    assert not len(find_flows(ran))
