"""Bulk feeds hold what PandasData holds, in every engine mode."""

import datetime as dt

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.engine import MODES
from trm_bt.errors import BarsError
from trm_bt.feeds.backtrader import TRMPandasData, add_bars
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
    np.testing.assert_array_equal(record(TRMPandasData, frames, **settings), expected)


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
    bulk = record(TRMPandasData, frames[:1], feed_settings=feed_settings)
    assert 0 < len(expected) < 58
    np.testing.assert_array_equal(bulk, expected)


@pytest.mark.parametrize("feed_class", [TRMPandasData, bt.feeds.PandasData])
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
    cerebro.adddata(TRMPandasData(dataname=frames[0]))
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
    with pytest.raises(BarsError, match="feed: sessions must be in order, 2001-03-27"):
        record(TRMPandasData, [backwards])


def test_sessions_with_a_time_are_refused(frames):
    shifted = frames[0].set_axis(frames[0].index + pd.Timedelta("9h"))
    with pytest.raises(BarsError, match="must be dates without a time"):
        record(TRMPandasData, [shifted])


def yfinance_frame(frame, *, ticker_first=False):
    """Give a frame the columns of `yfinance.download` and New York midnights."""
    capital = frame.rename(columns=str.capitalize)
    pairs = [("SPY", c) if ticker_first else (c, "SPY") for c in capital.columns]
    names = ["Ticker", "Price"] if ticker_first else ["Price", "Ticker"]
    columns = pd.MultiIndex.from_tuples(pairs, names=names)
    return capital.set_axis(columns, axis=1).tz_localize("America/New_York")


@pytest.mark.parametrize("ticker_first", [False, True])
def test_a_frame_of_yfinance_is_taken_as_it_comes(frames, ticker_first):
    plain = record(bt.feeds.PandasData, frames[:1])
    found = record(
        TRMPandasData, [yfinance_frame(frames[0], ticker_first=ticker_first)]
    )
    np.testing.assert_array_equal(found, plain)


def test_the_columns_of_two_tickers_are_refused(frames):
    both = pd.concat([frames[0], frames[0]], axis=1, keys=["SPY", "TLT"])
    with pytest.raises(BarsError, match="takes the columns of one ticker"):
        TRMPandasData(dataname=both)


def test_midnights_of_every_exchange_are_sessions(frames):
    plain = record(bt.feeds.PandasData, frames[:1])
    for zone in ("America/Chicago", "Europe/London", "Asia/Tokyo"):
        found = record(TRMPandasData, [frames[0].tz_localize(zone)])
        np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize(
    ("shifted_to", "message"),
    [("UTC", "must be tz-naive"), ("America/New_York", "must be dates without a time")],
)
def test_other_moments_are_refused(frames, shifted_to, message):
    shifted = frames[0].tz_localize("UTC").tz_convert(shifted_to)
    with pytest.raises(BarsError, match=message):
        record(TRMPandasData, [shifted])


@pytest.mark.parametrize(
    "settings", [{"close": "open"}, {"volume": None}, {"close": 0}, {"nocase": False}]
)
def test_columns_are_mapped_as_pandas_data_maps_them(frames, settings):
    expected = record(bt.feeds.PandasData, frames, feed_settings=settings)
    found = record(TRMPandasData, frames, feed_settings=settings)
    np.testing.assert_array_equal(found, expected)


def test_sessions_in_a_column_are_read_as_pandas_data_reads_them(frames):
    frame = frames[0].reset_index(names="when")
    settings = {"datetime": "when"}
    expected = record(bt.feeds.PandasData, [frame], feed_settings=settings)
    found = record(TRMPandasData, [frame], feed_settings=settings)
    np.testing.assert_array_equal(found, expected)
