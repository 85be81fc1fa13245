"""What a rebalancing strategy knows and does, in one object of its own.

Somebody's subclass may use any name, and override any method of Backtrader's: none of
them reaches what is kept here.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import backtrader as bt
import pandas as pd

from trm_bt.feeds._typing import Feed
from trm_bt.feeds.backtrader import first_day
from trm_bt.feeds.values import Needs
from trm_bt.strategies.broker import (
    FINAL_STATES,
    REFUSED,
    before_fills,
    charges_until,
    check_worth,
    close_of_order,
    cost_under_way,
    let_go,
    may_charge,
    open_of_fill,
    sale_costs,
    size_under_way,
    slippage_of,
    value_elsewhere,
    weights_held,
    would_go_short,
)
from trm_bt.strategies.interest import CashFlows, Interest
from trm_bt.strategies.ledger import ASSETS, Ledger
from trm_bt.strategies.memory import Memory, Sent, Working
from trm_bt.strategies.schedule import DueSessions
from trm_bt.strategies.sessions import SharedSessions
from trm_bt.strategies.sizing import (
    MIN_DRIFT,
    checked_weights,
    cost_rates_of,
    drift,
    payable_share,
    target_values,
    worth_making,
)

if TYPE_CHECKING:
    from trm_bt.strategies.rebalancing import RebalancingStrategy

_FILLING: Final = (bt.Order.Partial, bt.Order.Completed)
_LONGEST_NIGHT: Final = timedelta(days=5)
"""A broker's interest on positions is kept in cash over a weekend with holidays."""
_SENT: Final = "order %d: %s %g of %s sent"
_ENDED: Final = "order %d: %s, %g of %s at %g"
_LOG = logging.getLogger(__name__)


class Execution:
    """Account for each session, and turn weights into orders.

    Parameters
    ----------
    strategy : RebalancingStrategy
        Who decides, and in whose name orders are sent.
    feeds : mapping of str to data feed
        Feeds by role, equity first.
    needs : mapping of str to sequence of str
        Lines that must have a value, by role.

    Attributes
    ----------
    ledger : Ledger
        Bars, decisions and orders.
    n_submitted : int
        Orders sent.
    session : float
        Date number of the newest session that every feed has given.
    memory : Memory
        What was decided and sent, kept across restarts.
    """

    def __init__(
        self, strategy: "RebalancingStrategy", feeds: Mapping[str, Feed], needs: Needs
    ) -> None:
        self._strategy, self.feeds, self._needs = strategy, feeds, needs
        self.assets = [feeds[name] for name in ASSETS]
        self.ledger = Ledger()
        self.n_submitted = 0
        self.memory = Memory()
        self._due_on = self._credit = self.session = 0.0
        self._may_decide = self._may_trade = self._has_begun = False
        self._open_orders: dict[int, Sent] = {}
        self._unguard: Callable[[], object] = object
        self._opens: dict[int, float] = {}
        self._held_after: dict[int, float] = {}
        self._ended: set[int] = set()
        self._decide_from = first_day("decide_from", strategy.p.decide_from)
        self._trade_from = max(
            self._decide_from, first_day("trade_from", strategy.p.trade_from)
        )

    def start(self) -> None:
        """Compare calendars where whole feeds are known, and learn what trades cost."""
        strategy = self._strategy
        self._broker = broker = strategy.broker
        self.sessions = SharedSessions(self.feeds, self._needs)
        self._due = DueSessions(strategy.p.schedule, self.assets[0])
        for feed in self.assets:
            check_worth(broker, feed)
        rate = self.feeds.get("cash_rate")
        self._interest = None if rate is None else Interest(broker, rate)
        self._is_charged = may_charge(broker, strategy.datas)
        self._flows = CashFlows(broker)
        self._is_logged = _LOG.isEnabledFor(logging.INFO)
        schemes = [broker.getcommissioninfo(feed) for feed in self.assets]
        costs = [scheme.getcommission for scheme in schemes]
        self._commissions = costs, sale_costs(schemes)
        self._is_whole = [scheme.getsize(2.0, 1.0) == 0 for scheme in schemes]
        cerebro = strategy.cerebro
        is_early = cerebro.p.cheat_on_open and cerebro.p.broker_coo
        self._is_at_open = bool(is_early and not cerebro.p.oldsync)  # no `next_open`
        self.ledger.credits_first = self._is_at_open
        is_coc = bool(getattr(broker.p, "coc", False))
        self.ledger.fills_at_close = is_at_close = is_coc and not self._is_at_open
        self._fill_reference = close_of_order if is_at_close else open_of_fill
        is_free = self._is_at_open or is_at_close
        self._gap = 0.0 if is_free else float(strategy.p.max_gap)
        if len(cerebro.runningstrats) > 1 and hasattr(broker, "check_submitted"):
            self._unguard = before_fills(broker, self._guard)
        self._restore()
        if self.sessions.is_live:
            cerebro.adddatacb(self._note_status)

    def close_session(self) -> None:
        """Account for the close, if every feed has it, before anything is decided."""
        self._may_decide = False
        self._may_trade = self._may_trade and self.sessions.is_live
        if not self.sessions.has_new():
            return
        self.session = session = self.sessions.handle()
        self._held_after.clear()
        self.memory.note_session(session)
        self._may_decide = session >= self._decide_from
        self._has_begun = session >= self._trade_from
        self._may_trade = False
        if self._has_begun and self.sessions.is_current():
            # before LIVE the account is not the one of that close
            if self.sessions.may_trade():
                self._account(session)
            self._may_trade = not self._is_at_open

    def decide(self) -> None:
        """Ask for weights at the current close, once, and log those now in force."""
        kind = type(self._strategy)
        if not self._may_decide:
            return
        self._may_decide = False
        self._strategy._trm_weigh()
        memory, is_ready = self.memory, kind.is_ready(self._strategy)
        targets = kind.target_weights(self._strategy) if is_ready else None
        wanted = None if targets is None else checked_weights(targets)
        session = pd.Timestamp.fromordinal(int(self.session))
        is_due = self._due.is_due(session, wanted, memory.targets)
        memory.is_traded &= not is_due
        if not is_ready:
            return
        if is_due:
            memory.targets, self._due_on = wanted or memory.targets, self.session
        memory.decided_on = self.session
        in_force = memory.targets or weights_held(self._broker, self.assets)
        self.ledger.decided.extend((self.session, *in_force))
        if self._is_logged:
            how = "kept" if wanted is None else ("not due, kept", "decided")[is_due]
            _LOG.info("%.10s: %s equity %.3f, bond %.3f", session, how, *in_force)
        self._save()

    def trade_at_close(self) -> None:
        """Send orders for the next open, after all that was asked for on this bar."""
        if not self._may_trade or not self.sessions.may_trade():
            return
        if self._has_working_orders():
            return
        self._may_trade = False
        # a negative credit is taken after the fills: keep the cash for it
        cash = self._broker.getcash() + min(self._credit, 0.0)
        if self._is_charged:
            night_ends = self.assets[0].datetime.datetime(0) + _LONGEST_NIGHT
            cash -= charges_until(self._broker, night_ends)
        self._rebalance([feed.close[0] for feed in self.assets], cash)

    def trade_at_open(self) -> None:
        """Trade yesterday's decision at today's open, with cheat-on-open only."""
        is_open = self._is_at_open and self._has_begun and self.memory.targets
        if not is_open or not self.sessions.has_new() or self._has_working_orders():
            return
        if not (self.sessions.is_current() and self.sessions.may_trade()):
            return
        # asking for the value of one feed makes the broker book the accrued cash now
        self._broker.getvalue([self.assets[0]])
        cash = self._broker.getcash()
        if self._is_charged:
            cash -= charges_until(self._broker, self.assets[0].datetime.datetime(0))
        self._rebalance([feed.open[0] for feed in self.assets], cash)

    def note(self, order: bt.Order) -> None:
        """Note the open that an order is filled at; record it in its final state."""
        if order.status in _FILLING and order.ref in self._open_orders:
            self._opens[order.ref] = self._fill_reference(order)
        if order.status not in FINAL_STATES:
            return
        sent = self._open_orders.pop(order.ref, None)
        if sent is None:  # reported once more
            return
        self._ended.add(order.ref)
        let_go(self._broker, order)
        memory = self.memory
        if order.status in REFUSED:
            memory.must_trade = True
            _LOG.warning("%s: order %d refused", order.data._name, order.ref)
        self._record(order, order.getstatusname(), sent)
        # what is left of a scheduled trade does not wait for the next due close
        memory.is_traded &= order.status == bt.Order.Completed
        if self.sessions.is_live:
            before = sent.working.held_before
            self._held_after[sent.asset] = before + order.executed.size
            self._save()
            self._resume()

    def of_others(self, orders: list[bt.Order]) -> list[bt.Order]:
        """Return the orders that are not ours; ours are in the ledger, or will be."""
        own = self._ended | self._open_orders.keys()
        self._ended.clear()
        return [order for order in orders if order.ref not in own]

    def stop(self) -> None:
        """Close the record: an order whose bar never came is unfilled."""
        self.sessions.log_halts()
        self._save(at_end=True)
        self._unguard()
        if self.sessions.is_live:
            self._strategy.cerebro.datacbs.remove(self._note_status)
            return
        for sent in self._open_orders.values():
            self._record(sent.order, "Unfilled", sent)
        self._open_orders.clear()

    def _record(self, order: bt.Order, status: str, sent: Sent) -> None:
        open_ = self._opens.pop(order.ref, math.nan)
        asset, done = ASSETS[sent.asset], order.executed
        if self._is_logged:
            _LOG.info(_ENDED, order.ref, status, done.size, asset, done.price)
        self.ledger.note_order(order, status, sent.decided_on, asset, open_)

    def _note_status(self, feed: Feed, status: int, *_: object, **__: object) -> None:
        """Take a notice of a feed's state; trade what waits when all are LIVE."""
        running = self._strategy.cerebro.runningstrats
        if not any(one is self._strategy for one in running):
            return  # of an earlier run, that did not end
        says = "sent" if self.sessions.may_trade() else "held back"
        name = feed._getstatusname(status)
        _LOG.info("%s is %s: orders are %s", feed._name, name, says)
        self._resume()

    def _resume(self) -> None:
        """Trade between two bars what waited for LIVE, or for orders to end."""
        is_settled = all(
            math.isclose(self._broker.getposition(self.assets[asset]).size, size)
            for asset, size in self._held_after.items()
        )
        if self._may_trade and is_settled and self.sessions.is_current():
            self.trade_at_close()

    def _restore(self) -> None:
        """Go on from what an earlier process kept: decide and trade only later bars."""
        strategy, memory = self._strategy, self.memory
        if strategy.p.state is None:
            return
        names = [str(feed._name) for feed in self.assets]
        memory.open(strategy.p.state, feeds=names, models=strategy._trm_models())
        if memory.restored_on:
            last = pd.Timestamp.fromordinal(memory.restored_on)
            self._due.is_due(last, memory.targets, memory.targets)
            self._due_on = memory.decided_on
        self._decide_from = max(self._decide_from, memory.restored_on + 1)
        not_before = memory.restored_on + memory.is_traded
        self._trade_from = max(self._trade_from, not_before)

    def _save(self, planned: Sequence[Working] = (), *, at_end: bool = False) -> None:
        """Keep what was decided, and sent; what is history is decided again."""
        is_of_now = self.sessions.is_live and self.sessions.may_trade()
        if self._strategy.p.state is not None and (at_end or is_of_now):
            under_way = [sent.working for sent in self._open_orders.values()]
            self.memory.save([*under_way, *planned])

    def _guard(self) -> None:
        """Look at the orders of all strategies before the broker fills them.

        What another one sells after we have ordered a sale may be more than is left.
        """
        if self._open_orders and self._broker.p.checksubmit:
            self._broker.check_submitted()
        shorts = (would_go_short(self._broker, feed) for feed in self.assets)
        if self._open_orders and any(shorts):
            self._has_working_orders()
            self.memory.must_trade = True

    def _account(self, session: float) -> None:
        """Log the close, and accrue cash."""
        broker = self._broker
        cash, flow = broker.getcash(), self._flows.since_last(session)
        if self._interest is not None:
            self._credit = self._interest.credit(session, cash)
        held = [broker.getposition(feed).size for feed in self.assets]
        elsewhere = value_elsewhere(broker, self._strategy.datas, self.assets)
        prices = [feed.open[0] for feed in self.assets]
        prices += [feed.close[0] for feed in self.assets]
        of_account = cash, elsewhere, broker.getvalue(), self._credit, flow
        self.ledger.bars.extend((session, *held, *prices, *of_account))

    def _rebalance(self, prices: list[float], cash: float) -> None:
        """Send the orders that bring the weights to their targets at `prices`."""
        memory = self.memory
        is_open = not memory.is_traded or memory.must_trade or bool(self._open_orders)
        if memory.targets is None or not is_open:
            return
        memory.is_traded = True
        sizes = []
        for i, (feed, price) in enumerate(zip(self.assets, prices, strict=True)):
            others = size_under_way(self._broker, feed, self._open_orders)
            held = self._broker.getposition(feed).size
            others += memory.still_to_come(ASSETS[i], held)
            sizes.append(held + others)
            cash -= others * price
        line = "open" if self._is_at_open else "close"
        cash -= cost_under_way(self._broker, self.assets, line, self._gap)
        values = [size * price for size, price in zip(sizes, prices, strict=True)]
        value = cash + sum(values)
        if value <= 0:
            return
        params = self._strategy.p
        is_second_try, memory.must_trade = memory.must_trade, False
        band = 0.0 if is_second_try else params.rebalance_band
        off = drift(memory.targets, values, cash)
        if off <= max(band, MIN_DRIFT):
            _LOG.debug("weights are within %.4f of their targets, and held", off)
            return
        rates = [cost_rates_of(costs, prices, value) for costs in self._commissions]
        wanted = target_values(memory.targets, values, cash, *rates)
        least = params.min_trade_value
        trades = [
            worth_making(self._in_lots(i, worth / price) - size, price, least)
            for i, (worth, price, size) in enumerate(
                zip(wanted, prices, sizes, strict=True)
            )
        ]
        gaps = [self._gap + slippage_of(self._broker, price) for price in prices]
        share = payable_share(trades, prices, cash, gaps, *self._commissions)
        memory.must_trade = share < 1.0 and not is_second_try
        self._send(trades, share)

    def _has_working_orders(self) -> bool:
        """Cancel what is still working; return whether the broker has yet to do so."""
        orders = [sent.order for sent in self._open_orders.values()]
        for order in filter(bt.Order.alive, orders):
            self._broker.cancel(order)
        return any(order.alive() for order in orders)

    def _in_lots(self, asset: int, size: float) -> float:
        """Round a size down to whole shares where the broker's sizes are whole."""
        return math.floor(size) if self._is_whole[asset] else size

    def _send(self, trades: list[float], share: float) -> None:
        """Send sells, then buys: a buy is only taken once its cash is there."""
        # with cheat-on-close too, the broker would fill at a close yet to come
        how = {"coc": False} if self._is_at_open else {}
        sizes = {
            i: trades[i] if trades[i] < 0 else self._in_lots(i, trades[i] * share)
            for i in sorted(range(len(trades)), key=lambda i: trades[i])
        }
        planned = {
            i: Working(ASSETS[i], size, self._broker.getposition(self.assets[i]).size)
            for i, size in sizes.items()
            if size != 0
        }
        # before they are sent: a process that dies must not send them twice
        self._save([*planned.values()])
        for i, working in planned.items():
            trade = bt.Strategy.sell if working.size < 0 else bt.Strategy.buy
            order = trade(self._strategy, self.assets[i], size=abs(working.size), **how)
            self.n_submitted += 1
            sent = Sent(self._due_on, i, order, working)
            self._open_orders[order.ref] = sent
            if self._is_logged:
                size, side = abs(working.size), order.ordtypename()
                _LOG.info(_SENT, order.ref, side, size, ASSETS[i])
