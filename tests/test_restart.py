"""A strategy that is started anew each evening decides as one that never stopped."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakePolicy
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.trm_allocator import TRMAllocator

TARGETS = ["target_equity", "target_bond", "target_cash"]
N_EVENINGS = 25


@pytest.fixture(scope="module")
def plain_bars(bars):
    return Bars(**vars(bars) | {"cash_rate": None})


def run(bars, first, last, *, coo=False, strategy=TRMAllocator, **params):
    some = bars.between(*bars.sessions[[first, last]])
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(1e6)
    add_bars(cerebro, some)
    if strategy is TRMAllocator:
        params["policy"] = FakePolicy.reading(bars)
    cerebro.addstrategy(strategy, **params)
    return cerebro.run()[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"decision": "argmax"},
        {"decision": "blend"},
        {"decision": "argmax", "min_confidence": 0.3},
        {"decision": "blend", "n_averaged": 20},
    ],
    ids=str,
)
def test_every_evening_decides_as_the_unbroken_run(plain_bars, settings):
    whole = run(plain_bars, 0, 399, **settings).decisions.set_index("session")
    for evening in range(300, 300 + N_EVENINGS):
        today = plain_bars.sessions[evening]
        anew = run(plain_bars, 180, evening, trade_from=today, **settings)
        row = anew.decisions.set_index("session").loc[today]
        assert row[TARGETS].tolist() == whole.loc[today, TARGETS].tolist(), today


@pytest.mark.slow
def test_a_cold_start_does_not(plain_bars):
    """What `trade_from` is for: the last decisions are averaged."""
    whole = run(plain_bars, 0, 399).decisions.set_index("session")
    n_other = 0
    for evening in range(300, 300 + N_EVENINGS):
        today = plain_bars.sessions[evening]
        row = run(plain_bars, 180, evening, decide_from=today).decisions.iloc[-1]
        n_other += row[TARGETS].tolist() != whole.loc[today, TARGETS].tolist()
    assert n_other > 0


@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
def test_nothing_is_traded_or_earned_before(bars, coo):
    first = bars.sessions[200]
    ran = run(bars, 0, 260, coo=coo, trade_from=str(first.date()))
    assert ran.decisions["session"].iloc[0] == bars.sessions[59]
    assert ran.closes.index[0] == first
    assert ran.closes["broker_value"].iloc[0] == 1e6
    assert ran.orders["decided_on"].iloc[0] == first
    assert ran.orders["filled_on"].iloc[0] == bars.sessions[201]
    earned = ran.closes["credit"].iloc[0]
    assert earned == pytest.approx(1e6 * bars.cash_rate.iloc[200] / 252)


@pytest.mark.parametrize("coo", [True, False], ids=["coo", "plain"])
def test_from_then_on_it_trades_as_one_that_begins_there(bars, coo):
    """A mix decides the same whenever it began: the trades are the same too."""
    first = bars.sessions[100]
    begun, warmed = (
        run(bars, 0, 160, coo=coo, strategy=FixedMix, **{name: first})
        for name in ("decide_from", "trade_from")
    )
    pd.testing.assert_frame_equal(warmed.orders, begun.orders)
    pd.testing.assert_frame_equal(warmed.closes, begun.closes)


def test_a_rule_of_ones_own_is_warmed_up_too(plain_bars):
    class Slow(TRMAllocator):
        """Move a tenth of the way to what is decided, each session."""

        held = np.array([0.5, 0.5])

        def target_weights(self):
            self.held = self.held + 0.1 * (
                np.array(super().target_weights()) - self.held
            )
            return tuple(self.held)

    def log(**params):
        cerebro = bt.Cerebro(stdstats=False)
        add_bars(cerebro, plain_bars)
        policy = FakePolicy.reading(plain_bars)
        cerebro.addstrategy(Slow, policy=policy, **params)
        return cerebro.run()[0].decisions

    pd.testing.assert_frame_equal(log(trade_from=plain_bars.sessions[390]), log())


def test_trading_begins_no_sooner_than_deciding(plain_bars):
    ran = run(
        plain_bars,
        0,
        260,
        decide_from=plain_bars.sessions[200],
        trade_from=plain_bars.sessions[100],
    )
    assert ran.closes.index[0] == plain_bars.sessions[200]
