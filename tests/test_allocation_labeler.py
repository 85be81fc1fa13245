"""The labelling analyzer gives the batch labels in every engine mode."""

import io
import json
import pickle

import backtrader as bt
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.engine import (
    MODES,
    LiveFeed,
    add_feeds,
    add_live_feeds,
    add_weekly_feeds,
    closes_frame,
    weekly,
)
from trm_bt.analyzers.allocation_labeler import AllocationLabeler
from trm_bt.config import LabelConfig
from trm_bt.errors import BarsError, RunError
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.features import compute_features
from trm_bt.market.label_table import summarize_labels
from trm_bt.market.labels import RETURN_COLUMNS, compute_labels

SHARPE = LabelConfig(objective="sharpe")


def label(cerebro, **params):
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler, _name="labels", **params)
    return cerebro.run()[0].analyzers.labels


def label_feeds(bars, *, params=None, **settings):
    cerebro = bt.Cerebro(stdstats=False, **settings)
    add_feeds(cerebro, bars)
    cerebro.adddata(
        bt.feeds.PandasData(dataname=closes_frame(bars.cash_rate)), name="cash_rate"
    )
    return label(cerebro, **(params or {}))


def batch(bars, config=None):
    return compute_labels(bars, compute_features(bars), config)


def assert_same_bits(labeler, expected):
    pd.testing.assert_frame_equal(
        labeler.to_frame(), expected, check_exact=True, check_freq=False
    )


@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
def test_labels_equal_the_batch(bars, preload, runonce, exactbars):
    labeler = label_feeds(bars, preload=preload, runonce=runonce, exactbars=exactbars)
    assert_same_bits(labeler, batch(bars))


@pytest.mark.parametrize("exactbars", [False, 1])
def test_labels_of_live_feeds_equal_the_batch(bars, exactbars):
    cerebro = bt.Cerebro(stdstats=False, exactbars=exactbars)
    add_live_feeds(cerebro, bars)
    rates = closes_frame(bars.cash_rate)
    cerebro.adddata(LiveFeed(dataname=rates), name="cash_rate")
    assert_same_bits(label(cerebro, labels=SHARPE), batch(bars, SHARPE))


@pytest.mark.parametrize("has_daily", [False, True])
@pytest.mark.parametrize("exactbars", [False, 1])
def test_labels_of_resampled_feeds_equal_those_of_weekly_bars(has_daily, exactbars):
    bars = make_bars(400)
    cerebro = bt.Cerebro(stdstats=False, exactbars=exactbars)
    add_weekly_feeds(cerebro, bars, has_daily=has_daily)
    assert_same_bits(label(cerebro), batch(weekly(bars)))


@pytest.mark.parametrize("maxcpus", [1, 2])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_labels_come_back_from_optstrategy(bars, maxcpus):
    cerebro = bt.Cerebro(stdstats=False, maxcpus=maxcpus)
    add_bars(cerebro, bars)
    cerebro.optstrategy(bt.strategies.MA_CrossOver, fast=[5, 10])
    cerebro.addanalyzer(AllocationLabeler, _name="labels", labels=SHARPE)
    expected = batch(bars, SHARPE)
    results = cerebro.run()
    assert len(results) == 2
    for (result,) in results:
        labeler = result.analyzers.labels
        assert_same_bits(labeler, expected)
        assert labeler.get_analysis()["n_labels"] == len(expected)
        is_light = len(pickle.dumps(labeler)) < 1.1 * len(pickle.dumps(expected))
        assert is_light, "feeds and bars came along"


def test_the_analysis_is_plain_json(bars):
    labeler = label_feeds(bars, params={"labels": LabelConfig(horizon=3)})
    analysis = labeler.get_analysis()
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis
    expected = batch(bars, LabelConfig(horizon=3))
    settings = {
        "horizon": 3,
        "fill": "next_open",
        "objective": "pnl",
        "risk_aversion": 3.0,
    }
    assert analysis.items() >= settings.items()
    assert analysis["n_labels"] == len(analysis["labels"]) == len(expected)
    row, (session, values) = analysis["labels"][50], list(expected.iterrows())[50]
    assert row["session"] == str(session.date())
    assert row["known_on"] == str(values["known_on"].date())
    assert row["crises"] == [name for name in values["crises"].split(";") if name]
    assert row["winner"] == values["winner"]
    for name in RETURN_COLUMNS:
        assert row[name] == values[name]


def test_backtrader_can_print_the_analysis(bars):
    out = io.StringIO()
    out.close = lambda: None
    label_feeds(bars).print(out=out)
    assert "AllocationLabeler" in out.getvalue()


def test_optional_inputs_are_used_when_named(full_bars):
    config = LabelConfig(horizon=3, fill="close")
    labeler = label_feeds(
        full_bars, params={"members": tuple(full_bars.members), "labels": config}
    )
    expected = batch(full_bars, config)
    assert_same_bits(labeler, expected)
    counted = summarize_labels(expected, config).model_dump()
    found = labeler.get_analysis()
    assert {key: found[key] for key in counted} == counted


def test_the_analysis_holds_the_rows(bars):
    labeler = label_feeds(bars, params={"labels": LabelConfig(objective="sharpe")})
    rows, table = labeler.get_analysis()["labels"], labeler.to_frame()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert len(rows) == len(table)
    some = zip(rows[::50], table.iloc[::50].iterrows(), strict=True)
    for row, (session, label) in some:
        assert row.keys() == {"session", *table.columns}
        assert row["session"] == str(session.date())
        assert row["known_on"] == str(label["known_on"].date())
        assert row["score_growth"] == label["score_growth"]
        assert ";".join(row["crises"]) == label["crises"]
    assert {len(row["crises"]) for row in rows} == {1, 2}


def test_labels_are_refused_before_the_run_has_ended(bars):
    class Impatient(bt.Strategy):
        def next(self):
            self.analyzers.labels.to_frame()

    cerebro = bt.Cerebro(stdstats=False)
    add_feeds(cerebro, bars)
    cerebro.addstrategy(Impatient)
    cerebro.addanalyzer(AllocationLabeler, _name="labels")
    with pytest.raises(RunError, match=r"Ask it after `cerebro.run\(\)`"):
        cerebro.run()


def test_an_absent_member_is_named(bars):
    with pytest.raises(BarsError, match="names the feed 'XLK', which must be"):
        label_feeds(bars, params={"members": ("XLK",)})


@pytest.mark.parametrize("exactbars", [False, -2])
def test_a_feed_that_ends_early_is_named(bars, exactbars):
    """With exactbars=1 the engine itself raises an IndexError there."""
    cerebro = bt.Cerebro(stdstats=False, exactbars=exactbars)
    for frame in (bars.equity, bars.bond, bars.volatility.iloc[:-5]):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler)
    first = bars.sessions[-5].date()
    with pytest.raises(BarsError, match=f"share one calendar, .* on {first}, the sec"):
        cerebro.run()


@pytest.mark.parametrize("role", ["TLT", "SPY"])
def test_unequal_calendars_are_refused(bars, role):
    cerebro = bt.Cerebro(stdstats=False, runonce=False)
    gone = bars.bond.index[200]
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": bars.volatility}
    frames[role] = frames[role].drop(index=gone)
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler)
    rule = f"'SPY' and 'TLT' must share one calendar, .* stands on {gone.date()}"
    with pytest.raises(BarsError, match=rule):
        cerebro.run()
