"""What a rebalancing strategy knows and does, in one object of its own.

Somebody's subclass may use any name, and override any method of Backtrader's: none of
them reaches what is kept here.
"""

import logging
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import backtrader as bt
import pandas as pd

from trm_bt.errors import ConfigError
from trm_bt.feeds._typing import Feed
from trm_bt.feeds.backtrader import first_day
from trm_bt.feeds.values import Needs
from trm_bt.strategies.broker import (
    FINAL_STATES,
    charges_until,
    check_worth,
    may_charge,
    size_under_way,
    slippage_of,
    value_elsewhere,
    would_go_short,
)
from trm_bt.strategies.interest import Interest, fund_shares
from trm_bt.strategies.ledger import ASSETS, Ledger
from trm_bt.strategies.schedule import DueSessions
from trm_bt.strategies.sessions import SharedSessions
from trm_bt.strategies.sizing import drift, payable_share, target_values

if TYPE_CHECKING:
    from trm_bt.strategies.rebalancing import RebalancingStrategy

MIN_DRIFT: Final = 1e-8
"""Weights nearer to their targets than this are left alone: it is round-off."""
_FILLING: Final = (bt.Order.Partial, bt.Order.Completed)
_REFUSED: Final = (bt.Order.Margin, bt.Order.Rejected)
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
    """

    def __init__(
        self, strategy: "RebalancingStrategy", feeds: Mapping[str, Feed], needs: Needs
    ) -> None:
        self._strategy, self.feeds, self._needs = strategy, feeds, needs
        self.assets = [feeds[name] for name in ASSETS]
        self.ledger = Ledger()
        self.n_submitted = 0
        self._targets: tuple[float, float] | None = None
        self._decided_on = self._credit = 0.0
        self._must_trade = self._is_due = False
        self._may_decide = self._may_trade = self._has_begun = False
        self._open_orders: dict[int, tuple[float, str, bt.Order]] = {}
        self._unguarded: Callable[[], None] | None = None
        self._opens: dict[int, float] = {}
        params = strategy.p
        self._decide_from = first_day("decide_from", params.decide_from)
        self._trade_from = max(
            self._decide_from, first_day("trade_from", params.trade_from)
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
        self._fund = math.nan, math.nan
        self._costs = [broker.getcommissioninfo(feed) for feed in self.assets]
        self._is_whole = [cost.getsize(2.0, 1.0) == 0 for cost in self._costs]
        cerebro = strategy.cerebro
        self._is_at_open = bool(cerebro.p.cheat_on_open and cerebro.p.broker_coo)
        self.ledger.credits_first = self._is_at_open
        is_coc = bool(getattr(broker.p, "coc", False))
        is_at_close = is_coc and not self._is_at_open
        self.ledger.fills_at_close = is_at_close
        is_free = self._is_at_open or is_at_close
        self._gap = 0.0 if is_free else float(strategy.p.max_gap)
        if len(cerebro.runningstrats) > 1 and hasattr(broker, "check_submitted"):
            self._guard()

    def close_session(self) -> None:
        """Account for the close, if every feed has it, before anything is decided."""
        self._may_decide = self._may_trade = False
        if not self.sessions.has_new():
            return
        session = self.sessions.handle()
        self._may_decide = session >= self._decide_from
        self._has_begun = session >= self._trade_from
        if self._has_begun:
            self._account(session)
            self._may_trade = not self._is_at_open

    def decide(self) -> None:
        """Ask for weights at the current close, once, and log those now in force."""
        kind = type(self._strategy)
        if not self._may_decide:
            return
        self._may_decide = False
        is_ready, now = kind.is_ready(self._strategy), self.assets[0].datetime[0]
        targets = kind.target_weights(self._strategy) if is_ready else None
        wanted = None if targets is None else _checked(targets)
        session = pd.Timestamp.fromordinal(int(now))
        is_due = self._due.is_due(session, wanted, self._targets)
        self._is_due |= is_due
        if not is_ready:
            return
        if is_due:
            self._targets, self._decided_on = wanted or self._targets, now
        in_force = self._targets or self._held_weights()
        self.ledger.decided.append((now, *in_force))
        how = "kept" if wanted is None else "decided" if is_due else "not due, kept"
        _LOG.info("%.10s: %s equity %.3f, bond %.3f", session, how, *in_force)

    def trade_at_close(self) -> None:
        """Send orders for the next open, after all that was asked for on this bar."""
        if not self._may_trade:
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
        is_open = self._is_at_open and self._has_begun and self._targets is not None
        if not is_open or not self.sessions.has_new():
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
            self._opens[order.ref] = order.data.open[0]
        if order.status not in FINAL_STATES:
            return
        opened = self._open_orders.pop(order.ref, None)
        if opened is None:
            return
        if order.status in _REFUSED:
            self._must_trade = True
            _LOG.warning("%s: order %d refused", order.data._name, order.ref)
        decided_on, asset, _ = opened
        done = order.executed
        _LOG.info(
            _ENDED, order.ref, order.getstatusname(), done.size, asset, done.price
        )
        open_ = self._opens.pop(order.ref, math.nan)
        self.ledger.note_order(order, order.getstatusname(), decided_on, asset, open_)

    def stop(self) -> None:
        """Close the record: an order whose bar never came is unfilled."""
        self.sessions.log_halts()
        if self._unguarded is not None:
            self._broker.next = self._unguarded
        if not self.sessions.is_live:
            for ref, (decided_on, asset, order) in self._open_orders.items():
                open_ = self._opens.pop(ref, math.nan)
                self.ledger.note_order(order, "Unfilled", decided_on, asset, open_)
            self._open_orders.clear()

    def _guard(self) -> None:
        """Look at the orders of all strategies before the broker fills them.

        What another one sells after we have ordered a sale may be more than is left.
        """
        broker, run = self._broker, self._broker.next

        def guarded() -> None:
            if self._open_orders and broker.p.checksubmit:
                broker.check_submitted()
            if self._open_orders and any(
                would_go_short(broker, feed) for feed in self.assets
            ):
                self._has_working_orders()
                self._must_trade = True
            run()

        self._unguarded, broker.next = run, guarded

    @property
    def n_rejected(self) -> int:
        """Orders that the broker did not take or could not fill."""
        names = {bt.Order.Status[state] for state in _REFUSED}
        return int(self.ledger.order_table()["status"].isin(names).sum())

    def _account(self, session: float) -> None:
        """Log the close, and accrue cash."""
        (equity, bond), broker = self.assets, self._broker
        cash = broker.getcash()
        flow = self._flow(session)
        if self._interest is not None:
            self._credit = self._interest.credit(session, cash)
        self.ledger.bars.append(
            (
                session,
                broker.getposition(equity).size,
                broker.getposition(bond).size,
                equity.open[0],
                bond.open[0],
                equity.close[0],
                bond.close[0],
                cash,
                value_elsewhere(broker, self._strategy.datas, self.assets),
                broker.getvalue(),
                self._credit,
                flow,
            )
        )

    def _flow(self, session: float) -> float:
        """Return what was paid in, or out, since the close before."""
        before, value = self._fund
        shares = fund_shares(self._broker, session)
        self._fund = shares, float(self._broker.get_fundvalue())
        if math.isnan(before) or math.isclose(shares, before, rel_tol=1e-9):
            return 0.0
        return (shares - before) * value

    def _held_weights(self) -> tuple[float, float]:
        """Return the weights of equity and bond at the current close, as they are."""
        equity, bond = (
            self._broker.getposition(feed).size * feed.close[0] for feed in self.assets
        )
        value = self._broker.getcash() + equity + bond
        return equity / value, bond / value

    def _rebalance(self, prices: list[float], cash: float) -> None:
        """Send the orders that bring the weights to their targets at `prices`."""
        is_open = self._is_due or self._must_trade or bool(self._open_orders)
        if self._targets is None or not is_open or self._has_working_orders():
            return
        self._is_due = False
        sizes = []
        for feed, price in zip(self.assets, prices, strict=True):
            others = size_under_way(self._broker, feed, self._open_orders)
            sizes.append(self._broker.getposition(feed).size + others)
            cash -= others * price
        held = [size * price for size, price in zip(sizes, prices, strict=True)]
        if cash + sum(held) <= 0:
            return
        params = self._strategy.p
        is_second_try, self._must_trade = self._must_trade, False
        band = 0.0 if is_second_try else params.rebalance_band
        off = drift(self._targets, held, cash)
        if off <= max(band, MIN_DRIFT):
            _LOG.debug("weights are within %.4f of their targets, and held", off)
            return
        value = cash + sum(held)
        # of a large trade: a minimum fee would look like the rate of one share
        rates = [
            cost.getcommission(value / price, price) / value
            for cost, price in zip(self._costs, prices, strict=True)
        ]
        wanted = target_values(self._targets, held, cash, rates)
        trades = [
            self._worth_making(self._in_lots(i, worth / price) - size, price)
            for i, (worth, price, size) in enumerate(
                zip(wanted, prices, sizes, strict=True)
            )
        ]
        gaps = [self._gap + slippage_of(self._broker, price) for price in prices]
        commissions = [cost.getcommission for cost in self._costs]
        share = payable_share(trades, prices, cash, gaps, commissions)
        self._must_trade = share < 1.0 and not is_second_try
        self._send(trades, share)

    def _has_working_orders(self) -> bool:
        """Cancel what is still working; return whether the broker has yet to do so."""
        for *_, order in self._open_orders.values():
            if order.alive():
                self._broker.cancel(order)
        return any(order.alive() for *_, order in self._open_orders.values())

    def _in_lots(self, asset: int, size: float) -> float:
        """Round a size down to whole shares where the broker's sizes are whole."""
        return math.floor(size) if self._is_whole[asset] else size

    def _worth_making(self, trade: float, price: float) -> float:
        """Drop a trade that is too small to be made."""
        least = self._strategy.p.min_trade_value
        return trade if abs(trade) * price >= least else 0.0

    def _send(self, trades: list[float], share: float) -> None:
        """Send sells, then buys: a buy is only taken once its cash is there."""
        # with cheat-on-close too, the broker would fill at a close yet to come
        how = {"coc": False} if self._is_at_open else {}
        for i in sorted(range(len(trades)), key=lambda i: trades[i]):
            size = trades[i] if trades[i] < 0 else self._in_lots(i, trades[i] * share)
            if size == 0:
                continue
            trade = bt.Strategy.sell if size < 0 else bt.Strategy.buy
            order = trade(self._strategy, self.assets[i], size=abs(size), **how)
            self.n_submitted += 1
            self._open_orders[order.ref] = (self._decided_on, ASSETS[i], order)
            _LOG.info(_SENT, order.ref, order.ordtypename(), abs(size), ASSETS[i])


def _checked(weights: object) -> tuple[float, float]:
    """Refuse what are no shares of a portfolio; return them as floats."""
    pair: tuple[float, ...] = ()
    if not isinstance(weights, Mapping | str):
        try:
            pair = tuple(map(float, weights))  # type: ignore[call-overload] # refused next
        except (TypeError, ValueError):
            pair = ()
    if len(pair) != len(ASSETS):
        raise ConfigError(
            "`target_weights` must return two numbers, the shares of equity and bond, "
            f"or None to keep what was decided, got {weights!r}."
        )
    equity, bond = pair
    if not (equity >= 0 and bond >= 0 and equity + bond <= 1 + MIN_DRIFT):
        raise ConfigError(
            "`target_weights` must return shares of equity and bond, each at least 0 "
            f"and together at most 1, got {weights}."
        )
    return equity, bond
