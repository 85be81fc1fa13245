"""Rows are joined by session, never by position, and each is a finished daily bar."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.engine import LiveFeed
from tests.fakes import FakePolicy
from tests.test_trm_decision import Reading
from trm_bt.analyzers.allocation_labeler import AllocationLabeler
from trm_bt.analyzers.weights import WeightsAnalyzer
from trm_bt.errors import BarsError
from trm_bt.feeds.calendars import is_live
from trm_bt.indicators import MarketFeatures
from trm_bt.market.bars import Bars
from trm_bt.market.features import FeatureSchema
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.trm_allocator import TRMAllocator

NAMES = ("SPY", "TLT", "VIX")
ENGINES = [
    pytest.param({}, id="runonce"),
    pytest.param({"runonce": False}, id="next"),
    pytest.param({"preload": False}, id="bar by bar"),
    pytest.param({"exactbars": 1}, id="exactbars"),
]


@pytest.fixture(scope="module")
def short(bars):
    return Bars(**vars(bars.between(None, bars.sessions[99])) | {"cash_rate": None})


def frames_of(bars):
    return dict(zip(NAMES, (bars.equity, bars.bond, bars.volatility), strict=True))


class Features(bt.Strategy):
    def __init__(self):
        self.features = MarketFeatures(*self.datas[:3])


def plain_strategy(cerebro, bars):
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler)


def allocator(cerebro, bars):
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))


def features(cerebro, bars):
    cerebro.addstrategy(Features)


def decision(cerebro, bars):
    cerebro.addstrategy(Reading, settings={"policy": FakePolicy.reading(bars)})


JOINERS = [allocator, features, decision, plain_strategy]


def run(frames, join, bars, **engine):
    cerebro = bt.Cerebro(stdstats=False, **engine)
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    join(cerebro, bars)
    return cerebro.run()[0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("join", JOINERS)
def test_weeks_that_all_feeds_lack_are_refused(short, join, engine):
    """Nothing disagrees, but the windows of the features would span the gap."""
    kept = np.r_[0:60, 71:100]
    frames = {name: frame.iloc[kept] for name, frame in frames_of(short).items()}
    before, after = short.sessions[[59, 71]]

    with pytest.raises(BarsError, match=f"none between {before:%F} and {after:%F}"):
        run(frames, join, short, **engine)


def doubled(frame, at):
    return pd.concat([frame, frame.iloc[[at]]]).sort_index(kind="stable")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("names", [["SPY"], ["TLT"], ["VIX"], NAMES], ids=str)
@pytest.mark.parametrize("join", JOINERS)
def test_a_session_that_stands_twice_is_refused(short, join, names, engine):
    """One value too many moves every later one: the engine joins by position."""
    frames = frames_of(short)
    at = 80
    frames |= {name: doubled(frames[name], at) for name in names}
    day = short.sessions[at].date()
    twice = f"must have one bar per session.* {day} twice"
    # with exactbars=1 the engine leaves the other feeds on their next bar meanwhile
    apart = f"share one calendar.* stands on {day}"
    with pytest.raises(BarsError, match=f"{twice}|{apart}"):
        run(frames, join, short, **engine)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("join", [features, plain_strategy])
def test_bar_by_bar_the_feed_that_has_it_twice_is_named(short, join, name):
    frames = frames_of(short)
    frames[name] = doubled(frames[name], 80)
    with pytest.raises(BarsError, match=f"'{name}' must have one bar per session"):
        run(frames, join, short, preload=False)


def closes_of(feed):
    return feed.close


def mean_of_two(feed):
    return bt.indicators.SMA(feed, period=2)


def spread(feed):
    return feed.close - feed.open(-1)


@pytest.mark.parametrize("engine", ENGINES[:3])
@pytest.mark.parametrize("line_of", [closes_of, mean_of_two, spread])
@pytest.mark.parametrize("damage", ["twice", "lacks"])
def test_a_line_stands_on_the_sessions_of_its_feed(short, line_of, damage, engine):
    class OfLines(bt.Strategy):
        def __init__(self):
            schema = FeatureSchema(members=("XLE",))
            self.features = MarketFeatures(
                *self.datas[:3], line_of(self.data3), schema=schema
            )

    member = doubled(short.equity, 80)
    if damage == "lacks":
        member = short.equity.drop(index=short.sessions[80])
    with pytest.raises(BarsError, match="'XLE'"):
        run(
            frames_of(short) | {"XLE": member},
            lambda cerebro, bars: cerebro.addstrategy(OfLines),
            short,
            **engine,
        )


@pytest.mark.parametrize("engine", ENGINES[:3])
@pytest.mark.parametrize("join", JOINERS)
def test_bars_of_weekends_are_refused(short, join, engine):
    frames = {n: f.asfreq("D").ffill() for n, f in frames_of(short).items()}
    with pytest.raises(BarsError, match=r"'SPY' must have .* one on Saturday"):
        run(frames, join, short, **engine)


def test_a_mix_of_what_trades_on_weekends_is_none_of_ours(short):
    frames = {n: f.asfreq("D").ffill() for n, f in frames_of(short).items()}
    ran = run(frames, lambda cerebro, bars: cerebro.addstrategy(FixedMix), short)
    assert (ran.weights.index.day_of_week > 4).any()


@pytest.mark.parametrize("engine", ENGINES[:3])
@pytest.mark.parametrize("join", JOINERS)
def test_bars_of_weeks_that_are_called_daily_are_refused(bars, join, engine):
    frames = {n: f.iloc[::5] for n, f in frames_of(bars).items()}
    with pytest.raises(BarsError, match=r"'SPY' must give daily bars.* [67].* apart"):
        run(frames, join, bars, **engine)


@pytest.mark.parametrize("kind", [bt.filters.HeikinAshi, bt.filters.Renko])
def test_bars_that_were_never_traded_are_refused(short, kind):
    cerebro = bt.Cerebro(stdstats=False)
    for name, frame in frames_of(short).items():
        feed = bt.feeds.PandasData(dataname=frame.assign(volume=1.0))
        feed.addfilter(kind)
        cerebro.adddata(feed, name=name)
    allocator(cerebro, short)
    with pytest.raises(BarsError, match=f"'SPY' .* filter {kind.__name__}"):
        cerebro.run()


@pytest.mark.parametrize("at", [0, 1, 30])
def test_so_is_one_before_the_first_decision(short, at):
    frames = frames_of(short) | {"VIX": doubled(short.volatility, at)}
    for engine in ({}, {"preload": False}):
        with pytest.raises(BarsError, match=f"{short.sessions[at].date()}"):
            run(frames, features, short, **engine)


@pytest.mark.parametrize("engine", ENGINES[1:3])
@pytest.mark.parametrize("join", [allocator, features, plain_strategy])
def test_feeds_newest_first_are_refused(short, join, engine):
    frames = {name: frame.iloc[::-1] for name, frame in frames_of(short).items()}
    later, earlier = short.sessions[[-1, -2]].date
    with pytest.raises(BarsError, match=f"'SPY' .* {earlier} comes after {later}"):
        run(frames, join, short, **engine)


def test_one_bar_out_of_its_place_is_refused(short):
    order = [*range(50), 51, 50, *range(52, 100)]
    frames = {name: frame.iloc[order] for name, frame in frames_of(short).items()}
    late, early = short.sessions[[51, 50]].date
    with pytest.raises(BarsError, match=f"'SPY' .* {early} comes after {late}. Sort"):
        run(frames, allocator, short)


@pytest.mark.parametrize("engine", ENGINES[1:3])
def test_a_bond_that_goes_on_after_the_equity_is_refused(short, engine):
    frames = frames_of(short) | {"SPY": short.equity.iloc[:-5]}
    with pytest.raises(BarsError, match="must share one calendar"):
        run(frames, allocator, short, **engine)


def test_a_feed_that_was_added_twice_is_refused(short):
    """The engine moves it by two bars at a time: it would read the future."""
    cerebro = bt.Cerebro(stdstats=False)
    feeds = {
        name: bt.feeds.PandasData(dataname=frame)
        for name, frame in frames_of(short).items()
    }
    for name, feed in feeds.items():
        cerebro.adddata(feed, name=name)
    cerebro.adddata(feeds["SPY"], name="SPY")
    allocator(cerebro, short)
    with pytest.raises(BarsError, match="'SPY' must be in the Cerebro once"):
        cerebro.run()


def hourly(frame):
    """Make seven bars of each, from the open over low and high to the close."""
    rows = []
    for day, bar in frame.iterrows():
        path = np.interp(
            range(8), [0, 2, 4, 7], [bar["open"], bar["low"], bar["high"], bar["close"]]
        )
        rows += [
            (
                day + pd.Timedelta(hours=10 + i),
                path[i],
                max(path[i : i + 2]),
                min(path[i : i + 2]),
                path[i + 1],
                bar.get("volume", 0.0) / 7,
            )
            for i in range(7)
        ]
    names = ["when", "open", "high", "low", "close", "volume"]
    return pd.DataFrame(rows, columns=names).set_index("when")


def add_intraday(cerebro, bars, how):
    days, weeks = bt.TimeFrame.Days, bt.TimeFrame.Weeks
    for name, frame in frames_of(bars).items():
        length = {"timeframe": bt.TimeFrame.Minutes, "compression": 60}
        hours = bt.feeds.PandasData(dataname=hourly(frame), **length)
        daily = bt.feeds.PandasData(dataname=frame)
        if how == "daily":
            cerebro.adddata(daily, name=name)
        elif how == "resampled":
            cerebro.resampledata(hours, name=name, timeframe=days)
        elif how == "replayed":
            cerebro.replaydata(hours, name=name, timeframe=days)
        elif how == "hourly":
            cerebro.adddata(hours, name=name)
        elif how == "hourly, called daily":
            cerebro.adddata(bt.feeds.PandasData(dataname=hourly(frame)), name=name)
        elif how == "two days":
            cerebro.resampledata(daily, name=name, timeframe=days, compression=2)
        else:
            cerebro.resampledata(daily, name=name, timeframe=weeks)


@pytest.mark.parametrize("engine", ENGINES[:3])
@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("replayed", "'SPY' must give finished bars, but is replayed"),
        ("hourly", "'SPY' must give daily bars, got bars of 60 Minutes?. Resample"),
        ("hourly, called daily", "'SPY' must have one bar .* 10:00:00 and 11:00:00"),
        ("weekly", "'SPY' must give daily bars, got bars of 1 Week"),
        ("two days", "'SPY' must give daily bars, got bars of 2 Day"),
    ],
)
@pytest.mark.parametrize("join", [allocator, decision])
def test_what_gives_no_finished_daily_bars_is_refused(
    short, join, how, sentence, engine
):
    cerebro = bt.Cerebro(stdstats=False, **engine)
    add_intraday(cerebro, short.between(None, short.sessions[69]), how)
    join(cerebro, short)
    with pytest.raises(BarsError, match=sentence):
        cerebro.run()


@pytest.mark.parametrize("join", [features, plain_strategy])
def test_a_replayed_feed_has_no_features_and_no_labels(short, join):
    cerebro = bt.Cerebro(stdstats=False)
    add_intraday(cerebro, short.between(None, short.sessions[69]), "replayed")
    join(cerebro, short)
    with pytest.raises(BarsError, match="'SPY' must give finished bars"):
        cerebro.run()


@pytest.mark.parametrize("engine", ENGINES[:3])
def test_days_made_of_hours_give_what_daily_bars_give(short, engine):
    runs = []
    for how in ("daily", "resampled"):
        cerebro = bt.Cerebro(stdstats=False, **engine)
        cerebro.broker.set_cash(1e6)
        add_intraday(cerebro, short, how)
        allocator(cerebro, short)
        runs.append(cerebro.run()[0])
    daily, made = runs
    assert len(daily.decisions) == 41
    pd.testing.assert_frame_equal(made.decisions, daily.decisions, rtol=1e-9)
    # on the last bar of resampled feeds the engine fills at the open before
    pd.testing.assert_frame_equal(made.closes[:-1], daily.closes[:-1], atol=0.01)


def test_a_live_feed_that_gives_a_session_seven_bars_is_refused(short):
    cerebro = bt.Cerebro(stdstats=False)
    for name, frame in frames_of(short).items():
        cerebro.adddata(Restamped(dataname=hourly(frame)), name=name)
    allocator(cerebro, short)
    with pytest.raises(BarsError, match=r"'SPY' must have one bar .* 11:00"):
        cerebro.run()


class Restamped(bt.feeds.PandasData):
    """A live feed of whatever stamps its frame has."""

    def islive(self):
        return True


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["America/New_York", "America/Los_Angeles", None])
@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        *(
            (bt.feeds.PandasData, engine)
            for engine in ({}, {"runonce": False}, {"preload": False})
        ),
        (Restamped, {}),
    ],
)
def test_days_made_of_hours_are_named_by_their_session(short, kind, engine, zone):
    """They end at midnight in New York, which is the next date in Greenwich."""
    cerebro = bt.Cerebro(stdstats=False, **engine)
    cerebro.broker.set_cash(1e6)
    for name, frame in frames_of(short).items():
        hours = kind(
            dataname=hourly(frame),
            timeframe=bt.TimeFrame.Minutes,
            compression=60,
            tz=zone,
            tzinput=zone and "America/New_York",
        )
        cerebro.resampledata(hours, name=name, timeframe=bt.TimeFrame.Days)
    allocator(cerebro, short)
    cerebro.addanalyzer(WeightsAnalyzer, _name="weights")
    (ran,) = cerebro.run()
    daily = run(frames_of(short), allocator, short)
    assert ran.decisions["session"].tolist() == daily.decisions["session"].tolist()
    filled = ran.orders.dropna(subset=["filled_on"])
    assert filled["filled_on"].isin(short.sessions).all()
    assert ran.analyzers.weights.to_frame().index.isin(short.sessions).all()
    assert (filled["filled_on"] > filled["decided_on"]).all()


class Resending(LiveFeed):
    """A live feed that gives each tenth bar again, as after a new connection."""

    def _load(self):
        if getattr(self, "_again", None):
            for line, value in zip(self.lines, self._again, strict=True):
                line[0] = value
            self._again = None
            return True
        loaded = super()._load()
        if loaded and self._idx % 10 == 5:
            self._again = [line[0] for line in self.lines]
        return loaded


def test_a_live_bar_that_is_sent_again_is_decided_once(short):
    runs = []
    for feed in (LiveFeed, Resending):
        cerebro = bt.Cerebro(stdstats=False)
        for name, frame in frames_of(short).items():
            cerebro.adddata(feed(dataname=frame), name=name)
        allocator(cerebro, short)
        runs.append(cerebro.run()[0])
    once, again = (ran.decisions for ran in runs)
    pd.testing.assert_frame_equal(again, once)
    assert again["session"].is_unique
    assert not runs[1].closes.index.has_duplicates


def chained(cerebro, name, parts):
    feeds = [bt.feeds.PandasData(dataname=part) for part in parts]
    cerebro.chaindata(*feeds, name=name)


def rolled(cerebro, name, parts):
    feeds = [bt.feeds.PandasData(dataname=part) for part in parts]
    cerebro.rolloverdata(*feeds, name=name)


@pytest.mark.parametrize("join_parts", [chained, rolled])
def test_a_hole_in_a_chain_is_refused_as_it_is_in_one_frame(short, join_parts):
    cerebro = bt.Cerebro(stdstats=False)
    for name, frame in frames_of(short).items():
        if name == "TLT":
            join_parts(cerebro, name, [frame.iloc[:50], frame.iloc[70:]])
        else:
            cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    allocator(cerebro, short)
    gone = short.sessions[50].date()
    with pytest.raises(BarsError, match=f"'SPY' and 'TLT' must share .* {gone}"):
        cerebro.run()


@pytest.mark.parametrize("join_parts", [chained, rolled])
def test_a_chain_without_a_hole_is_decided_as_one_frame(short, join_parts):
    whole = run(frames_of(short), allocator, short).decisions
    cerebro = bt.Cerebro(stdstats=False)
    for name, frame in frames_of(short).items():
        # a future is rolled into the next while both have bars
        join_parts(cerebro, name, [frame.iloc[:60], frame.iloc[40:]])
    allocator(cerebro, short)
    (ran,) = cerebro.run()
    assert not is_live(cerebro.datasbyname)
    pd.testing.assert_frame_equal(ran.decisions, whole)
    assert ran.orders["status"].iloc[-1] == "Unfilled"


def test_a_copy_of_a_live_feed_is_live():
    frame = pd.DataFrame({"close": [1.0]}, pd.DatetimeIndex(["2024-01-02"]))
    live = Restamped(dataname=frame)
    assert is_live({"equity": live.clone()})


def test_what_is_held_through_is_logged(short, caplog):
    gone = short.sessions[70]
    cerebro = bt.Cerebro(stdstats=False)
    for name, frame in frames_of(short).items():
        kept = frame.drop(index=gone) if name == "TLT" else frame
        cerebro.adddata(LiveFeed(dataname=kept), name=name)
    cerebro.addstrategy(FixedMix)
    (ran,) = cerebro.run()
    assert ran.halts.tolist() == [gone]
    told = [r.message for r in caplog.records if "held through" in r.message]
    assert told == [f"{gone.date()} held through: some feeds lack it"]
