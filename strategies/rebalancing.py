"""The execution that every strategy here shares: weights in, audited orders out.

Weights decided at the close of session t are traded at the open of t + 1. In a plain
Cerebro the orders are sized from the close of t, and buys are cut to what cash pays for
if both assets gap against us by `max_gap`; the rest is bought on the next bar. With
``Cerebro(cheat_on_open=True)`` they are sized from that open itself, so the weights are
exact at the fill after costs, while the decision still knows nothing after t. With
``broker.set_coc(True)`` both happen at the close of t.
"""

import logging
import math
from typing import ClassVar, Final

import backtrader as bt
import pandas as pd

from trm_bt.errors import ConfigError
from trm_bt.feeds._typing import Feed
from trm_bt.feeds.roles import feeds_by_name, find_roles
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.strategies.broker import FINAL_STATES, slippage_of
from trm_bt.strategies.ledger import ASSETS, WEIGHT_COLUMNS, Ledger
from trm_bt.strategies.schedule import DueSessions
from trm_bt.strategies.sessions import SharedSessions
from trm_bt.strategies.sizing import affordable_share, drift, target_values

MIN_DRIFT: Final = 1e-8
"""Weights nearer to their targets than this are left alone: it is round-off."""
_FILLING: Final = (bt.Order.Partial, bt.Order.Completed)
_REFUSED: Final = (bt.Order.Margin, bt.Order.Rejected)
_SENT: Final = "order %d: %s %g of %s sent"
_ENDED: Final = "order %d: %s, %g of %s at %g"
_LOG = logging.getLogger(__name__)


class RebalancingStrategy(bt.Strategy):
    """Hold equity, bond and cash at the weights that `target_weights` returns.

    A subclass decides in `target_weights` and leaves the trading to this class. Feeds
    of no role are left alone: their bars neither delay nor trigger anything. Cash earns
    the yield of a feed named cash_rate (annual, decimal, in `close`), if there is one:
    cash held from session t - 1 to t earns rate[t - 1] / 252, credited before the
    orders of t are sized.

    An order that is still working at the next bar is cancelled and what is left of it
    sized anew; one that the broker refuses is logged, counted and tried again on the
    next bar. With live feeds a session that one of them lacks, or has without a price,
    is held through: nothing is decided or traded, and `halts` lists it.

    Params
    ------
    equity, bond : str or None
        Feed names; None finds SPY and TLT by name, else by order.
    rebalance_band : float
        Weights may drift this far from their targets before anything is traded.
    min_trade_value : float
        Trades worth less than this, in quote currency, are not made.
    max_gap : float
        Opening gap against us that buys must survive in a plain Cerebro.
    schedule : str, callable, mapping or Timer
        Closes whose decision is traded; between them what is held drifts. "bar",
        "weekly", "monthly", "change" (when other weights are decided), or as
        `trm_bt.strategies.schedule.DueSessions` takes it. Decisions are taken at each
        close all the same; the weights in force are those of the last due one.
    decide_from : Timestamp, str or None
        First session on which to decide; before it no cash accrues and nothing is
        logged. None decides as soon as there is something to decide on.

    Raises
    ------
    BarsError
        If a feed is missing, daily feeds stamp a date with different times of day, or
        feeds that are not live stand on different sessions or lack a value.
    ConfigError
        If `target_weights` returns what are no shares of a portfolio.
    """

    params: tuple[tuple[str, object], ...] = (
        ("equity", None),
        ("bond", None),
        ("rebalance_band", 0.0),
        ("min_trade_value", 0.0),
        ("max_gap", 0.08),
        ("schedule", "bar"),
        ("decide_from", None),
    )
    roles: ClassVar[tuple[str, ...]] = ASSETS

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = find_roles(
            self.datas, {role: getattr(self.p, role) for role in self.roles}
        )
        self._rate = feeds_by_name(self.datas).get("cash_rate")
        if self._rate is not None:
            self._feeds["cash_rate"] = self._rate
        self._assets = [self._feeds[name] for name in ASSETS]
        self._targets: tuple[float, float] | None = None
        self._decided_on = self._credit = 0.0
        self._must_trade = self._is_due = False
        self.n_submitted = 0
        self._open_orders: dict[int, tuple[float, str, bt.Order]] = {}
        self._opens: dict[int, float] = {}
        self._ledger = Ledger()
        first = self.p.decide_from
        self._decide_from = 0 if first is None else pd.Timestamp(first).toordinal()

    def target_weights(self) -> tuple[float, float] | None:
        """Return the weights of equity and bond, decided at the current close.

        None keeps the weights decided before. What is left of 1 is held in cash.
        """
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Return whether `target_weights` may be called at the current close.

        Where it may not, the weights decided before are kept and traded.
        """
        return True

    def needed_values(self) -> dict[str, tuple[str, ...]]:
        """Return the lines that are read, by role; each bar must have them."""
        rate = {} if self._rate is None else {"cash_rate": ("close",)}
        return {**dict.fromkeys(ASSETS, ("open", "close")), **rate}

    def start(self) -> None:
        """Compare calendars where whole feeds are known, and learn what trades cost."""
        self._sessions = SharedSessions(self._feeds, self.needed_values())
        roles = {id(feed) for feed in self._feeds.values()}
        self._awaited = [
            (feed, n_bars)
            for feed, n_bars in zip(self.datas, self._minperiods, strict=True)
            if n_bars > 1 or id(feed) in roles
        ]
        self._costs = [self.broker.getcommissioninfo(feed) for feed in self._assets]
        self._is_whole = [cost.getsize(2.0, 1.0) == 0 for cost in self._costs]
        self._is_at_open = bool(
            self.cerebro.p.cheat_on_open and self.cerebro.p.broker_coo
        )
        self._ledger.credits_first = self._is_at_open
        is_coc = bool(getattr(self.broker.p, "coc", False))
        is_at_close = is_coc and not self._is_at_open
        self._ledger.fills_at_close = is_at_close
        self._gap = 0.0 if self._is_at_open or is_at_close else float(self.p.max_gap)
        self._due = DueSessions(self.p.schedule, self._assets[0])

    def prenext(self) -> None:
        """Account for the close; go on if only feeds of no role are not there yet."""
        if all(len(feed) >= n_bars for feed, n_bars in self._awaited):
            self.next()
        elif self._sessions.has_new():
            self._account()

    def next(self) -> None:
        """Decide at the close; in a plain Cerebro send the orders for the next open."""
        if not self._sessions.has_new() or not self._account():
            return
        self._decide()
        if not self._is_at_open:
            # a negative credit is taken after the fills: keep the cash for it
            cash = self.broker.getcash() + min(self._credit, 0.0)
            self._rebalance([feed.close[0] for feed in self._assets], cash)

    def prenext_open(self) -> None:
        """Go on without the feeds of no role, which may begin later."""
        self.next_open()

    def next_open(self) -> None:
        """Trade yesterday's decision at today's open, with cheat-on-open only."""
        if not self._is_at_open or self._targets is None:
            return
        if not self._sessions.has_new():
            return
        # asking for the value of one feed makes the broker book the accrued cash now
        self.broker.get_value([self._assets[0]])
        self._rebalance([feed.open[0] for feed in self._assets], self.broker.getcash())

    def notify_order(self, order: bt.Order) -> None:
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
        self._ledger.note_order(order, order.getstatusname(), decided_on, asset, open_)

    def stop(self) -> None:
        """Close the record: an order whose bar never came is unfilled."""
        if not self._sessions.is_live:
            for ref, (decided_on, asset, order) in self._open_orders.items():
                open_ = self._opens.pop(ref, math.nan)
                self._ledger.note_order(order, "Unfilled", decided_on, asset, open_)
            self._open_orders.clear()

    @property
    def orders(self) -> pd.DataFrame:
        """Every order that reached its final state, in the order of the notices.

        Columns are `ORDER_COLUMNS`; size and value are negative for sales, an order
        that was not filled has its wanted size and no price, and slippage is what the
        price was worse than the open, as a decimal. The state "Unfilled" is that of an
        order whose bar never came because the bars ended.
        """
        return self._ledger.order_table()

    @property
    def closes(self) -> pd.DataFrame:
        """Our own valuation at each close since `decide_from`.

        Columns equity, bond and cash hold values in quote currency, `broker_value` what
        the broker says, and `credit` the yield that the cash earns until the next open.
        """
        return self._ledger.close_table()

    @property
    def weights(self) -> pd.DataFrame:
        """Actual weights of equity, bond and cash at each close, our own valuation."""
        values = self.closes[list(WEIGHT_COLUMNS)]
        return values.div(values.sum(axis=1), axis=0)

    @property
    def executions(self) -> pd.DataFrame:
        """Targets against realised weights, at the fill and at the close after it.

        One row a session with fills; columns are `EXECUTION_COLUMNS`.
        """
        return self._ledger.execution_table()

    @property
    def halts(self) -> pd.DatetimeIndex:
        """Sessions of live feeds that were held through: not every feed had its bar."""
        return self._sessions.halts

    @property
    def n_rejected(self) -> int:
        """Orders that the broker did not take or could not fill; must be none."""
        names = {bt.Order.Status[state] for state in _REFUSED}
        return int(self.orders["status"].isin(names).sum())

    def _account(self) -> bool:
        """Log the close and accrue cash; return whether the deciding span has begun."""
        session = self._sessions.handle()
        if session < self._decide_from:
            return False
        (equity, bond), broker = self._assets, self.broker
        cash = broker.getcash()
        if self._rate is not None:
            self._credit = cash * self._rate.close[0] / SESSIONS_PER_YEAR
            broker.add_cash(self._credit)
        self._ledger.bars.append(
            (
                session,
                broker.getposition(equity).size,
                broker.getposition(bond).size,
                equity.open[0],
                bond.open[0],
                equity.close[0],
                bond.close[0],
                cash,
                broker.getvalue(),
                self._credit,
            )
        )
        return True

    def _decide(self) -> None:
        """Ask for weights at the current close, and log those now in force."""
        is_ready, now = self.is_ready(), self._assets[0].datetime[0]
        targets = self.target_weights() if is_ready else None
        wanted = None if targets is None else _checked(targets)
        session = pd.Timestamp.fromordinal(int(now))
        is_due = self._due.is_due(session, wanted, self._targets)
        self._is_due |= is_due
        if not is_ready:
            return
        if is_due:
            self._targets, self._decided_on = wanted or self._targets, now
        in_force = self._targets or self._held_weights()
        self._ledger.decided.append((now, *in_force))
        how = "kept" if wanted is None else "decided" if is_due else "not due, kept"
        _LOG.info("%.10s: %s equity %.3f, bond %.3f", session, how, *in_force)

    def _held_weights(self) -> tuple[float, float]:
        """Return the weights of equity and bond at the current close, as they are."""
        equity, bond = (
            self.broker.getposition(feed).size * feed.close[0] for feed in self._assets
        )
        value = self.broker.getcash() + equity + bond
        return equity / value, bond / value

    def _rebalance(self, prices: list[float], cash: float) -> None:
        """Send the orders that bring the weights to their targets at `prices`."""
        is_open = self._is_due or self._must_trade or bool(self._open_orders)
        if self._targets is None or not is_open or self._has_working_orders():
            return
        self._is_due = False
        sizes = [self.broker.getposition(feed).size for feed in self._assets]
        held = [size * price for size, price in zip(sizes, prices, strict=True)]
        value = cash + sum(held)
        is_second_try, self._must_trade = self._must_trade, False
        band = 0.0 if is_second_try else self.p.rebalance_band
        off = drift(self._targets, held, cash)
        if off <= max(band, MIN_DRIFT):
            _LOG.debug("weights are within %.4f of their targets, and held", off)
            return
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
        gaps = [self._gap + slippage_of(self.broker, price) for price in prices]
        commissions = [cost.getcommission for cost in self._costs]
        share = affordable_share(trades, prices, cash, gaps, commissions)
        self._must_trade = share < 1.0 and not is_second_try
        self._send(trades, share)

    def _has_working_orders(self) -> bool:
        """Cancel what is still working; return whether the broker has yet to do so."""
        for *_, order in self._open_orders.values():
            if order.alive():
                self.cancel(order)
        return any(order.alive() for *_, order in self._open_orders.values())

    def _in_lots(self, asset: int, size: float) -> float:
        """Round a size down to whole shares where the broker's sizes are whole."""
        return math.floor(size) if self._is_whole[asset] else size

    def _worth_making(self, trade: float, price: float) -> float:
        """Drop a trade that is too small to be made."""
        return trade if abs(trade) * price >= self.p.min_trade_value else 0.0

    def _send(self, trades: list[float], share: float) -> None:
        """Send sells, then buys: a buy is only taken once its cash is there."""
        # with cheat-on-close too, the broker would fill at a close yet to come
        how = {"coc": False} if self._is_at_open else {}
        for i in sorted(range(len(trades)), key=lambda i: trades[i]):
            size = trades[i] if trades[i] < 0 else self._in_lots(i, trades[i] * share)
            if size == 0:
                continue
            trade = self.sell if size < 0 else self.buy
            order = trade(self._assets[i], size=abs(size), **how)
            self.n_submitted += 1
            self._open_orders[order.ref] = (self._decided_on, ASSETS[i], order)
            _LOG.info(_SENT, order.ref, order.ordtypename(), abs(size), ASSETS[i])


def _checked(weights: tuple[float, float]) -> tuple[float, float]:
    """Refuse weights that are no shares of a portfolio; return them as floats."""
    equity, bond = map(float, weights)
    if not (equity >= 0 and bond >= 0 and equity + bond <= 1 + MIN_DRIFT):
        raise ConfigError(
            "`target_weights` must return shares of equity and bond, each at least 0 "
            f"and together at most 1, got {weights}."
        )
    return equity, bond
