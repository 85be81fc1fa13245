"""The labelling analyzer gives the batch labels in every engine mode."""

import backtrader as bt
import pandas as pd
import pytest

from tests.test_indicators import MODES, add_feeds, closes_frame
from trm_bt.analyzers.allocation_labeler import AllocationLabeler
from trm_bt.config import LabelConfig
from trm_bt.errors import BarsError
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels


def label(bars, *, params=None, **settings):
    cerebro = bt.Cerebro(stdstats=False, **settings)
    add_feeds(cerebro, bars)
    cerebro.adddata(
        bt.feeds.PandasData(dataname=closes_frame(bars.cash_rate)), name="cash_rate"
    )
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler, _name="labels", **(params or {}))
    return cerebro.run()[0].analyzers.labels.get_analysis()


@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
def test_labels_equal_the_batch(bars, preload, runonce, exactbars):
    expected = compute_labels(bars, compute_features(bars))
    analysis = label(bars, preload=preload, runonce=runonce, exactbars=exactbars)
    pd.testing.assert_frame_equal(
        analysis["labels"], expected, check_exact=True, check_freq=False
    )


def test_optional_inputs_are_used_when_named(full_bars):
    config = LabelConfig(horizon=3, fill="close")
    analysis = label(
        full_bars, params={"members": tuple(full_bars.members), "labels": config}
    )
    expected = compute_labels(full_bars, compute_features(full_bars), config)
    pd.testing.assert_frame_equal(
        analysis["labels"], expected, check_exact=True, check_freq=False
    )
    assert analysis["summary"].by_class["n_wins"].sum() == len(expected)


def test_an_absent_member_is_named(bars):
    with pytest.raises(BarsError, match="names the feed 'XLK', which must be"):
        label(bars, params={"members": ("XLK",)})


def test_unequal_calendars_are_refused(bars):
    cerebro = bt.Cerebro(stdstats=False, runonce=False)
    gone = bars.bond.index[200]
    for name, frame in (
        ("SPY", bars.equity),
        ("TLT", bars.bond.drop(index=gone)),
        ("VIX", bars.volatility),
    ):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(AllocationLabeler)
    rule = f"'SPY' and 'TLT' must share one calendar, .* stands on {gone.date()}"
    with pytest.raises(BarsError, match=rule):
        cerebro.run()
