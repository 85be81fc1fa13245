"""Execution under trouble: what the broker, the feeds and the owner may do to it."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.engine import LiveFeed, add_live_feeds
from tests.fakes import FakePolicy
from tests.simulation import simulate
from tests.test_rebalancing import (
    FIVE,
    Scripted,
    both_ways,
    five_bars,
    gapping_bars,
    random_script,
    run,
)
from trm_bt.errors import BarsError, ConfigError
from trm_bt.feeds import load_bars
from trm_bt.feeds.backtrader import TRMPandasData, add_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.broker import FINAL_STATES, FractionalShares
from trm_bt.strategies.trm_allocator import TRMAllocator


def cerebro_over(bars, *, coo=False, cost=0.0, cash=1000.0, **settings):
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo, **settings)
    cerebro.broker.set_cash(cash)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=cost))
    add_bars(cerebro, bars)
    return cerebro


def flat_bars():
    return five_bars(open_=[10] * 5, close=[10] * 5)


@both_ways()
def test_partial_fills_are_cancelled_and_sized_anew(coo):
    bars = make_bars(60)
    volume = bars.equity.assign(volume=30.0)
    bars = Bars(**vars(bars) | {"equity": volume, "cash_rate": None})
    cerebro = cerebro_over(bars, coo=coo, cash=10_000.0)
    # a tenth of 30 shares a bar: 10,000 at about 100 takes some thirty bars
    cerebro.broker.set_filler(bt.fillers.FixedBarPerc(perc=10.0))
    cerebro.addstrategy(FixedMix, weights=(1.0, 0.0, 0.0))
    (ran,) = cerebro.run()
    sizes = ran.closes["equity"] / bars.equity["close"]
    bought = np.diff(sizes)
    assert bought[0] == pytest.approx(3.0)
    assert (bought[:20] > 0).all()
    assert bought[:20] == pytest.approx(bought[0])
    counts = ran.orders["status"].value_counts()
    assert counts["Canceled"] >= 20
    assert ran.n_submitted == len(ran.orders)
    assert ran.orders["size"].sum() == pytest.approx(sizes.iloc[-1])
    # each at the open that followed its decision, whenever its end was told
    made = ran.orders.dropna(subset=["filled_on"])
    places = bars.sessions.get_indexer(pd.Index(made["decided_on"]))
    assert made["filled_on"].tolist() == bars.sessions[places + 1].tolist()
    opens = bars.equity["open"].to_numpy()[places + 1]
    np.testing.assert_allclose(made["price"], opens, rtol=1e-12)
    np.testing.assert_allclose(made["slippage"], 0.0, atol=1e-12)


@both_ways()
def test_positions_that_are_there_already_are_rebalanced(coo):
    class Endowed(FixedMix):
        def start(self):
            super().start()
            self.broker.getposition(self.datas[0]).update(90, 10.0)

    cerebro = cerebro_over(flat_bars(), coo=coo, cash=100.0)
    cerebro.addstrategy(Endowed, weights=(0.5, 0.5, 0.0))
    (ran,) = cerebro.run()
    # 900 in the equity and 100 in cash become 500 each
    first = ran.orders[ran.orders["filled_on"] == FIVE[1]]
    assert first["size"].tolist()[0] == pytest.approx(-40, abs=1e-6)
    last = ran.weights.iloc[-1]
    assert last.tolist() == pytest.approx([0.5, 0.5, 0.0], abs=0.01)
    assert ran.n_rejected == 0


@pytest.mark.parametrize(
    ("coo", "cash_at_closes"),
    [
        # booked before the open is sized: equity is sold for it at once
        pytest.param(True, [1000, 0, 0, 0, 0], id="coo"),
        # booked by the broker after the fills: short for one close, then sold for
        pytest.param(False, [1000, 0, 0, -200, 0], id="plain"),
    ],
)
def test_cash_withdrawn_between_bars_is_sold_for(coo, cash_at_closes):
    class Withdrawing(FixedMix):
        def next(self):
            super().next()
            if len(self) == 3:
                self.broker.add_cash(-200.0)

    cerebro = cerebro_over(flat_bars(), coo=coo)
    cerebro.addstrategy(Withdrawing, weights=(1.0, 0.0, 0.0), max_gap=0.0)
    (ran,) = cerebro.run()
    found = ran.closes["cash"].to_numpy()
    np.testing.assert_allclose(found, cash_at_closes, atol=1e-5)
    assert ran.closes["equity"].iloc[-1] == pytest.approx(800, rel=1e-6)
    assert ran.n_rejected == 0


def test_a_refused_order_is_logged_counted_and_tried_again(caplog):
    # the bond opens at 25 after 10: 30 of it cost more than the 600 of the sale
    dear = five_bars(open_=[10, 10, 25, 25, 25], close=[10, 10, 25, 25, 25]).equity
    bars = Bars(**vars(flat_bars()) | {"bond": dear})
    script = [(1.0, 0.0), (0.4, 0.3), None, None, None]
    # the band alone would never trade again, for the bond's drift is below it
    ran = run(bars, Scripted, coo=False, script=script, rebalance_band=0.5, max_gap=0)
    bonds = ran.orders[ran.orders["asset"] == "bond"]
    assert bonds["status"].tolist() == ["Margin", "Completed"]
    assert bonds["size"].tolist() == pytest.approx([30.0, 12.0], rel=1e-6)
    assert bonds["filled_on"].tolist()[1] == FIVE[3]
    assert ran.n_rejected == 1
    assert "bond: order" in caplog.text
    assert "refused" in caplog.text


@pytest.mark.parametrize("is_whole", [False, True], ids=["fractional", "whole"])
@both_ways()
def test_slippage_of_the_broker_is_paid_for(coo, is_whole):
    bars = gapping_bars(120, max_gap=0.02)
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(100_000)
    scheme = bt.CommissionInfo if is_whole else FractionalShares
    cerebro.broker.addcommissioninfo(scheme(commission=0.0005))
    cerebro.broker.set_slippage_perc(0.001)
    add_bars(cerebro, bars)
    cerebro.addstrategy(Scripted, script=random_script(120))
    (ran,) = cerebro.run()
    assert ran.n_rejected == 0
    made = ran.orders.dropna(subset=["filled_on"])
    # never past the high or low of the bar, so at most a thousandth
    assert made["slippage"].between(-1e-12, 0.001 + 1e-12).all()
    assert made["slippage"].max() == pytest.approx(0.001)


class MinimumFee(FractionalShares):
    """Take at least 5 an order, as many a broker does."""

    def _getcommission(self, size, price, pseudoexec):
        return max(5.0, abs(size) * price * 0.0005)


@both_ways()
def test_a_minimum_fee_leaves_the_weights_alone(coo):
    cerebro = cerebro_over(flat_bars(), coo=coo, cash=100_000.0)
    cerebro.broker.addcommissioninfo(MinimumFee())
    weights = (0.6, 0.4, 0.0)
    cerebro.addstrategy(FixedMix, weights=weights, max_gap=0, rebalance_band=0.01)
    (ran,) = cerebro.run()
    assert ran.weights.iloc[1].tolist() == pytest.approx(weights, abs=1e-3)
    # 50 for what is bought, and no trades after it
    assert ran.closes["broker_value"].iloc[-1] == pytest.approx(99_950, abs=10)
    assert ran.n_rejected == 0


def test_cheat_on_open_fills_at_the_open_whatever_is_set_for_the_close():
    bars, script = gapping_bars(120, max_gap=0.02), random_script(120)
    runs = []
    for coc in (False, True):
        cerebro = cerebro_over(bars, coo=True, cost=0.0005)
        cerebro.broker.set_coc(coc)
        cerebro.addstrategy(Scripted, script=script)
        runs.append(cerebro.run()[0])
    opens = bars.equity["open"]
    made = runs[1].orders[runs[1].orders["asset"] == "equity"]
    np.testing.assert_allclose(made["price"], opens.loc[made["filled_on"]])
    pd.testing.assert_frame_equal(runs[1].orders, runs[0].orders)
    assert runs[1].n_rejected == 0


def test_small_trades_are_not_made():
    bars = make_bars(200)
    daily, lazy = (
        run(bars, FixedMix, coo=True, min_trade_value=least) for least in (0.0, 5.0)
    )
    made = lazy.orders["value"].abs()
    assert len(made) < len(daily.orders) / 2
    assert made.min() >= 5.0
    assert daily.orders["value"].abs().min() < 5.0


@both_ways()
def test_every_order_reaches_one_final_state(coo):
    class Counting(Scripted):
        seen: list

        def notify_order(self, order):
            super().notify_order(order)
            if order.status in FINAL_STATES:
                self.finals.append(order.ref)

        def start(self):
            super().start()
            self.finals = []

    bars = gapping_bars(200, max_gap=0.1)
    script = random_script(200)
    ran = run(bars, Counting, coo=coo, script=script, max_gap=0.02)
    assert len(ran.finals) == len(set(ran.finals))
    statuses = ran.orders["status"].value_counts()
    assert ran.n_submitted == len(ran.orders) == statuses.sum()
    assert len(ran.finals) == ran.n_submitted - statuses.get("Unfilled", 0)
    assert ran.n_rejected == statuses.get("Margin", 0)
    assert (ran.n_rejected == 0) == coo  # gaps beyond `max_gap` are refused


def test_targets_are_held_against_what_was_realised():
    # bought at 10 and 10, of which 40 and 40; the equity closes 25 % higher
    bars = five_bars(open_=[10, 10, 10, 10, 10], close=[10, 12.5, 10, 10, 10])
    script = [(0.4, 0.4), None, None, None, None]
    ran = run(bars, Scripted, coo=True, script=script, rebalance_band=0.5)
    row = ran.executions.loc[FIVE[1]]
    assert row["decided_on"] == FIVE[0]
    fill = [row[f"fill_{name}"] for name in ("equity", "bond", "cash")]
    assert fill == pytest.approx([0.4, 0.4, 0.2], abs=1e-8)
    close = [row[f"close_{name}"] for name in ("equity", "bond", "cash")]
    assert close == pytest.approx([5 / 11, 4 / 11, 2 / 11], abs=1e-8)
    assert row["fill_gap"] == pytest.approx(0.0, abs=1e-8)
    assert row["close_gap"] == pytest.approx(5 / 11 - 0.4)
    assert len(ran.executions) == 1


@pytest.mark.parametrize("cost", [0.0, 0.0005, 0.005])
def test_targets_are_met_at_the_open_within_a_tenth_of_a_point(real_bars, cost):
    bars = real_bars.between("2008-01-02", "2009-12-31")
    script = random_script(len(bars.sessions))
    ran = run(bars, Scripted, coo=True, cost=cost, script=script, cash=1e6)
    assert len(ran.executions) > 400
    assert ran.executions["fill_gap"].max() < 1e-3
    whole = run(
        bars, Scripted, coo=True, cost=cost, script=script, cash=1e6, is_whole=True
    )
    # within one share of each of what fractional shares would be
    wanted = np.array(script)[:-1]
    table = whole._trm.ledger._bar_table()[1:]
    values = table[["size_equity", "size_bond"]].to_numpy() * (
        table[["open_equity", "open_bond"]].to_numpy()
    )
    opens = table[["open_equity", "open_bond"]].to_numpy()
    left = values.sum(axis=1) + table["cash"].to_numpy()
    missing = wanted * left[:, None] - values
    # what rounding down spares in costs is not invested either
    assert (missing / opens).max() < 1.0 + 2 * cost + 1e-6
    assert missing.min() > -left.max() * 0.005


@pytest.mark.slow
@pytest.mark.parametrize("cost", [0.0, 0.0005, 0.005])
def test_cheat_on_close_equals_a_simulation_at_the_same_close(real_bars, cost):
    bars = real_bars.between("2006-01-03", "2011-12-30")
    script = random_script(len(bars.sessions), seed=5)
    cerebro = cerebro_over(bars, cost=cost, cash=1e6)
    cerebro.broker.set_coc(True)
    cerebro.addstrategy(Scripted, script=script)
    (ran,) = cerebro.run()
    values, weights = simulate(
        bars, np.array(script), cash=1e6, cost=cost, fill="same close"
    )
    np.testing.assert_allclose(ran.closes["broker_value"], values, rtol=1e-9)
    np.testing.assert_allclose(ran.weights, weights, atol=1e-9)
    assert ran.n_rejected == 0
    assert ran.executions["fill_gap"].max() < 1e-6
    made = ran.orders.dropna(subset=["filled_on"])
    assert (made["filled_on"] == made["decided_on"]).all()


@pytest.mark.parametrize("role", ["equity", "bond", "volatility", "cash_rate"])
@pytest.mark.parametrize("preload", [True, False], ids=["preload", "bar by bar"])
def test_a_bar_without_a_value_is_refused(bars, role, preload):
    at = bars.sessions[100]
    values = getattr(bars, role).copy()
    if role == "cash_rate":
        values.loc[at] = np.nan
    else:
        values.loc[at, "close"] = np.nan
    frames = {"equity": bars.equity, "bond": bars.bond, "volatility": bars.volatility}
    frames["cash_rate"] = bars.cash_rate.to_frame("close")
    frames[role] = values.to_frame("close") if role == "cash_rate" else values
    cerebro = bt.Cerebro(stdstats=False, preload=preload)
    for name, frame in frames.items():
        cerebro.adddata(TRMPandasData(dataname=frame), name=name)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))
    with pytest.raises(
        BarsError, match=rf"'{role}' must have a `close` .* got nan on {at.date()}"
    ):
        cerebro.run()


def test_a_price_of_nothing_is_refused():
    cerebro = bt.Cerebro()
    for name in ("SPY", "TLT"):
        frame = flat_bars().equity.copy()
        frame.loc[FIVE[2], "open"] = 0.0
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    cerebro.addstrategy(FixedMix)
    with pytest.raises(
        BarsError, match=rf"`open` that is above 0, got 0.0 on {FIVE[2].date()}"
    ):
        cerebro.run()


def test_a_bond_that_is_delisted_is_refused_where_all_is_known(bars):
    last = bars.sessions[300]
    cerebro = bt.Cerebro()
    cerebro.adddata(TRMPandasData(dataname=bars.equity), name="SPY")
    cerebro.adddata(TRMPandasData(dataname=bars.bond.loc[:last]), name="TLT")
    cerebro.addstrategy(FixedMix)
    with pytest.raises(BarsError, match=rf"\(bond ends on {last.date()}\)"):
        cerebro.run()


class HaltingFeed(LiveFeed):
    """A live feed without bars on some sessions, and with a NaN close on others."""

    params = (("halted", ()), ("blank", ()))

    def _load(self):
        loaded = super()._load()
        if loaded:
            now = pd.Timestamp(self.num2date(self.datetime[0])).normalize()
            if now in self.p.blank:
                self.lines.close[0] = np.nan
        return loaded


def run_live(bars, *, halted=(), blank=(), coo=False, ends=None, **params):
    """Run the allocator on live feeds of which the bond's halts."""
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
    cerebro.broker.set_cash(1e6)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=0.0005))
    bond = bars.bond.drop(index=list(halted)).loc[:ends]
    cerebro.adddata(LiveFeed(dataname=bars.equity), name="SPY")
    cerebro.adddata(HaltingFeed(dataname=bond, blank=tuple(blank)), name="TLT")
    cerebro.adddata(LiveFeed(dataname=bars.volatility), name="VIX")
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars), **params)
    return cerebro.run()[0]


@both_ways()
@pytest.mark.parametrize("kind", ["halted", "blank"])
def test_a_live_feed_that_halts_is_held_through(bars, kind, coo):
    bars = Bars(**vars(bars.between(None, bars.sessions[149])) | {"cash_rate": None})
    gone = bars.sessions[[100, 101, 120]]
    ran = run_live(bars, coo=coo, **{kind: gone})
    assert ran.halts.tolist() == gone.tolist()
    # as bars are loaded: a session that one lacks is dropped from all
    kept = bars.sessions.drop(gone)
    frames = {
        role: getattr(bars, role).loc[kept] for role in ("equity", "bond", "volatility")
    }
    without = Bars(**frames)
    cerebro = cerebro_over(without, coo=coo, cost=0.0005, cash=1e6)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(without))
    (expected,) = cerebro.run()
    pd.testing.assert_frame_equal(ran.decisions, expected.decisions)
    assert not set(gone) & set(ran.orders["filled_on"]) or not coo
    assert ran.closes.index.tolist() == kept.tolist()
    assert ran.n_rejected == 0
    # what an order under way did on a session without prices cannot be weighed
    filled_on = ran.orders["filled_on"].dropna().unique()
    weighed = ran.executions.index
    assert weighed.tolist() == [day for day in filled_on if day not in gone]


def test_a_live_bond_that_is_delisted_is_held_for_good(bars):
    bars = bars.between(None, bars.sessions[149])
    ran = run_live(bars, ends=bars.sessions[119])
    assert ran.halts.tolist() == bars.sessions[120:].tolist()
    assert ran.decisions["session"].iloc[-1] == bars.sessions[119]
    assert len(ran.closes) == 120


def test_live_feeds_decide_bar_by_bar_as_a_batch_does(bars):
    bars = bars.between(None, bars.sessions[159])
    policy = FakePolicy.reading(bars)
    batched = cerebro_over(bars, cost=0.0005, cash=1e6)
    live = bt.Cerebro(stdstats=False)
    live.broker.set_cash(1e6)
    live.broker.addcommissioninfo(FractionalShares(commission=0.0005))
    add_live_feeds(live, bars)
    for feed, rate in ((bars.cash_rate.to_frame("close"), "cash_rate"),):
        live.adddata(LiveFeed(dataname=feed), name=rate)
    for cerebro in (batched, live):
        cerebro.addstrategy(TRMAllocator, policy=policy)
    expected, found = batched.run()[0], live.run()[0]
    assert policy.batches == [101, 1, 1, 1] + [1] * 101
    pd.testing.assert_frame_equal(found.decisions, expected.decisions, check_exact=True)
    # the broker books a credit before or after it fills, which rounds unlike
    pd.testing.assert_frame_equal(found.closes, expected.closes, rtol=1e-12)
    assert not len(found.halts)


def extra_bars(first, last):
    """Make a feed of all calendar days, as that of a coin."""
    days = pd.date_range(first, last)
    values = np.linspace(100, 200, len(days))
    return pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), values), index=days
    )


@pytest.mark.parametrize("runonce", [True, False], ids=["runonce", "next"])
@pytest.mark.parametrize("starts", [0, 150], ids=["whole", "late"])
@both_ways()
def test_feeds_of_no_role_neither_delay_nor_trigger(bars, starts, coo, runonce):
    bars = bars.between(None, bars.sessions[199])
    policy = FakePolicy.reading(bars)
    runs = []
    for has_extra in (False, True):
        cerebro = cerebro_over(bars, coo=coo, cost=0.0005, cash=1e6, runonce=runonce)
        if has_extra:
            frame = extra_bars(bars.sessions[starts], bars.sessions[-1])
            cerebro.adddata(TRMPandasData(dataname=frame), name="BTC")
        cerebro.addstrategy(TRMAllocator, policy=policy)
        runs.append(cerebro.run()[0])
    for name in ("decisions", "orders", "closes"):
        pd.testing.assert_frame_equal(
            getattr(runs[1], name), getattr(runs[0], name), rtol=1e-9, atol=1e-6
        )


def test_a_rule_of_ones_own_waits_for_its_indicator(bars):
    class Averaged(FixedMix):
        def __init__(self):
            super().__init__()
            self.average = bt.indicators.SMA(self.datas[0], period=30)
            self.asked = []

        def target_weights(self):
            self.asked.append((len(self), self.average[0]))
            return super().target_weights()

    ran = cerebro_over(bars)
    ran.addstrategy(Averaged)
    (done,) = ran.run()
    assert done.asked[0][0] == 30
    assert np.isfinite([average for _, average in done.asked]).all()
    assert len(done.closes) == len(bars.sessions)


@pytest.mark.parametrize(
    "weights", [(0.7, 0.7), (-0.1, 0.5), (float("nan"), 0.5)], ids=str
)
def test_a_rule_that_returns_no_shares_is_refused(weights):
    with pytest.raises(ConfigError, match="`target_weights` must return shares"):
        run(flat_bars(), Scripted, coo=False, script=[weights] * 5)


def hard_switches(n_sessions, seed=0):
    """Draw switches from all of one asset into all of the other, and mixes between."""
    rng = np.random.default_rng(seed)
    mixes = np.array([(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.2, 0.5), (0.0, 0.0)])
    return [tuple(map(float, mixes[i])) for i in rng.integers(0, 5, n_sessions)]


@pytest.mark.parametrize("cost", [0.0, 0.0005, 0.005])
@pytest.mark.parametrize("is_whole", [False, True], ids=["fractional", "whole"])
@pytest.mark.parametrize("source", ["market", "sample"])
@both_ways()
def test_no_order_is_rejected_through_a_crisis(request, source, coo, is_whole, cost):
    if source == "market":
        bars = request.getfixturevalue("real_bars").between("2008-07-01", "2009-06-30")
    else:
        bars = load_bars("sample", start="1998-07-01", end="1999-06-30")
    script = hard_switches(len(bars.sessions))
    ran = run(
        bars, Scripted, coo=coo, cost=cost, is_whole=is_whole, script=script, cash=1e9
    )
    made = ran.orders["status"].value_counts()
    assert ran.n_rejected == 0
    assert ran.n_submitted == made.sum() > 350
    assert set(made.index) <= {"Completed", "Unfilled"}
    assert made.get("Unfilled", 0) <= 2


@pytest.mark.slow
def test_no_order_is_rejected_in_thirty_real_years(market_dir):
    bars = load_bars(market_dir, start="1993-02-01", end="2023-12-29")
    script = hard_switches(len(bars.sessions), seed=1)
    ran = run(bars, Scripted, coo=False, cost=0.0005, script=script, cash=1e9)
    assert ran.n_submitted > 13_000
    assert ran.n_rejected == 0
