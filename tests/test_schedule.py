"""When decisions are traded: each bar, by a calendar, on change, or as a user says."""

import re
from types import SimpleNamespace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.fakes import FakePolicy
from tests.test_rebalancing import Scripted, five_bars, gapping_bars, run
from trm_bt.backtest import run_backtest
from trm_bt.config import BacktestConfig
from trm_bt.errors import ConfigError
from trm_bt.report.templating import fill
from trm_bt.runfolder.schedules import ScheduleRecord
from trm_bt.strategies.schedule import SCHEDULES, traded_rows
from trm_bt.strategies.trm_allocator import TRMAllocator

N_SESSIONS = 130


@pytest.fixture(scope="module")
def bars():
    return make_bars(N_SESSIONS, 5)


@pytest.fixture(scope="module")
def script():
    """Weights that change at every third close, after two in cash."""
    rng = np.random.default_rng(2)
    drawn = rng.dirichlet(np.ones(3), N_SESSIONS)[:, :2]
    rows = [tuple(map(float, drawn[i - i % 3])) for i in range(N_SESSIONS)]
    return [(0.0, 0.0), (0.0, 0.0), *rows[2:]]


def due_closes(sessions, script, schedule):
    """Derive by hand the closes whose decision is traded, as a list of positions."""
    due, in_force = [], None
    for i, session in enumerate(sessions):
        before = sessions[i - 1] if i else None
        is_new = {
            "bar": True,
            "weekly": before is not None and session.week != before.week,
            "monthly": before is not None and session.month != before.month,
            "change": script[i] != in_force,
        }[schedule]
        has_bought = any(any(script[j]) for j in due)
        if is_new or not has_bought:
            due.append(i)
            in_force = script[i]
    return due


def simulated(bars, script, due, cost=0.001):
    """Trade the due decisions at the next open in plain numbers; value each close."""
    cash, shares, values = 1000.0, np.zeros(2), [1000.0]
    frames = (bars.equity, bars.bond)
    opens = np.column_stack([frame["open"] for frame in frames])
    closes = np.column_stack([frame["close"] for frame in frames])
    rate = bars.cash_rate.to_numpy()
    for t in range(1, len(opens)):
        cash *= 1 + rate[t - 1] / 252
        if t - 1 in due:
            wanted, held = np.array(script[t - 1]), shares * opens[t]
            left = value = cash + held.sum()
            for _ in range(200):  # the value after costs, by repetition
                left = value - cost * np.abs(wanted * left - held).sum()
            trades = wanted * left - held
            cash -= trades.sum() + cost * np.abs(trades).sum()
            shares = wanted * left / opens[t]
        values.append(cash + shares @ closes[t])
    return np.array(values)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_only_due_decisions_are_traded_and_the_rest_drifts(bars, script, schedule):
    ran = run(bars, Scripted, coo=True, cost=0.001, script=script, schedule=schedule)
    due = due_closes(bars.sessions, script, schedule)
    traded = pd.DatetimeIndex(ran.orders["decided_on"].unique())
    # what is due in cash, and at the last close, has no order
    expected = bars.sessions[[i for i in due if 2 <= i < N_SESSIONS - 1]]
    assert traded.tolist() == expected.tolist()
    np.testing.assert_allclose(
        ran.closes["broker_value"], simulated(bars, script, due), rtol=1e-8
    )
    assert (ran.executions["fill_gap"] < 1e-8).all()


@pytest.mark.parametrize("schedule", ["weekly", "monthly", "change"])
def test_the_weights_in_force_are_those_of_the_last_due_close(bars, script, schedule):
    ran = run_backtest(
        bars,
        TRMAllocator,
        params={"policy": FakePolicy.reading(bars), "schedule": schedule},
        config=BacktestConfig(initial_cash=1000.0),
    )
    each = run_backtest(
        bars, TRMAllocator, params={"policy": FakePolicy.reading(bars)}
    ).decisions
    columns = ["target_equity", "target_bond"]
    wanted = [tuple(row) for row in each[columns].to_numpy().tolist()]
    sessions = pd.DatetimeIndex(each["session"])
    due = due_closes(sessions, wanted, schedule)
    expected = [wanted[max(d for d in due if d <= i)] for i in range(len(wanted))]
    found = ran.decisions[columns].to_numpy()
    np.testing.assert_array_equal(found, expected)
    assert ran.decisions["allocation"].equals(each["allocation"])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_vectorised_rows_are_those_of_the_engine(bars, script, schedule):
    targets = np.array(script)[:, np.newaxis]
    found = np.flatnonzero(traded_rows(bars.sessions, targets, schedule)[:, 0])
    assert found.tolist() == due_closes(bars.sessions, script, schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_band_and_minimum_trade_hold_on_due_closes_too(bars, script, schedule):
    free = run(bars, Scripted, coo=True, script=script, schedule=schedule)
    kept = run(
        bars, Scripted, coo=True, script=script, schedule=schedule, rebalance_band=0.3
    )
    large = run(
        bars, Scripted, coo=True, script=script, schedule=schedule, min_trade_value=200
    )
    allowed = set(free.orders["decided_on"])
    assert 0 < len(kept.orders) < len(free.orders)
    assert set(kept.orders["decided_on"]) < allowed
    assert (large.orders["value"].abs() >= 200 * 0.999).all()
    assert set(large.orders["decided_on"]) <= allowed


def test_a_refused_order_is_tried_again_though_no_close_is_due():
    bars = five_bars(open_=[10, 10, 20, 10, 10], close=[10, 10, 10, 10, 10])
    script = [None, (0.9, 0.0), *[None] * 3]
    ran = run(bars, Scripted, coo=False, script=script, schedule="change", max_gap=0)
    assert ran.orders["status"].tolist() == ["Margin", "Completed"]
    assert ran.orders["decided_on"].nunique() == 1
    assert ran.executions["fill_equity"].iloc[-1] == pytest.approx(0.9)


def test_what_a_plain_cerebro_could_not_pay_for_is_bought_a_bar_later():
    bars = gapping_bars(40, 0.05)
    script = [(1.0, 0.0)] * 40
    ran = run(bars, Scripted, coo=False, script=script, schedule="monthly")
    first = ran.orders.head(2)
    assert first["filled_on"].tolist() == bars.sessions[[1, 2]].tolist()
    assert ran.weights["equity"].iloc[1] < 0.98
    assert ran.weights["equity"].iloc[2] > 0.99


class Probe(bt.Strategy):
    """Note the days on which a timer of Backtrader's own fires."""

    params = (("timer", None),)

    def __init__(self):
        self.fired = []
        self.add_timer(**self.p.timer)

    def notify_timer(self, timer, when, *args, **kwargs):
        self.fired.append(self.data.datetime.date(0))


@pytest.mark.parametrize(
    "timer",
    [
        {"monthdays": [10, 20]},
        {"weekdays": [3], "weekcarry": True},
        {"monthdays": [1], "monthcarry": True, "allow": lambda day: day.month != 4},
    ],
    ids=["days", "week", "allow"],
)
@pytest.mark.parametrize("form", ["mapping", "instance"])
def test_a_timer_is_due_in_the_sessions_in_which_backtrader_fires_it(bars, timer, form):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars.equity))
    cerebro.addstrategy(Probe, timer={"when": bt.timer.SESSION_START, **timer})
    fired = cerebro.run()[0].fired
    schedule = timer
    if form == "instance":
        schedule = bt.timer.Timer(when=bt.timer.SESSION_START, **timer)
    script = [(0.5, 0.2)] * N_SESSIONS
    ran = run(bars, Scripted, coo=True, script=script, schedule=schedule)
    traded = sorted({day.date() for day in ran.orders["decided_on"]})
    expected = sorted({bars.sessions[0].date(), *fired})
    assert traded == [day for day in expected if day < bars.sessions[-1].date()]
    assert len(traded) > 3


def test_a_timer_at_the_end_of_the_session_fires_on_daily_bars(bars):
    script = [(0.5, 0.2)] * N_SESSIONS
    schedule = {"when": bt.timer.SESSION_END, "weekdays": [5]}
    ran = run(bars, Scripted, coo=True, script=script, schedule=schedule)
    days = ran.orders["decided_on"].drop_duplicates().iloc[1:]
    assert set(days.dt.day_of_week) == {4}
    assert len(days) > 20


def test_a_callable_is_asked_about_each_session(bars):
    asked = []

    def schedule(session):
        asked.append(session)
        return session.day == 15

    script = [(0.5, 0.2)] * N_SESSIONS
    ran = run(bars, Scripted, coo=True, script=script, schedule=schedule)
    assert asked == bars.sessions.tolist()
    days = ran.orders["decided_on"].drop_duplicates()
    assert set(days.iloc[1:].dt.day) == {15}
    assert days.iloc[0] == bars.sessions[0]


def test_a_rule_that_decides_once_a_month_trades_once_a_month_on_change(bars):
    """None keeps the weights; with this schedule, what is held too."""
    months = bars.sessions.month
    rng = np.random.default_rng(0)
    script = [
        tuple(rng.dirichlet(np.ones(3))[:2].tolist())
        if i == 0 or months[i] != months[i - 1]
        else None
        for i in range(N_SESSIONS)
    ]
    ran = run(bars, Scripted, coo=True, script=script, schedule="change")
    n_months = sum(row is not None for row in script)
    assert ran.orders["decided_on"].nunique() == n_months


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("yearly", r"`schedule` must be one of bar, weekly, .* got 'yearly'"),
        (None, "got None"),
        ({"wen": 1}, r"arguments of Backtrader's `add_timer`, got 'wen'"),
    ],
)
def test_another_schedule_is_refused(bars, schedule, message):
    with pytest.raises(ConfigError, match=message):
        run(bars, Scripted, coo=True, script=[None] * N_SESSIONS, schedule=schedule)


def test_the_page_shows_turnover_and_cost_by_schedule():
    figures = {"sharpe": 0.5, "max_drawdown": -0.1, "orders": 12, "trading_sessions": 6}
    rows = {
        name: ScheduleRecord(
            total_return=0.2, turnover_annual=t, costs_annual=t / 1000, **figures
        )
        for name, t in zip(SCHEDULES, (3.0, 2.0, 1.0, None), strict=False)
        if t is not None
    }
    summary = SimpleNamespace(schedules=rows, schedule="weekly")
    page = SimpleNamespace(folder=SimpleNamespace(summary=summary))
    shown = re.sub(r"\s+", " ", str(fill("schedules", page)))
    row = r'<tr class="trm"><td>Weekly</td><td>200[^<]*%</td><td>0.20[^<]*%</td>'
    assert re.search(row, shown)
    assert shown.count("<tr") == 1 + len(rows)
    summary.schedules = {}
    assert str(fill("schedules", page)).strip() == ""  # a run of an earlier version
