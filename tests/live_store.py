"""A store with its feeds and its broker, over Backtrader's interfaces, run by a clock.

What a feed says and when, and what the exchange does with an order, is written down
beforehand. The exchange outlives a run, as a real one does.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import backtrader as bt
import pandas as pd

DELAYED, LIVE, LOST = (
    getattr(bt.feed.DataBase, name) for name in ("DELAYED", "LIVE", "CONNBROKEN")
)
PERIOD = 8
"""Ticks from one live session to the next; its open is before its bar."""
OPEN = 4


class ClockedFeed(bt.feed.DataBase):
    """Say and give what is due by the clock of the store; `due` is (tick, event)."""

    params = (("due", ()),)

    def islive(self):
        return True

    def haslivedata(self):
        return bool(self._due)

    def start(self):
        super().start()
        self._due = deque(self.p.due)
        self._store.start(data=self)

    def _load(self):
        while self._due and self._due[0][0] <= self._store.tick:
            _, event = self._due.popleft()
            if isinstance(event, int):
                self.put_notification(event)
                continue
            session, bar = event
            self.lines.datetime[0] = bt.date2num(session)
            for name in ("open", "high", "low", "close"):
                getattr(self.lines, name)[0] = bar[name]
            self.lines.volume[0] = bar.get("volume", 0.0)
            return True
        return None if self._due else False


class ClockedStore(bt.Store):
    """Count a tick each time that Cerebro asks for news, once a loop."""

    DataCls = ClockedFeed

    def start(self, data=None, broker=None):
        if not self._started:
            self.tick = -1
        super().start(data=data, broker=broker)

    def get_notifications(self):
        self.tick += 1
        return super().get_notifications()


@dataclass
class Exchange:
    """What is held and ordered, whichever process runs.

    Parameters
    ----------
    opens : dict of int to dict of str to float
        Prices at an opening, by tick and feed.
    filled : callable
        From the number of a fill to the share of the rest that it fills.
    """

    opens: dict
    filled: object = lambda n: 1.0
    cash: float = 1e6
    held: dict = field(default_factory=dict)
    working: list = field(default_factory=list)
    sent: list = field(default_factory=list)
    n_fills: int = 0

    def holding(self, name):
        return self.held.setdefault(name, bt.Position())


class ClockedBroker(bt.BrokerBase):
    """Fill at openings, in part if so told; confirm what is cancelled a tick later."""

    def __init__(
        self, store, exchange, *, n_reports=1, confirms=True, lag=0, dies_at=None
    ):
        super().__init__()
        self.store, self.exchange = store, exchange
        self._n_reports, self._confirms, self._lag = n_reports, confirms, lag
        self._shown, self._dies_at = {}, dies_at
        self.startingcash = exchange.cash
        self.notifs, self._to_cancel, self._seen = deque(), [], -1

    def getcash(self):
        return self.exchange.cash

    def getvalue(self, datas=None):
        worth = (self.getposition(d).size * d.close[0] for d in self._datas if len(d))
        return self.exchange.cash + sum(worth)

    def start(self):
        super().start()
        self._datas = []

    def data_started(self, data):
        self._datas.append(data)

    def getposition(self, data, clone=True):
        """Show a position as it is, or as it was until `lag` ticks have gone by."""
        position = self.exchange.holding(data._name)
        changed_at, before = self._shown.get(data._name, (-math.inf, 0))
        if self.store.tick - changed_at < self._lag:
            return bt.Position(before, position.price)
        return position

    def get_notification(self):
        return self.notifs.popleft() if self.notifs else None

    def _notify(self, order):
        self.notifs.extend(order.clone() for _ in range(self._n_reports))

    def _send(self, kind, owner, data, size, **how):
        how = {key: how.get(key) for key in ("price", "exectype", "valid", "tradeid")}
        order = kind(owner=owner, data=data, size=size, simulated=False, **how)
        order.addcomminfo(self.getcommissioninfo(data))
        order.submit(self)
        self._notify(order)
        order.accept(self)
        self._notify(order)
        self.exchange.working.append(order)
        self.exchange.sent.append((self.store.tick, data._name, order.size))
        if len(self.exchange.sent) == self._dies_at:
            raise KeyboardInterrupt
        return order

    def buy(self, owner, data, size, **how):
        return self._send(bt.order.BuyOrder, owner, data, size, **how)

    def sell(self, owner, data, size, **how):
        return self._send(bt.order.SellOrder, owner, data, size, **how)

    def cancel(self, order):
        self._to_cancel.append(order)

    def next(self):
        for tick in range(self._seen + 1, self.store.tick + 1):
            for order in [*self.exchange.working]:
                price = self.exchange.opens.get(tick, {}).get(order.data._name)
                if price is not None:
                    self._fill(order, price)
        self._seen = self.store.tick
        for order in self._to_cancel:
            if order in self.exchange.working and self._confirms:
                self.exchange.working.remove(order)
                order.cancel()
                self._notify(order)
        self._to_cancel = []

    def _fill(self, order, price):
        exchange = self.exchange
        rest = order.executed.remsize
        share = exchange.filled(exchange.n_fills)
        exchange.n_fills += 1
        size = rest if share == 1 else math.trunc(rest * share)
        if not size:
            return
        position = exchange.holding(order.data._name)
        self._shown[order.data._name] = self.store.tick, position.size
        psize, pprice, opened, closed = position.update(size, price)
        exchange.cash -= size * price
        value = [part * price for part in (closed, opened)]
        dt = order.data.datetime[0] + 1
        order.execute(
            dt,
            size,
            price,
            closed,
            value[0],
            0,
            opened,
            value[1],
            0,
            0,
            0,
            psize,
            pprice,
        )
        if order.executed.remsize:
            order.partial()
        else:
            order.completed()
            exchange.working.remove(order)
        self._notify(order)


def bar_tick(n_history, i):
    """Return the tick at which the bar of session `i` comes, and LIVE before it."""
    return i if i < n_history else n_history + 2 + PERIOD * (i - n_history + 1)


def live_tape(frame, n_history, *, live_at=0, late=0, first=0, lost=None):
    """Return what a feed gives: history, LIVE, and a bar per session.

    Parameters
    ----------
    live_at, late : int
        Ticks by which LIVE, and each live bar, come later.
    first : int
        First session that is given.
    lost : (int, int) or None
        Sessions from and up to which nothing comes; then all of it at once, delayed.
    """
    due = [(0, DELAYED)]
    rows = [(session, dict(row)) for session, row in frame.iterrows()]
    for i in range(first, len(rows)):
        tick = bar_tick(n_history, i) + (late if i >= n_history else 0)
        if i == n_history:
            due.append((n_history + live_at, LIVE))
        if lost and i == lost[0]:
            due.append((tick - PERIOD + 2, LOST))
            back = bar_tick(n_history, lost[1]) + late
        if lost and lost[0] <= i < lost[1]:
            if i == lost[0]:
                due.append((back - PERIOD + 2, DELAYED))
            tick = back - PERIOD + 2
        if lost and i == lost[1]:
            due.append((back - 1, LIVE))
        due.append((tick, rows[i]))
    if len(rows) == n_history:
        due.append((n_history + live_at, LIVE))
    return [*due, (due[-1][0] + 2 * PERIOD, LIVE)]


def openings(frames, n_history):
    """Return the opens by tick: those of live sessions, a while before their bars."""
    sessions = next(iter(frames.values())).index
    return {
        bar_tick(n_history, i) - OPEN: {
            name: frame["open"].iloc[i] for name, frame in frames.items()
        }
        for i in range(n_history, len(sessions))
    }


def run_store(tapes, exchange, strategy, *, broker=None, **params):
    """Run a strategy on a new store, over an exchange that may know earlier runs."""
    ClockedStore._singleton = None
    store = ClockedStore()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.addstore(store)
    broker = ClockedBroker(store, exchange, **(broker or {}))
    store.start(broker=broker)
    cerebro.setbroker(broker)
    for name, due in tapes.items():
        cerebro.adddata(store.getdata(dataname=name, due=due), name=name)
    cerebro.addstrategy(strategy, **params)
    return cerebro.run()[0]


def sent_table(exchange):
    return pd.DataFrame(exchange.sent, columns=["tick", "name", "size"])
