"""Daily feeds that stamp one date with two times of day: refused, with the reason."""

import backtrader as bt
import pandas as pd
import pytest

from tests.engine import LiveFeed, role_frames
from trm_bt.analyzers.allocation_labeler import AllocationLabeler
from trm_bt.errors import BarsError
from trm_bt.indicators import MarketFeatures
from trm_bt.strategies.baselines import FixedMix


class Reader(bt.Strategy):
    def __init__(self):
        self.features = MarketFeatures(*self.datas[:3])


class StampedLive(LiveFeed):
    """A live feed that stamps its bars at an hour of the day, from `late_from` on."""

    params = (("hour", 0), ("late_from", pd.Timestamp.min))

    def _load(self):
        has_bar = super()._load()
        day = self.lines.datetime[0]
        if has_bar and day >= self.p.late_from.toordinal():
            self.lines.datetime[0] = day + self.p.hour / 24
        return has_bar


def add_stamped(cerebro, bars, hours):
    for name, frame in role_frames(bars).items():
        moved = frame.set_axis(frame.index + pd.Timedelta(hours=hours.get(name, 0)))
        cerebro.adddata(bt.feeds.PandasData(dataname=moved), name=name)


def add_stamped_live(cerebro, bars, hours, **params):
    for name, frame in role_frames(bars).items():
        feed = StampedLive(dataname=frame, hour=hours.get(name, 0), **params)
        cerebro.adddata(feed, name=name)


def both(name, other, first, times):
    return (
        f"'{name}' and '{other}' must share one calendar, but stamp their bars of "
        f"{first} {times[0]} and {times[1]}. Give daily bars one time of day"
    )


@pytest.mark.parametrize("strategy", [FixedMix, Reader])
@pytest.mark.parametrize("is_live", [False, True], ids=["preloaded", "live"])
def test_both_stamps_are_told(bars, strategy, is_live):
    cerebro = bt.Cerebro(stdstats=False)
    (add_stamped_live if is_live else add_stamped)(cerebro, bars, {"TLT": 16})
    cerebro.addstrategy(strategy)
    sentence = both("SPY", "TLT", bars.sessions[0].date(), ("00:00:00", "16:00:00"))
    with pytest.raises(BarsError, match=sentence):
        cerebro.run()


def test_a_bond_stamped_before_the_equity_is_told_bar_by_bar(bars):
    cerebro = bt.Cerebro(stdstats=False, preload=False)
    add_stamped(cerebro, bars, {"SPY": 16.5})
    cerebro.addstrategy(FixedMix)
    sentence = both("SPY", "TLT", bars.sessions[0].date(), ("16:30:00", "00:00:00"))
    with pytest.raises(BarsError, match=sentence):
        cerebro.run()


def test_bar_by_bar_the_times_are_told_with_the_dates(bars):
    cerebro = bt.Cerebro(stdstats=False, preload=False)
    add_stamped(cerebro, bars, {"TLT": 16})
    cerebro.addstrategy(Reader)
    stands = r"first stands on \S+ 00:00:00, the second stands on no bar yet\."
    with pytest.raises(BarsError, match=f"{stands} Align .*, times of day too"):
        cerebro.run()


def test_where_the_other_has_no_bar_yet_the_time_is_told(bars):
    cerebro = bt.Cerebro(stdstats=False)
    add_stamped(cerebro, bars, {"TLT": 16})
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler)
    stands = f"on {bars.sessions[0].date()} 00:00:00, the second stands on no bar yet"
    with pytest.raises(BarsError, match=stands):
        cerebro.run()


def test_another_hour_than_midnight_is_no_fault(bars):
    cerebro = bt.Cerebro(stdstats=False)
    add_stamped(cerebro, bars, dict.fromkeys(("SPY", "TLT", "VIX"), 16))
    cerebro.addstrategy(FixedMix)
    assert len(cerebro.run()[0].weights) == len(bars.sessions)


def test_live_feeds_that_have_stood_together_are_not_stopped_by_one_late_stamp(bars):
    """A session that is stamped apart later on is held through, as one that lacks."""
    cerebro = bt.Cerebro(stdstats=False)
    add_stamped_live(cerebro, bars, {"TLT": 16}, late_from=bars.sessions[-1])
    cerebro.addstrategy(FixedMix)
    strategy = cerebro.run()[0]
    assert strategy.halts.tolist() == [bars.sessions[-1]]
    assert len(strategy.weights) == len(bars.sessions) - 1
