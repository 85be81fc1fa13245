"""The decision indicator says what the policy says, in every engine mode."""

import backtrader as bt
import numpy as np
import pytest

from tests.engine import MODES, add_live_feeds
from tests.fakes import FakePolicy
from trm_bt.errors import BarsError, CheckpointError, ConfigError
from trm_bt.feeds.backtrader import add_bars
from trm_bt.indicators import DECISION_LINES, TRMDecision
from trm_bt.market.bars import Bars, Provenance
from trm_bt.market.features import compute_features


class Reading(bt.Strategy):
    """Note every line of the indicator, as someone who trades on them would."""

    params = (("settings", {}), ("n_feeds", 3))

    def __init__(self):
        feeds = self.datas[: self.p.n_feeds]
        self.decision = TRMDecision(*feeds, **self.p.settings)
        self.seen = {}

    def next(self):
        now = self.data.datetime.date(0).isoformat()
        self.seen[now] = [
            getattr(self.decision.lines, name)[0] for name in DECISION_LINES
        ]


def read(bars, *, is_live=False, n_feeds=3, engine=None, **settings):
    cerebro = bt.Cerebro(stdstats=False, **(engine or {}))
    (add_live_feeds if is_live else add_bars)(cerebro, bars)
    cerebro.addstrategy(Reading, settings=settings, n_feeds=n_feeds)
    return cerebro.run()[0].seen


def expected_lines(bars, policy):
    """Ask the policy about each row of the batch features, alone."""
    frame = compute_features(bars).frame
    rows = {}
    for i, session in enumerate(frame.index):
        (one,) = policy.decide(frame.index[[i]], frame.to_numpy()[[i]])
        chosen = np.nan if one.allocation is None else float(one.allocation)
        rows[session.date().isoformat()] = [*one.probabilities, one.halt_prob, chosen]
    return rows


@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
def test_lines_are_the_policys_decisions(bars, preload, runonce, exactbars):
    bars = bars.between(None, bars.sessions[89])
    engine = {"preload": preload, "runonce": runonce, "exactbars": exactbars}
    policy = FakePolicy.reading(bars)
    policy.abstains = (bars.sessions[70], bars.sessions[75])
    expected = expected_lines(bars, policy)
    found = read(bars, policy=policy, engine=engine)
    assert list(found) == list(expected)
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))
    assert np.isnan(found[bars.sessions[70].date().isoformat()]).all()


def test_lines_on_live_feeds_and_with_optional_ones(full_bars):
    bars = full_bars.between(None, full_bars.sessions[279])
    policy = FakePolicy.reading(bars)
    found = read(bars, is_live=True, n_feeds=9, policy=policy)
    expected = expected_lines(bars, policy)
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))


def test_decisions_begin_where_they_are_asked_to(bars):
    first = bars.sessions[100]
    found = read(bars, policy=FakePolicy.reading(bars), decide_from=first)
    before, after = list(found.values())[:41], list(found.values())[41:]
    assert np.isnan(before).all()
    assert np.isfinite(after).all()


def test_a_checkpoint_is_loaded_by_path(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    found = list(read(bars, checkpoint=folder).values())
    assert np.isnan(found[: 600 - 59]).all()  # its own training span
    assert np.isfinite(found[600 - 59 :]).all()
    np.testing.assert_allclose(np.sum(found[-1][:8]), 1.0)


def test_wrong_use_is_answered(bars, full_bars):
    with pytest.raises(ConfigError, match="need a `checkpoint` folder or a `policy`"):
        read(bars)
    with pytest.raises(BarsError, match="needs 9 feeds"):
        read(full_bars, policy=FakePolicy.reading(full_bars))
    estimated = {"volatility": Provenance("x", *bars.sessions[[0, -1]], status="proxy")}
    proxied = Bars(**vars(bars) | {"provenance": estimated})
    with pytest.raises(CheckpointError, match="vix_level observed against proxy"):
        read(proxied, policy=FakePolicy.reading(bars))
