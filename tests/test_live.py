"""Live feeds and a store's broker: decided as in a batch, traded when LIVE, once."""

from collections import deque

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.engine import role_frames
from tests.fakes import FakePolicy
from tests.live_store import (
    LIVE,
    LOST,
    PERIOD,
    Exchange,
    bar_tick,
    live_tape,
    openings,
    run_store,
    sent_table,
)
from trm_bt.errors import CheckpointError, ConfigError
from trm_bt.feeds.backtrader import TRMPandasData
from trm_bt.market.bars import Bars
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.memory import Memory, Working
from trm_bt.strategies.trm_allocator import TRMAllocator

N_HISTORY, N_SESSIONS = 80, 92
PARAMS = {"max_gap": 0.0, "n_averaged": 3}


@pytest.fixture(scope="module")
def frames(bars):
    short = bars.between(None, bars.sessions[N_SESSIONS - 1])
    roles = {role: getattr(short, role) for role in ("equity", "bond", "volatility")}
    return role_frames(Bars(**roles))


def policy_for(frames):
    names = {"equity": "SPY", "bond": "TLT", "volatility": "VIX"}
    return FakePolicy.reading(Bars(**{role: frames[n] for role, n in names.items()}))


@pytest.fixture(scope="module")
def batch(frames):
    """Decide on preloaded feeds."""
    cerebro = bt.Cerebro(stdstats=False)
    for name, frame in frames.items():
        cerebro.adddata(TRMPandasData(dataname=frame), name=name)
    cerebro.addstrategy(TRMAllocator, policy=policy_for(frames), **PARAMS)
    return cerebro.run()[0].decisions


@pytest.fixture
def exchange(frames):
    return Exchange(openings(frames, N_HISTORY))


def tapes_of(frames, **by_name):
    return {
        name: live_tape(frame, N_HISTORY, **by_name.get(name, {}))
        for name, frame in frames.items()
    }


def run_allocator(frames, exchange, strategy=TRMAllocator, *, tapes=None, **how):
    tapes = tapes or tapes_of(frames)
    return run_store(
        tapes, exchange, strategy, policy=policy_for(frames), **PARAMS, **how
    )


def shares_wanted(batch, frames, exchange, row=-2):
    """Return by how much each weight misses the target that was last filled."""
    decided = batch.iloc[row]
    close = {name: frames[name]["close"].loc[decided["session"]] for name in frames}
    worth = {name: exchange.holding(name).size * close[name] for name in ("SPY", "TLT")}
    value = exchange.cash + sum(worth.values())
    wanted = {"SPY": decided["target_equity"], "TLT": decided["target_bond"]}
    return {name: worth[name] / value - wanted[name] for name in worth}


def test_history_is_decided_and_nothing_is_sent_before_all_are_live(
    frames, exchange, batch
):
    tapes = tapes_of(frames, TLT={"live_at": 3}, VIX={"live_at": 5})
    ran = run_allocator(frames, exchange, tapes=tapes)
    pd.testing.assert_frame_equal(ran.decisions, batch)
    sent = sent_table(exchange)
    # the last finished session is traded when the last feed says LIVE, once
    assert sent["tick"].min() == N_HISTORY + 5
    assert (sent["tick"].between(N_HISTORY, N_HISTORY + PERIOD)).sum() == 2
    last = frames["SPY"].index[N_HISTORY - 1]
    assert ran.orders["decided_on"].min() == last
    assert not ran.orders.duplicated(["decided_on", "asset"]).any()
    assert ran.closes.index.min() > last


def test_live_with_the_first_bar_trades_that_bar(frames, exchange, batch):
    at = bar_tick(N_HISTORY, N_HISTORY) - N_HISTORY
    ran = run_allocator(frames, exchange, tapes=tapes_of(frames, VIX={"live_at": at}))
    pd.testing.assert_frame_equal(ran.decisions, batch)
    assert ran.orders["decided_on"].min() == frames["SPY"].index[N_HISTORY]
    assert sent_table(exchange)["tick"].min() == bar_tick(N_HISTORY, N_HISTORY)


def test_late_bars_change_nothing(frames, batch):
    found = []
    for late in (0, 2):
        exchange = Exchange(openings(frames, N_HISTORY))
        tapes = tapes_of(frames, TLT={"late": late}, VIX={"late": late // 2})
        ran = run_allocator(frames, exchange, tapes=tapes)
        pd.testing.assert_frame_equal(ran.decisions, batch)
        assert not len(ran.halts)
        found.append([(name, size) for _, name, size in exchange.sent])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["SPY", "TLT", "VIX"])
def test_a_lost_connection_is_caught_up_with(frames, exchange, batch, name):
    lost = (N_HISTORY + 3, N_HISTORY + 7)
    ran = run_allocator(
        frames, exchange, tapes=tapes_of(frames, **{name: {"lost": lost}})
    )
    pd.testing.assert_frame_equal(ran.decisions, batch)
    assert not len(ran.halts)
    gone = range(
        bar_tick(N_HISTORY, lost[0]) - PERIOD + 2, bar_tick(N_HISTORY, lost[1]) - 1
    )
    sent = sent_table(exchange)
    assert not sent["tick"].isin(gone).any()
    assert (sent["tick"] > gone[-1]).any()
    assert max(map(abs, shares_wanted(batch, frames, exchange).values())) < 0.03


def test_a_part_that_was_filled_is_not_bought_again(frames, exchange, batch):
    exchange.filled = lambda n: (0.4, 1.0, 0.0)[n % 3]
    ran = run_allocator(frames, exchange)
    pd.testing.assert_frame_equal(ran.decisions, batch)
    states = set(ran.orders["status"])
    assert {"Completed", "Canceled"} <= states
    assert not ran.orders["status"].isin(["Partial"]).any()
    sizes = ran.orders.dropna(subset=["filled_on"]).groupby("asset")["size"].sum()
    held = {"equity": "SPY", "bond": "TLT"}
    for asset, name in held.items():
        under_way = sum(
            o.executed.size for o in exchange.working if o.data._name == name
        )
        assert sizes[asset] + under_way == exchange.holding(name).size


def test_what_was_cancelled_is_sized_anew_in_the_same_session(frames, exchange):
    exchange.filled = lambda n: 0.4
    run_allocator(frames, exchange)
    # what is left is cancelled on the bar, which the broker confirms a tick later
    later = {bar_tick(N_HISTORY, i) + 1 for i in range(N_HISTORY, N_SESSIONS - 1)}
    assert {tick for tick, *_ in exchange.sent if tick > N_HISTORY} >= later


def test_a_position_that_is_shown_late_is_not_bought_again(frames, exchange):
    exchange.filled = lambda n: 0.4 if n < 2 else 1.0
    run_allocator(frames, exchange, broker={"lag": PERIOD - 1})
    first = bar_tick(N_HISTORY, N_HISTORY)
    ticks = {tick for tick, *_ in exchange.sent}
    # the end of orders is told before their fills can be seen: wait for the next bar
    assert ticks.isdisjoint(range(first, first + PERIOD))
    assert first + PERIOD in ticks


def test_a_broker_that_never_confirms_is_sent_nothing_more(frames, exchange):
    exchange.filled = lambda n: 0.0
    run_allocator(frames, exchange, broker={"confirms": False})
    assert len(exchange.sent) == 2


def test_fills_that_are_told_twice_count_once(frames, exchange, batch):
    exchange.filled = lambda n: (0.5, 1.0)[n % 2]
    once = Exchange(exchange.opens, exchange.filled)
    ran = run_allocator(frames, exchange, broker={"n_reports": 2})
    expected = run_allocator(frames, once)
    assert exchange.sent == once.sent
    pd.testing.assert_frame_equal(ran.orders, expected.orders)
    pd.testing.assert_frame_equal(ran.decisions, batch)


class Hooked(TRMAllocator):
    """Somebody's strategy, with hooks that know nothing of ours."""

    def notify_data(self, data, status, *args, **kwargs):
        self.state = self.live = status

    def notify_order(self, order):
        self.orders = self.memory = order

    def notify_store(self, msg, *args, **kwargs):
        pass


def test_hooks_of_a_subclass_do_not_matter(frames, exchange, batch):
    plain = Exchange(exchange.opens)
    run_allocator(frames, exchange, Hooked)
    run_allocator(frames, plain)
    assert exchange.sent == plain.sent


class Dying(TRMAllocator):
    """A process that is killed on a session, at some moment."""

    params = (("dies_on", None), ("sends", True))

    def next(self):
        super().next()
        is_last = self.data.datetime.date() == self.p.dies_on
        if is_last and not self.p.sends:
            raise KeyboardInterrupt

    def _next_analyzers(self, *args, **kwargs):
        super()._next_analyzers(*args, **kwargs)
        if self.data.datetime.date() == self.p.dies_on and len(self.data) > N_HISTORY:
            raise KeyboardInterrupt


@pytest.mark.parametrize("sends", [True, False], ids=["sent", "decided"])
@pytest.mark.parametrize("n_missed", [0, 2])
def test_a_restart_goes_on(frames, exchange, batch, tmp_path, sends, n_missed):
    at = N_HISTORY + 4
    state = tmp_path / "state.json"
    dies_on = frames["SPY"].index[at].date()
    how = {"state": state, "dies_on": dies_on, "sends": sends}
    with pytest.raises(KeyboardInterrupt):
        run_allocator(frames, exchange, Dying, **how)
    n_before = len(exchange.sent)
    # the second process looks back as far as it must, and misses what came meanwhile
    n_history = at + 1 + n_missed
    tapes = {n: live_tape(f, n_history, first=10) for n, f in frames.items()}
    exchange.opens = openings(frames, n_history)
    if n_missed:  # meanwhile the exchange has filled what was sent
        exchange.opens[0] = {n: f["open"].iloc[at + 1] for n, f in frames.items()}
    ran = run_allocator(frames, exchange, tapes=tapes, state=state)
    # decided once, and with the average of the process that went before
    expected = batch[batch["session"] > pd.Timestamp(dies_on)].reset_index(drop=True)
    pd.testing.assert_frame_equal(ran.decisions, expected)
    first = [row for row in exchange.sent[n_before:] if row[0] <= n_history + 1]
    assert bool(first) == (not sends or n_missed > 0)
    assert max(map(abs, shares_wanted(batch, frames, exchange).values())) < 0.03


def test_what_an_earlier_process_left_working_is_not_bought_twice(
    frames, exchange, tmp_path
):
    state = tmp_path / "state.json"
    at = N_HISTORY + 4
    sessions = frames["SPY"].index
    exchange.filled = lambda n: 0.0 if n >= 8 else 1.0
    with pytest.raises(KeyboardInterrupt):
        run_allocator(frames, exchange, Dying, state=state, dies_on=sessions[at].date())
    under_way = {o.data._name: o.executed.remsize for o in exchange.working}
    assert under_way
    n_before = len(exchange.sent)
    # one more session, without an opening: what was sent is still under way after it
    n_history = at + 1
    ends = {n: f.iloc[: n_history + 1] for n, f in frames.items()}
    tapes = {n: live_tape(f, n_history) for n, f in ends.items()}
    exchange.opens = {}
    ran = run_allocator(frames, exchange, tapes=tapes, state=state)
    target = ran.decisions.iloc[-1]
    for name, role in (("SPY", "equity"), ("TLT", "bond")):
        again = sum(size for _, n, size in exchange.sent[n_before:] if n == name)
        size = exchange.holding(name).size + under_way.get(name, 0.0) + again
        worth = {n: ends[n]["close"].iloc[-1] for n in ("SPY", "TLT")}
        value = exchange.cash + sum(exchange.holding(n).size * worth[n] for n in worth)
        assert size * worth[name] / value == pytest.approx(
            target[f"target_{role}"], abs=0.02
        )


def test_a_process_that_dies_while_it_sends_does_not_send_again(
    frames, exchange, tmp_path
):
    state = tmp_path / "state.json"
    with pytest.raises(KeyboardInterrupt):
        run_allocator(frames, exchange, state=state, broker={"dies_at": 3})
    assert {tick for tick, *_ in exchange.sent} == {N_HISTORY, bar_tick(N_HISTORY, 80)}
    n_history = N_HISTORY + 1
    tapes = {n: live_tape(f, n_history) for n, f in frames.items()}
    exchange.opens = openings(frames, n_history)
    run_allocator(frames, exchange, tapes=tapes, state=state)
    ticks = [tick for tick, *_ in exchange.sent[3:]]
    assert min(ticks) == bar_tick(n_history, n_history)


def test_what_an_earlier_process_left_is_taken_for_dead_a_session_later(tmp_path):
    how = {"feeds": ["SPY", "TLT"], "models": ["x"]}
    first, second = Memory(), Memory()
    first.open(tmp_path / "state.json", **how)
    first.decided_on, first.recent = 737425.0, deque([np.array([0.1, 0.9])])
    first.save([Working("equity", 100, 20), Working("bond", -5, 5)])
    second.open(tmp_path / "state.json", **how)
    assert second.recent[0].tolist() == [0.1, 0.9]
    left = []
    for session in (737425.0, 737426.0, 737427.0):
        second.note_session(session)
        left.append(
            [second.still_to_come(*held) for held in (("equity", 60), ("bond", 5))]
        )
    assert left == [[60, -5], [60, -5], [0, 0]]


def test_a_state_of_another_model_or_feed_is_refused(frames, exchange, tmp_path):
    state = tmp_path / "state.json"
    run_allocator(frames, exchange, state=state)
    kept = state.read_text()
    with pytest.raises(CheckpointError, match=r"models that decide now .*FixedMix"):
        run_store(tapes_of(frames), exchange, FixedMix, state=state)
    others = {"SPY": "QQQ", "TLT": "TLT", "VIX": "VIX"}
    tapes = {others[name]: due for name, due in tapes_of(frames).items()}
    with (
        pytest.warns(UserWarning, match="QQQ"),
        pytest.raises(CheckpointError, match=r"of the feeds \['QQQ', 'TLT'\]"),
    ):
        run_allocator(frames, exchange, tapes=tapes, state=state, equity="QQQ")
    assert state.read_text() == kept


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "the file: Invalid JSON"),
        ("{}", "feeds: Field required"),
        ('{"version": 2, "feeds": [], "models": []}', "version: Input should be 1"),
    ],
)
def test_a_file_that_is_no_state_is_refused(frames, exchange, tmp_path, text, rule):
    state = tmp_path / "state.json"
    state.write_text(text)
    with pytest.raises(ConfigError, match=rule) as caught:
        run_allocator(frames, exchange, state=state)
    assert "\n" not in str(caught.value)
    assert state.read_text() == text


def test_a_state_that_cannot_be_written_is_refused_at_the_start(
    frames, exchange, tmp_path
):
    with pytest.raises(ConfigError, match="`state` "):
        run_allocator(frames, exchange, state=tmp_path)
    assert not exchange.sent


def test_a_status_of_a_run_that_has_ended_sends_nothing(frames, exchange):
    ran = run_allocator(frames, exchange)
    assert ran._trm._note_status not in ran.cerebro.datacbs
    assert LOST != LIVE
