"""Positions that are there before the allocator first decides, and what it logs."""

import backtrader as bt
import numpy as np
import pytest

from tests.fakes import FakePolicy
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.strategies.trm_allocator import TRMAllocator


class BuysOnce(bt.Strategy):
    """Whoever held the account before: buys at the second open and goes away."""

    def next(self):
        if len(self) == 1:
            self.buy(self.data0, size=4000)
            self.buy(self.data1, size=5000)


def run(bars, *, is_inherited, rate=(), **params):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.set_cash(1e6)
    add_bars(cerebro, bars, roles=("equity", "bond", "volatility", *rate))
    if is_inherited:
        cerebro.addstrategy(BuysOnce)
    policy = FakePolicy.reading(bars)
    cerebro.addstrategy(TRMAllocator, policy=policy, n_averaged=1, **params)
    return cerebro.run()[-1]


def targets(ran):
    log = ran.decisions.set_index("session")
    return log[["target_equity", "target_bond", "target_cash"]]


@pytest.mark.parametrize("rate", [(), ("cash_rate",)], ids=["no yield", "a yield"])
def test_what_is_held_is_logged_until_something_was_decided(bars, rate):
    ran = run(bars, is_inherited=True, rate=rate, min_confidence=1.0)
    cash, expected = 1e6, []
    for i in range(len(bars.sessions)):
        equity, bond = bars.equity.iloc[i], bars.bond.iloc[i]
        if i and rate:
            cash *= 1 + bars.cash_rate.iloc[i - 1] / 252
        if i == 1:
            cash -= 4000 * equity["open"] + 5000 * bond["open"]
        wealth = (4000 * equity["close"], 5000 * bond["close"], cash)
        expected.append([part / sum(wealth) for part in wealth])

    assert ran.n_submitted == 0
    np.testing.assert_allclose(targets(ran), expected[59:], rtol=1e-9)
    assert max(cash for *_, cash in expected[59:]) < 0.5


def test_an_account_in_cash_is_logged_as_cash(bars):
    ran = run(bars, is_inherited=False, min_confidence=1.0)
    assert targets(ran).to_numpy().tolist() == [[0.0, 0.0, 1.0]] * len(ran.decisions)


def test_what_was_decided_is_logged_from_then_on(bars):
    """A decision that is kept stays as it was decided, whatever prices make of it."""
    ran = run(bars, is_inherited=True, decision="argmax", min_confidence=0.5)
    log, kept, expected = ran.decisions, None, []
    for allocation, confidence in zip(
        log["allocation"], log["confidence"], strict=True
    ):
        kept = ALLOCATION_WEIGHTS[allocation].tolist() if confidence >= 0.5 else kept
        expected.append(kept)
    n_before = expected.count(None)

    assert 0 < n_before < len(log)
    assert ran.orders["decided_on"].min() == log["session"].iloc[n_before]
    np.testing.assert_allclose(targets(ran)[n_before:], expected[n_before:], rtol=1e-12)
    assert (targets(ran)["target_cash"].iloc[:n_before] < 0.5).all()
