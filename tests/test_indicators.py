"""The indicator's lines have the bits of the batch features in every engine mode."""

from array import array

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.engine import MODES, add_feeds, add_live_feeds, add_weekly_feeds, weekly
from trm_bt.errors import BarsError
from trm_bt.feeds.backtrader import add_bars
from trm_bt.indicators import MarketFeatures
from trm_bt.market.bars import Bars
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, compute_features


class Recorder(bt.Strategy):
    params = (("schema", FeatureSchema()), ("indicator", MarketFeatures))

    def __init__(self):
        datas = [data for data in self.datas if not data._name.startswith("daily_")]
        self.features = self.p.indicator(*datas, schema=self.p.schema)
        self.rows = {}

    def next(self):
        row = [line[0] for line in self.features.lines]
        self.rows[self.features.data.datetime[0]] = row


class RowsAnalyzer(bt.Analyzer):
    """Keep a strategy's rows: `optstrategy` gives back nothing but analyzers."""

    def stop(self):
        self.rows = list(self.strategy.rows.values())


def run(cerebro: bt.Cerebro, **params) -> np.ndarray:
    cerebro.addstrategy(Recorder, **params)
    return np.array(list(cerebro.run()[0].rows.values()))


def run_feeds(bars: Bars, schema: FeatureSchema, **settings) -> np.ndarray:
    cerebro = bt.Cerebro(stdstats=False, **settings)
    add_feeds(cerebro, bars)
    return run(cerebro, schema=schema)


def assert_same_bits(rows: np.ndarray, bars: Bars) -> None:
    expected = compute_features(bars).frame
    assert rows.shape == expected.shape
    assert rows.tobytes() == expected.to_numpy().tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
@pytest.mark.parametrize("fixture", ["bars", "full_bars"])
def test_lines_equal_batch_features(fixture, preload, runonce, exactbars, request):
    bars = request.getfixturevalue(fixture)
    schema = compute_features(bars).schema
    rows = run_feeds(
        bars, schema, preload=preload, runonce=runonce, exactbars=exactbars
    )
    assert_same_bits(rows, bars)


@pytest.mark.slow
@pytest.mark.parametrize("exactbars", [False, 1])
@pytest.mark.parametrize("fixture", ["bars", "full_bars"])
def test_lines_of_live_feeds_equal_batch_features(fixture, exactbars, request):
    bars = request.getfixturevalue(fixture)
    cerebro = bt.Cerebro(stdstats=False, exactbars=exactbars)
    add_live_feeds(cerebro, bars)
    rows = run(cerebro, schema=compute_features(bars).schema)
    assert_same_bits(rows, bars)


@pytest.mark.parametrize("has_daily", [False, True])
@pytest.mark.parametrize("exactbars", [False, 1])
def test_lines_of_resampled_feeds_equal_features_of_weekly_bars(has_daily, exactbars):
    bars = make_bars(400)
    cerebro = bt.Cerebro(stdstats=False, exactbars=exactbars)
    add_weekly_feeds(cerebro, bars, has_daily=has_daily)
    rows = run(cerebro)
    assert len(rows) > 20
    assert_same_bits(rows, weekly(bars))


@pytest.mark.parametrize("maxcpus", [1, 2])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_lines_equal_batch_features_in_optstrategy(bars, maxcpus):
    cerebro = bt.Cerebro(stdstats=False, maxcpus=maxcpus)
    add_bars(cerebro, bars, roles=("equity", "bond", "volatility"))
    cerebro.optstrategy(Recorder, schema=[FeatureSchema(), FeatureSchema()])
    cerebro.addanalyzer(RowsAnalyzer, _name="rows")
    results = cerebro.run()
    assert len(results) == 2
    for (result,) in results:
        assert_same_bits(np.array(result.analyzers.rows.rows), bars)


class BlindFeatures(MarketFeatures):
    """`MarketFeatures` that finds NaN wherever a later bar stands."""

    def next(self):
        lines = [line for data in self.datas for line in data.lines]
        kept = [line.array[:] for line in lines]
        for line in lines:
            n_later = len(line.array) - line.idx - 1
            line.array[line.idx + 1 :] = array("d", [np.nan] * n_later)
        super().next()
        for line, values in zip(lines, kept, strict=True):
            line.array[:] = values


def test_next_reads_no_later_bar(bars):
    cerebro = bt.Cerebro(stdstats=False, preload=True, runonce=False)
    add_feeds(cerebro, bars)
    assert_same_bits(run(cerebro, indicator=BlindFeatures), bars)


def test_optional_inputs_may_be_lines(full_bars):
    """A put/call ratio that stands in another column of a feed, a member as SMA(1)."""

    class Columns(bt.feeds.PandasData):
        lines = ("total_pc",)
        params = (("total_pc", "total_pc"),)

    class Lines(bt.Strategy):
        def __init__(self):
            *feeds, vix = self.datas
            members = [bt.indicators.SMA(feed.close, period=1) for feed in feeds[2:]]
            self.features = MarketFeatures(
                *feeds[:2], vix, *members, vix.lines.total_pc, schema=schema
            )
            self.rows = []

        def next(self):
            self.rows.append([line[0] for line in self.features.lines])

    schema = compute_features(full_bars).schema
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, full_bars, roles=("equity", "bond", "members"))
    frame = full_bars.volatility.assign(volume=0.0, total_pc=full_bars.put_call)
    cerebro.adddata(Columns(dataname=frame), name="VIX")
    cerebro.addstrategy(Lines)
    assert_same_bits(np.array(cerebro.run()[0].rows), full_bars)


def test_lines_are_named_as_the_features():
    assert MarketFeatures.lines.getlinealiases() == FEATURE_NAMES


def test_a_wrong_number_of_feeds_is_refused(bars, full_bars):
    schema = compute_features(full_bars).schema
    with pytest.raises(BarsError, match=r"needs 9 feeds \(equity, bond, .* got 3"):
        run_feeds(bars, schema)


@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
def test_feeds_of_unequal_calendars_are_refused(bars, preload, runonce, exactbars):
    """The engine joins lines by position: a value would be another session's."""
    gone, late = bars.sessions[100], bars.sessions[-1] + pd.Timedelta(days=7)
    moved = bars.volatility.drop(index=gone)
    moved = pd.concat([moved, moved.iloc[[-1]].set_axis([late])])
    cerebro = bt.Cerebro(
        stdstats=False, preload=preload, runonce=runonce, exactbars=exactbars
    )
    for frame in (bars.equity, bars.bond, moved):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(Recorder)
    with pytest.raises(BarsError, match=f"share one calendar, .*{gone.date()}"):
        cerebro.run()
