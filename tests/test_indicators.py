"""The indicator's lines have the bits of the batch features in every engine mode."""

import backtrader as bt
import numpy as np
import pytest

from trm_bt.errors import BarsError
from trm_bt.indicators import MarketFeatures
from trm_bt.market.bars import Bars
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, compute_features

MODES = [
    pytest.param(preload, runonce, exactbars, id=f"{preload=}-{runonce=}-{exactbars=}")
    for preload in (True, False)
    for runonce in (True, False)
    for exactbars in (False, -1, 1)
]


def closes_frame(series):
    values = series.to_frame("close")
    for name in ("open", "high", "low"):
        values[name] = values["close"]
    return values.assign(volume=0.0)


def add_feeds(cerebro: bt.Cerebro, bars: Bars) -> None:
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": bars.volatility}
    if bars.members is not None:
        frames |= {name: closes_frame(bars.members[name]) for name in bars.members}
    if bars.put_call is not None:
        frames["put_call"] = closes_frame(bars.put_call)
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)


class Recorder(bt.Strategy):
    params = (("schema", None),)

    def __init__(self):
        self.features = MarketFeatures(*self.datas, schema=self.p.schema)
        self.rows = []

    def next(self):
        self.rows.append([line[0] for line in self.features.lines])


def run(bars: Bars, schema: FeatureSchema, **settings) -> np.ndarray:
    cerebro = bt.Cerebro(stdstats=False, **settings)
    add_feeds(cerebro, bars)
    cerebro.addstrategy(Recorder, schema=schema)
    return np.array(cerebro.run()[0].rows)


@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
@pytest.mark.parametrize("fixture", ["bars", "full_bars"])
def test_lines_equal_batch_features(fixture, preload, runonce, exactbars, request):
    bars = request.getfixturevalue(fixture)
    features = compute_features(bars)
    rows = run(
        bars, features.schema, preload=preload, runonce=runonce, exactbars=exactbars
    )
    assert rows.shape == features.frame.shape
    assert rows.tobytes() == features.frame.to_numpy().tobytes()


def test_lines_are_named_as_the_features():
    assert MarketFeatures.lines.getlinealiases() == FEATURE_NAMES


def test_a_wrong_number_of_feeds_is_refused(bars, full_bars):
    schema = compute_features(full_bars).schema
    with pytest.raises(BarsError, match=r"needs 9 feeds \(equity, bond, .* got 3"):
        run(bars, schema)
