"""Weights become orders that are filled as decided, and none of them is rejected."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.engine import MODES
from trm_bt.errors import BarsError, ConfigError
from trm_bt.feeds.backtrader import TRMPandasData, add_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.broker import FractionalShares
from trm_bt.strategies.rebalancing import RebalancingStrategy
from trm_bt.strategies.sizing import CASH_RESERVE, drift, target_values

FIVE = pd.bdate_range("2024-01-01", periods=5, name="session")
PREPARED = {"coo": True, "plain": False}


class Scripted(RebalancingStrategy):
    """Hold the weights of a script, one row a bar, None to keep."""

    params = (("script", ()),)

    def target_weights(self):
        return self.p.script[len(self.datas[0]) - 1]


def five_bars(*, open_, close, bond=10.0, rate=None):
    """Make five bars by hand; the bond stands still."""

    def frame(opens, closes):
        both = np.array([opens, closes], dtype=float)
        return pd.DataFrame(
            {
                "open": both[0],
                "high": both.max(axis=0),
                "low": both.min(axis=0),
                "close": both[1],
                "volume": 1e6,
            },
            index=FIVE,
        )

    flat = frame([bond] * 5, [bond] * 5)
    return Bars(
        equity=frame(open_, close),
        bond=flat,
        volatility=flat.drop(columns="volume"),
        cash_rate=None if rate is None else pd.Series(rate, FIVE, dtype=float),
    )


def run(bars, strategy, *, coo, cost=0.0, is_whole=False, cash=1000.0, **params):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(cash)
    scheme = bt.CommissionInfo if is_whole else FractionalShares
    cerebro.broker.addcommissioninfo(scheme(commission=cost))
    add_bars(cerebro, bars)
    cerebro.addstrategy(strategy, **params)
    return cerebro.run()[0]


def both_ways():
    return pytest.mark.parametrize("coo", PREPARED.values(), ids=PREPARED.keys())


def random_script(n_sessions, seed=0):
    """Draw a new fully invested mix for every bar, often all in one asset."""
    rng = np.random.default_rng(seed)
    share = rng.choice([0.0, 0.2, 0.5, 0.9, 1.0], n_sessions)
    return [(float(s), float(1 - s)) for s in share]


def gapping_bars(n_sessions, max_gap, seed=0):
    """Draw bars whose opens gap from the close before by up to `max_gap`."""
    bars = make_bars(n_sessions, seed)
    rng = np.random.default_rng(seed + 100)
    frames = {}
    for role in ("equity", "bond"):
        frame = getattr(bars, role).copy()
        gaps = rng.choice([-1.0, 1.0], n_sessions) * rng.uniform(0.5, 1, n_sessions)
        before = frame["close"].shift(fill_value=frame["open"].iloc[0])
        frame["open"] = before * (1 + max_gap * gaps)
        frame["high"] = frame[["open", "high", "close"]].max(axis=1)
        frame["low"] = frame[["open", "low", "close"]].min(axis=1)
        frames[role] = frame
    return Bars(**vars(bars) | frames)


@both_ways()
def test_a_decision_is_filled_at_the_next_open(coo):
    bars = five_bars(open_=[10, 11, 12, 13, 14], close=[10, 11, 12, 13, 14])
    script = [None, (0.5, 0.0), None, None, None]
    orders = run(bars, Scripted, coo=coo, script=script, rebalance_band=0.3).orders
    assert len(orders) == 1
    first = orders.iloc[0]
    assert (first["decided_on"], first["filled_on"]) == (FIVE[1], FIVE[2])
    assert (first["asset"], first["status"], first["price"]) == (
        "equity",
        "Completed",
        12.0,
    )
    # half of 1000 at the price that sized it: the open of bar 3, or the close of bar 2
    assert first["size"] == pytest.approx(500 / (12 if coo else 11), rel=1e-8)
    assert first["value"] == pytest.approx(first["size"] * 12)


def test_weights_are_exact_at_the_fill_after_costs():
    bars = five_bars(open_=[10, 10, 20, 20, 20], close=[10, 10, 20, 20, 20])
    script = [(0.5, 0.3), None, None, None, None]
    ran = run(bars, Scripted, coo=True, cost=0.01, script=script)
    first = ran.weights.loc[FIVE[1]]
    assert first.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=1e-8)
    # S + 0.01 * 0.8 * S = 1000, so S = 1000 / 1.008
    assert ran.closes.loc[FIVE[1], "broker_value"] == pytest.approx(1000 / 1.008)
    # equity doubles at the open of bar 3: 500 of each 1300 (in units of S / 1000) move
    traded = ran.orders[ran.orders["filled_on"] == FIVE[2]]
    assert traded["asset"].tolist() == ["equity", "bond"]
    assert ran.weights.loc[FIVE[2]].tolist() == pytest.approx([0.5, 0.3, 0.2], abs=1e-8)


@both_ways()
def test_cash_earns_the_rate_known_the_session_before(coo):
    rate = [0.0252, 0.0504, 0.0252, 0.0, 0.0252]
    bars = five_bars(open_=[10] * 5, close=[10] * 5, rate=rate)
    ran = run(bars, Scripted, coo=coo, script=[None] * 5)
    expected = 1000 * np.cumprod([1, 1.0001, 1.0002, 1.0001, 1.0])
    np.testing.assert_allclose(ran.closes["cash"], expected, rtol=1e-12)
    np.testing.assert_allclose(ran.closes["broker_value"], expected, rtol=1e-12)


def test_the_yield_is_there_before_the_open_is_sized():
    bars = five_bars(open_=[10] * 5, close=[10] * 5, rate=[0.0252] * 5)
    ran = run(
        bars, Scripted, coo=True, script=[(0.0, 0.0), (1.0, 0.0), None, None, None]
    )
    # 1000 earns twice before all of it buys shares at 10
    assert ran.orders["size"].iloc[0] == pytest.approx(1000 * 1.0001**2 / 10, rel=1e-8)


@both_ways()
def test_sells_come_before_buys(coo):
    bars = five_bars(open_=[10] * 5, close=[10] * 5)
    script = [(1.0, 0.0), None, (0.0, 1.0), None, None]
    ran = run(bars, Scripted, coo=coo, cost=0.001, script=script, max_gap=0.0)
    switch = ran.orders[ran.orders["filled_on"] == FIVE[3]]
    assert switch["asset"].tolist() == ["equity", "bond"]
    assert np.sign(switch["size"]).tolist() == [-1, 1]
    assert ran.n_rejected == 0


def test_the_engine_rejects_a_buy_sent_before_the_sell_that_pays_for_it():
    class BuysFirst(bt.Strategy):
        def __init__(self):
            self.statuses = []

        def next(self):
            if len(self) == 1:
                self.buy(self.data0, size=100)
            if len(self) == 3:
                self.buy(self.data1, size=100)
                self.sell(self.data0, size=50)

        def notify_order(self, order):
            self.statuses.append(order.getstatusname())

    bars = five_bars(open_=[10] * 5, close=[10] * 5)
    ran = run(bars, BuysFirst, coo=False)
    assert ran.statuses.count("Completed") == 1
    assert ran.statuses.count("Margin") == 2


@both_ways()
def test_whole_shares_are_rounded_down(coo):
    bars = five_bars(open_=[30] * 5, close=[30] * 5, bond=7.0)
    script = [(0.5, 0.5), None, None, None, None]
    ran = run(bars, Scripted, coo=coo, is_whole=True, script=script, max_gap=0.0)
    # 500 / 30 = 16.7 and 500 / 7 = 71.4
    sizes = ran.orders.set_index("asset")["size"]
    assert sizes.to_dict() == {"equity": 16.0, "bond": 71.0}


def test_buys_are_cut_to_what_a_gap_leaves_and_completed_on_the_next_bar():
    bars = five_bars(open_=[10] * 5, close=[10] * 5)
    script = [(1.0, 0.0), None, None, None, None]
    ran = run(
        bars, Scripted, coo=False, script=script, max_gap=0.25, rebalance_band=0.5
    )
    # 1000 pays for 80 shares if they open at 12.5, then 200 pays for 16 of them
    assert ran.orders["size"].tolist() == pytest.approx([80.0, 16.0])
    assert ran.orders["filled_on"].tolist() == [FIVE[1], FIVE[2]]


@pytest.mark.parametrize("cost", [0.0, 0.0005, 0.005])
@pytest.mark.parametrize("is_whole", [False, True], ids=["fractional", "whole"])
@both_ways()
def test_no_order_is_rejected_when_opens_gap(coo, is_whole, cost):
    bars = gapping_bars(300, max_gap=0.1)
    script = random_script(300)
    ran = run(
        bars,
        Scripted,
        coo=coo,
        cost=cost,
        is_whole=is_whole,
        script=script,
        max_gap=0.1,
    )
    assert ran.n_submitted == len(ran.orders) > 300
    # those of the last close have no open to be filled at
    is_last = ran.orders["decided_on"] == bars.sessions[-1]
    assert set(ran.orders["status"][~is_last]) == {"Completed"}
    assert set(ran.orders["status"][is_last]) == (set() if coo else {"Unfilled"})
    assert ran.n_rejected == 0
    assert (ran.closes["cash"] >= 0).all()


def test_a_negative_yield_finds_its_cash():
    bars = five_bars(open_=[10] * 5, close=[10] * 5, rate=[-0.0126] * 5)
    script = [(0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (1.0, 0.0), None]
    ran = run(bars, Scripted, coo=False, script=script, max_gap=0.0)
    # 999.95 after one session; the yield of the second is kept out of the buy
    assert ran.orders["value"].iloc[0] == pytest.approx(999.95 * 0.99995, rel=1e-8)
    assert (ran.closes["cash"] >= 0).all()


def test_a_gap_beyond_max_gap_is_counted_as_rejected():
    bars = gapping_bars(300, max_gap=0.1)
    ran = run(bars, Scripted, coo=False, script=random_script(300), max_gap=0.0)
    assert ran.n_rejected > 0
    assert ran.n_rejected == (ran.orders["status"] == "Margin").sum()
    assert ran.orders.loc[ran.orders["status"] == "Margin", "filled_on"].isna().all()


@pytest.mark.parametrize("cost", [0.0, 0.0005, 0.005])
def test_both_ways_agree_where_opens_repeat_the_close(cost):
    bars = gapping_bars(200, max_gap=0.0)
    bars = Bars(**vars(bars) | {"cash_rate": None})
    script = [(0.9 * e, 0.9 * b) for e, b in random_script(200)]
    curves = [
        run(bars, Scripted, coo=coo, cost=cost, script=script, max_gap=0.0).closes
        for coo in (True, False)
    ]
    # nothing differs but the first bar's open, which no decision has reached
    np.testing.assert_allclose(
        curves[0]["broker_value"], curves[1]["broker_value"], rtol=1e-9
    )


@both_ways()
def test_the_band_leaves_small_drifts_alone(coo):
    bars = make_bars(200)
    banded = run(bars, FixedMix, coo=coo, rebalance_band=0.02)
    daily = run(bars, FixedMix, coo=coo)
    assert len(banded.orders) < len(daily.orders) / 10
    target = np.array([0.6, 0.4, 0.0])
    assert np.abs(banded.weights.iloc[3:] - target).to_numpy().max() < 0.05


@both_ways()
def test_nothing_happens_before_the_first_deciding_session(coo):
    bars = make_bars(50)
    first = bars.sessions[20]
    ran = run(bars, FixedMix, coo=coo, decide_from=str(first.date()))
    assert ran.closes.index[0] == first
    assert ran.closes["broker_value"].iloc[0] == 1000.0
    assert ran.orders["decided_on"].iloc[0] == first


@both_ways()
def test_cash_plus_positions_is_the_brokers_value(coo):
    closes = run(gapping_bars(200, 0.05), FixedMix, coo=coo, cost=0.001).closes
    ours = closes[["equity", "bond", "cash"]].sum(axis=1)
    np.testing.assert_allclose(ours, closes["broker_value"], rtol=1e-12)


@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
def test_unequal_calendars_are_refused(preload, runonce, exactbars):
    bars = make_bars(40)
    cerebro = bt.Cerebro(preload=preload, runonce=runonce, exactbars=exactbars)
    gone = bars.sessions[[25, 30]]
    cerebro.adddata(TRMPandasData(dataname=bars.equity), name="SPY")
    cerebro.adddata(TRMPandasData(dataname=bars.bond.drop(index=gone)), name="TLT")
    cerebro.addstrategy(FixedMix)
    is_known = preload and exactbars != 1
    found = "they disagree on 2 sessions, first" if is_known else "first stands on"
    with pytest.raises(
        BarsError, match=f"'SPY' and 'TLT' must .* {found} {gone[0].date()}"
    ):
        cerebro.run()


def test_other_feeds_are_left_alone():
    bars = make_bars(40)
    cerebro = bt.Cerebro(cheat_on_open=True)
    cerebro.adddata(TRMPandasData(dataname=bars.volatility), name="GLD")
    cerebro.adddata(TRMPandasData(dataname=bars.bond), name="tlt")
    cerebro.adddata(TRMPandasData(dataname=bars.equity), name="QQQ")
    cerebro.addstrategy(FixedMix, equity="QQQ")
    orders = cerebro.run()[0].orders
    filled = orders[orders["asset"] == "equity"]
    opens = bars.equity["open"].loc[filled["filled_on"]]
    np.testing.assert_allclose(filled["price"], opens, rtol=1e-12)


@pytest.mark.parametrize(
    "weights", [(0.6, 0.5, 0.0), (1.2, -0.2, 0.0), (0.5, 0.5)], ids=str
)
def test_weights_that_are_no_shares_are_refused(weights):
    with pytest.raises(ConfigError, match="must be shares of equity, bond and cash"):
        run(make_bars(5), FixedMix, coo=True, weights=weights)


def test_target_values_solve_the_cost_equation():
    rng = np.random.default_rng(0)
    for _ in range(500):
        weights = rng.dirichlet([1, 1, 1])[:2] * rng.integers(0, 2, 2)
        held = rng.uniform(0, 100, 2) * rng.integers(0, 2, 2)
        cash, rates = rng.uniform(0.1, 100), rng.choice([0.0, 5e-4, 0.05], 2)
        wanted = np.array(target_values(weights, held, cash, rates))
        costs = (rates * np.abs(wanted - held)).sum()
        value = cash + held.sum()
        left = value - costs - CASH_RESERVE * value
        np.testing.assert_allclose(wanted, weights * left, rtol=1e-12, atol=1e-12)


def test_drift_counts_cash():
    # cash should be 20 of 100 and is 30; each asset is off by 5
    assert drift([0.5, 0.3], [45.0, 25.0], 30.0) == pytest.approx(0.1)
