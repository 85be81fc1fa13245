"""A feed plays a role by its name; by order only where nobody named the feeds."""

import backtrader as bt
import pytest

from tests.fakes import FakePolicy
from trm_bt.analyzers.allocation_labeler import AllocationLabeler
from trm_bt.errors import BarsError, ConfigError
from trm_bt.feeds.roles import find_roles, known_role
from trm_bt.indicators import TRMDecision
from trm_bt.market.bars import Bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.trm_allocator import TRMAllocator

CORE = {"equity": None, "bond": None, "volatility": None}
SPELLINGS = {
    "equity": [
        *("SPY", "spy", "equity", "SPY.P", "SPY US Equity", "SPY.US", "spy_us_d"),
        *("NYSEARCA:SPY", "AMEX:SPY", "SPY-STK-SMART-USD", "SPY.csv"),
        *("ARCX:SPY", "/home/me/tlt/spy.us.txt", r"C:\bars\SPY.csv"),
    ],
    "bond": ["TLT", "bond", "TLT.O", "TLT US Equity", "tlt_us_d", "NASDAQ:TLT"],
    "volatility": [
        *("VIX", "volatility", "^VIX", ".VIX", "$VIX", "$VIX.X", "_VIX", "I:VIX"),
        *("VIX.INDX", "VIX Index", "CBOE:VIX", "TVC:VIX", "VIX-IND-CBOE-USD"),
    ],
}
OTHERS = [
    *("SPYV", "SPYG", "SPXL", "SPY 3x", "SPY_futures", "GSPY", "S.P.Y"),
    *("TLTW", "TLT.hedged", "VIXY", "VIX3M", "VIX9D", "VIX_futures", "VX", "XLE"),
    *("", "stocks", "US Equity", "equity and bond"),
]


@pytest.mark.parametrize(
    ("role", "name"),
    [(role, name) for role, names in SPELLINGS.items() for name in names],
)
def test_the_spellings_of_vendors_are_known(role, name):
    assert known_role(name) == role


@pytest.mark.parametrize("name", OTHERS)
def test_other_funds_and_words_are_not(name):
    assert known_role(name) is None


class Named:
    """As much of a feed as its name."""

    def __init__(self, name):
        self._name = name

    def __repr__(self):
        return str(self._name)


def found(*names, roles=None, **chosen):
    feeds = [Named(name) for name in names]
    roles_of = find_roles(feeds, CORE | chosen, roles)
    return {role: feeds.index(feed) for role, feed in roles_of.items()}


ORDER = {"equity": 0, "bond": 1, "volatility": 2}


def test_names_decide_whatever_the_order():
    assert found(".VIX", "GLD", "TLT.O", "SPY.P") == {
        "equity": 3,
        "bond": 2,
        "volatility": 0,
    }


def test_an_exact_name_goes_before_a_spelling():
    assert found("SPY.US", "SPY", "TLT", "VIX")["equity"] == 1


def test_feeds_without_names_are_taken_in_order():
    assert found("", None, "") == ORDER
    assert found("cash_rate", "GLD", "", "", "")["equity"] == 2


def test_unknown_names_are_taken_in_order_where_the_caller_says_so():
    assert found("XLE", "XLF", "XLU", roles="by_order") == ORDER
    assert found("put_call", "a", "b", "c", roles="by_order")["equity"] == 1


@pytest.mark.parametrize(
    ("names", "roles", "error", "sentence"),
    [
        (("XLE", "XLF", "XLU"), None, BarsError, r"\['XLE', 'XLF', 'XLU'\].*equity='<"),
        (("XLE", "XLF", "XLU"), None, BarsError, "volatility='<feed name>'.*by_order"),
        (("SPY", "IEF", "VIX"), None, BarsError, "No feed for the role bond"),
        (("SPY", "", ""), None, BarsError, "No feed for the role bond"),
        (("SPY", "IEF", "VXN"), "by_order", BarsError, "No feed for the role bond"),
        (("TLT", "SPY", "VIX"), "by_order", ConfigError, "'SPY' is known as equity"),
        (("a", "b", "c"), "order", ConfigError, "`roles` must be None or 'by_order'"),
        (("SPY.P", "SPY.US", "TLT", "VIX"), None, BarsError, "may all be meant"),
    ],
)
def test_what_the_names_leave_open_is_a_sentence(names, roles, error, sentence):
    with pytest.raises(error, match=sentence):
        found(*names, roles=roles)


def cerebro_over(frames):
    cerebro = bt.Cerebro(stdstats=False)
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    return cerebro


@pytest.fixture(scope="module")
def year(bars):
    return bars.between(None, bars.sessions[259])


def with_strategy(cerebro, bars):
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))


def with_analyzer(cerebro, bars):
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler)


@pytest.mark.parametrize("reader", [with_strategy, with_analyzer])
def test_sector_funds_are_not_traded_as_roles(year, reader):
    cerebro = cerebro_over(
        {"XLE": year.equity, "XLF": year.bond, "XLU": year.volatility}
    )
    reader(cerebro, year)
    with pytest.raises(BarsError, match="No feed for the role equity among"):
        cerebro.run()


def test_a_mix_needs_names_too(year):
    cerebro = cerebro_over({"XLE": year.equity, "XLF": year.bond})
    cerebro.addstrategy(FixedMix)
    with pytest.raises(BarsError, match="equity='<feed name>', bond='<feed name>'"):
        cerebro.run()


def test_datas_in_another_place_than_their_names_say_are_refused(year):
    class Swapped(bt.Strategy):
        def __init__(self):
            spy, tlt, vix = self.datas
            self.decision = TRMDecision(tlt, spy, vix, policy=FakePolicy.reading(year))

    cerebro = cerebro_over(
        {"SPY": year.equity, "TLT": year.bond, "VIX": year.volatility}
    )
    cerebro.addstrategy(Swapped)
    with pytest.raises(BarsError, match="got 'TLT', which is known as bond, as equity"):
        cerebro.run()


def inverse(bars):
    """Make what moves as the equity does, at a level of a volatility index."""
    level = 20 * bars.equity["close"] / bars.equity["close"].iloc[0]
    return bars.volatility.assign(**dict.fromkeys(bars.volatility, level))


def late(bars):
    return bars.volatility.shift(1).bfill()


def low(bars):
    return bars.volatility / 10


ENGINES = [
    pytest.param({}, id="runonce"),
    pytest.param({"runonce": False}, id="next"),
    pytest.param({"preload": False}, id="bar by bar"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (inverse, "VIX: volatility must fall when equity rises|VIX: as volatility its"),
        (late, "VIX: volatility must fall .* it stands a session late"),
        (low, "VIX: a volatility index stays above"),
    ],
)
def test_a_feed_that_is_no_volatility_index_is_refused(bars, make, sentence, engine):
    cerebro = bt.Cerebro(stdstats=False, **engine)
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": make(bars)}
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    with_strategy(cerebro, bars)
    with pytest.raises(BarsError, match=sentence):
        cerebro.run()


@pytest.mark.parametrize("make", [inverse, late, low])
def test_so_is_it_where_labels_are_made(bars, make):
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": make(bars)}
    cerebro = cerebro_over(frames)
    with_analyzer(cerebro, bars)
    with pytest.raises(BarsError, match="VIX: "):
        cerebro.run()


def test_feeds_without_names_in_the_wrong_order_are_found_out(bars):
    cerebro = bt.Cerebro(stdstats=False)
    for frame in (bars.bond, bars.equity, bars.volatility):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    with_strategy(cerebro, bars)
    with pytest.raises(BarsError, match="volatility must fall when equity rises"):
        cerebro.run()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("start", ["2003-06-02", "2007-06-01", "2016-09-01"])
def test_the_index_itself_is_taken(real_bars, start, engine):
    """A year of SPY, TLT and VIX is what it is called, however it comes."""
    first = real_bars.sessions.searchsorted(start)
    year = real_bars.between(*real_bars.sessions[[first, first + 320]])
    cerebro = bt.Cerebro(stdstats=False, **engine)
    frames = {"SPY": year.equity, "TLT": year.bond, "VIX": year.volatility}
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    with_strategy(cerebro, Bars(year.equity, year.bond, year.volatility))
    assert len(cerebro.run()[0].decisions) == 262
