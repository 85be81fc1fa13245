"""Bulk feeds hold what PandasData holds, in every engine mode."""

import datetime as dt

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.test_indicators import MODES
from trm_bt.errors import BarsError
from trm_bt.feeds.backtrader import BarsFeed, add_bars
from trm_bt.market.bars import Provenance

LINES = ("datetime", "open", "high", "low", "close", "volume", "openinterest")


class Recorder(bt.Strategy):
    """Keep every line of every feed, with the means of an indicator on top."""

    def __init__(self):
        self.means = [bt.indicators.SMA(data.close, period=3) for data in self.datas]
        self.rows = []

    def next(self):
        values = [getattr(d.lines, name)[0] for d in self.datas for name in LINES]
        self.rows.append(values + [mean[0] for mean in self.means])


def drop_quiet_bars(data):
    """Remove the current bar if little was traded."""
    if is_quiet := data.volume[0] < 2e6:
        data.backwards()
    return is_quiet


def record(feed_class, frames, *, feed_settings=None, **settings):
    cerebro = bt.Cerebro(stdstats=False, **settings)
    for frame in frames:
        cerebro.adddata(feed_class(dataname=frame, **(feed_settings or {})))
    cerebro.addstrategy(Recorder)
    return np.array(cerebro.run()[0].rows)


@pytest.fixture(scope="module")
def frames():
    bars = make_bars(60)
    return [bars.equity, bars.volatility]


@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
def test_bulk_feed_equals_pandas_data(frames, preload, runonce, exactbars):
    settings = {"preload": preload, "runonce": runonce, "exactbars": exactbars}
    expected = record(bt.feeds.PandasData, frames, **settings)
    assert len(expected) == 58
    np.testing.assert_array_equal(record(BarsFeed, frames, **settings), expected)


@pytest.mark.parametrize(
    "feed_settings",
    [
        pytest.param({"fromdate": dt.datetime(2001, 2, 1)}, id="fromdate"),
        pytest.param({"todate": dt.datetime(2001, 3, 1)}, id="todate"),
        pytest.param({"filters": [drop_quiet_bars]}, id="filter"),
    ],
)
def test_limits_and_filters_are_obeyed(frames, feed_settings):
    expected = record(bt.feeds.PandasData, frames[:1], feed_settings=feed_settings)
    bulk = record(BarsFeed, frames[:1], feed_settings=feed_settings)
    assert 0 < len(expected) < 58
    np.testing.assert_array_equal(bulk, expected)


@pytest.mark.parametrize("feed_class", [BarsFeed, bt.feeds.PandasData])
def test_a_replayed_feed_fills_at_the_next_tick(frames, feed_class):
    class BuyOnce(bt.Strategy):
        def next(self):
            if not self.position:
                self.buy()

        def notify_order(self, order):
            if order.status == order.Completed:
                self.filled = order.executed.price

    cerebro = bt.Cerebro(stdstats=False)
    feed = feed_class(dataname=frames[0])
    cerebro.replaydata(feed, timeframe=bt.TimeFrame.Weeks)
    cerebro.addstrategy(BuyOnce)
    # the second daily bar of a week is its tick: its own open, not the week's
    assert cerebro.run()[0].filled == frames[0]["open"].iloc[1]


def test_a_cerebro_can_run_twice(frames):
    cerebro = bt.Cerebro(stdstats=False, preload=False)
    cerebro.adddata(BarsFeed(dataname=frames[0]))
    cerebro.addstrategy(Recorder)
    first, second = (np.array(cerebro.run()[0].rows) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_add_bars_names_every_role_and_carries_its_status(full_bars):
    span = full_bars.sessions[0], full_bars.sessions[-1]
    provenance = {"volatility": Provenance("estimated", *span, status="proxy")}
    cerebro = bt.Cerebro()
    add_bars(cerebro, type(full_bars)(**vars(full_bars) | {"provenance": provenance}))
    expected = ["equity", "bond", "volatility", *[f"M{i}" for i in range(5)]]
    assert [d._name for d in cerebro.datas] == [*expected, "put_call", "cash_rate"]
    status = {d._name: d.role_status for d in cerebro.datas}
    assert status.pop("volatility") == "proxy"
    assert set(status.values()) == {"observed"}


def test_add_bars_leaves_out_what_was_not_asked_for(bars):
    cerebro = bt.Cerebro()
    add_bars(cerebro, bars, roles=("cash_rate", "bond", "put_call"))
    assert [d._name for d in cerebro.datas] == ["bond", "cash_rate"]


def test_sessions_out_of_order_are_refused(frames):
    backwards = frames[0].iloc[::-1]
    with pytest.raises(BarsError, match="feed: sessions must be in order, 2001-03-22"):
        record(BarsFeed, [backwards])


def test_sessions_with_a_time_are_refused(frames):
    shifted = frames[0].set_axis(frames[0].index + pd.Timedelta("9h"))
    with pytest.raises(BarsError, match="must be dates without a time"):
        record(BarsFeed, [shifted])
