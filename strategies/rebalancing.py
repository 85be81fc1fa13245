"""The execution that every strategy here shares: weights in, audited orders out.

Weights decided at the close of session t are traded at the open of t + 1. In a plain
Cerebro the orders are sized from the close of t, and buys are cut to what cash pays for
if both assets gap against us by `max_gap`; the rest is bought on the next bar. With
``Cerebro(cheat_on_open=True)`` they are sized from that open itself, so the weights are
exact at the fill after costs, while the decision still knows nothing after t.
"""

from typing import Any, ClassVar, Final

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.feeds.backtrader import sessions_of
from trm_bt.feeds.calendars import check_current_bar, check_preloaded
from trm_bt.feeds.roles import feeds_by_name, find_roles
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.strategies.broker import FINAL_STATES
from trm_bt.strategies.sizing import drift, share_to_buy, target_values

ASSETS: Final = ("equity", "bond")
ORDER_COLUMNS: Final = (
    "decided_on",
    "filled_on",
    "asset",
    "size",
    "price",
    "value",
    "commission",
    "status",
)
MIN_DRIFT: Final = 1e-8
"""Weights nearer to their targets than this are left alone: it is round-off."""


class RebalancingStrategy(bt.Strategy):
    """Hold equity, bond and cash at the weights that `target_weights` returns.

    Cash earns the yield of a feed named cash_rate (annual, decimal, in `close`), if
    there is one: cash held from session t - 1 to t earns rate[t - 1] / 252, credited
    before the orders of t are sized.

    Params
    ------
    equity, bond : str or None
        Feed names; None finds SPY and TLT by name, else by order.
    rebalance_band : float
        Weights may drift this far from their targets before anything is traded.
    max_gap : float
        Opening gap against us that buys must survive in a plain Cerebro.
    decide_from : Timestamp, str or None
        First session on which to decide; before it no cash accrues and nothing is
        logged. None decides as soon as there is something to decide on.

    Raises
    ------
    BarsError
        If a feed is missing, or the feeds stand on different sessions.
    """

    params: tuple[tuple[str, object], ...] = (
        ("equity", None),
        ("bond", None),
        ("rebalance_band", 0.0),
        ("max_gap", 0.1),
        ("decide_from", None),
    )
    roles: ClassVar[tuple[str, ...]] = ASSETS

    def __init__(self) -> None:
        self._feeds: dict[str, Any] = find_roles(
            self.datas, {role: getattr(self.p, role) for role in self.roles}
        )
        self._rate = feeds_by_name(self.datas).get("cash_rate")
        if self._rate is not None:
            self._feeds["cash_rate"] = self._rate
        self._assets = [self._feeds[name] for name in ASSETS]
        self._targets: tuple[float, float] | None = None
        self._decided_on = 0.0
        self._credit = 0.0
        self._is_finishing = False
        self.n_submitted = 0
        self._open_orders: dict[int, tuple[float, str]] = {}
        self._order_log: list[tuple[Any, ...]] = []
        self._closes: list[tuple[float, ...]] = []
        first = self.p.decide_from
        self._decide_from = 0 if first is None else pd.Timestamp(first).toordinal()

    def target_weights(self) -> tuple[float, float] | None:
        """Return the weights of equity and bond, decided at the current close.

        None keeps the weights decided before.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Compare calendars where whole feeds are known, and learn what trades cost."""
        self._is_preloaded = any(feed.buflen() for feed in self._feeds.values())
        if self._is_preloaded:
            check_preloaded(self._feeds)
        self._costs = [self.broker.getcommissioninfo(feed) for feed in self._assets]
        self._is_whole = [cost.getsize(2.0, 1.0) == 0 for cost in self._costs]
        self._is_at_open = bool(
            self.cerebro.p.cheat_on_open and self.cerebro.p.broker_coo
        )

    def prenext(self) -> None:
        """Account for a close on which there is nothing to decide on yet."""
        self._account()

    def next(self) -> None:
        """Decide at the close; in a plain Cerebro send the orders for the next open."""
        if not self._account():
            return
        targets = self.target_weights()
        if targets is not None:
            self._targets = targets
        self._decided_on = self._assets[0].datetime[0]
        if not self._is_at_open:
            prices = [feed.close[0] for feed in self._assets]
            # a negative credit is taken after the fills: keep the cash for it
            cash = self.broker.getcash() + min(self._credit, 0.0)
            self._rebalance(prices, cash, self.p.max_gap)

    def next_open(self) -> None:
        """Trade yesterday's decision at today's open, with cheat-on-open only."""
        if not self._is_at_open or self._targets is None:
            return
        if not self._is_preloaded:
            check_current_bar(self._feeds)
        # asking for the value of one feed makes the broker book the accrued cash now
        self.broker.get_value([self._assets[0]])
        prices = [feed.open[0] for feed in self._assets]
        self._rebalance(prices, self.broker.getcash(), 0.0)

    def notify_order(self, order: bt.Order) -> None:
        """Record an order once it has reached its final state."""
        if order.status not in FINAL_STATES:
            return
        opened = self._open_orders.pop(order.ref, None)
        if opened is None:
            return
        done, wanted = order.executed, order.created.size
        is_filled = bool(done.size)
        self._order_log.append(
            (
                opened[0],
                done.dt if is_filled else np.nan,
                opened[1],
                done.size if is_filled else wanted,
                done.price if is_filled else np.nan,
                done.size * done.price if is_filled else np.nan,
                done.comm,
                order.getstatusname(),
            )
        )

    @property
    def orders(self) -> pd.DataFrame:
        """Every order that reached its final state, in the order of the notices.

        Columns are `ORDER_COLUMNS`; size and value are negative for sales, and an order
        that was not filled has its wanted size and no price.
        """
        frame = pd.DataFrame(self._order_log, columns=list(ORDER_COLUMNS))
        for name in ("decided_on", "filled_on"):
            frame[name] = sessions_of(frame[name].to_numpy(np.float64))
        return frame

    @property
    def closes(self) -> pd.DataFrame:
        """Our own valuation at each close since `decide_from`.

        Columns equity, bond and cash hold values in quote currency, `broker_value` what
        the broker says, and `credit` the yield that the cash earns until the next open.
        """
        columns = ["session", "equity", "bond", "cash", "broker_value", "credit"]
        frame = pd.DataFrame(self._closes, columns=columns, dtype=np.float64)
        return frame.set_index(sessions_of(frame.pop("session").to_numpy()))

    @property
    def weights(self) -> pd.DataFrame:
        """Actual weights of equity, bond and cash at each close, our own valuation."""
        values = self.closes[[*ASSETS, "cash"]]
        return values.div(values.sum(axis=1), axis=0)

    @property
    def n_rejected(self) -> int:
        """Orders that the broker did not take or could not fill; must be none."""
        return sum(order[-1] in ("Margin", "Rejected") for order in self._order_log)

    def _account(self) -> bool:
        """Log the close and accrue cash; tell whether the deciding span has begun."""
        if not self._is_preloaded:
            check_current_bar(self._feeds)
        session = self._assets[0].datetime[0]
        if session < self._decide_from:
            return False
        broker = self.broker
        cash = broker.getcash()
        if self._rate is not None:
            self._credit = cash * self._rate.close[0] / SESSIONS_PER_YEAR
            broker.add_cash(self._credit)
        equity, bond = (
            broker.getposition(feed).size * feed.close[0] for feed in self._assets
        )
        self._closes.append(
            (session, equity, bond, cash, broker.getvalue(), self._credit)
        )
        return True

    def _rebalance(self, prices: list[float], cash: float, gap: float) -> None:
        """Send the orders that bring the weights to their targets at `prices`."""
        if self._targets is None or self._open_orders:
            return
        sizes = [self.broker.getposition(feed).size for feed in self._assets]
        held = [size * price for size, price in zip(sizes, prices, strict=True)]
        band = 0.0 if self._is_finishing else self.p.rebalance_band
        if drift(self._targets, held, cash) <= max(band, MIN_DRIFT):
            return
        rates = [
            cost.getcommission(1.0, price) / price
            for cost, price in zip(self._costs, prices, strict=True)
        ]
        wanted = target_values(self._targets, held, cash, rates)
        trades = [
            self._in_lots(i, value / price) - size
            for i, (value, price, size) in enumerate(
                zip(wanted, prices, sizes, strict=True)
            )
        ]
        share = self._share_to_buy(trades, prices, cash, gap)
        self._is_finishing = share < 1.0 and not self._is_finishing
        self._send(trades, share)

    def _in_lots(self, asset: int, size: float) -> float:
        """Round a size down to whole shares where the broker's sizes are whole."""
        return float(np.floor(size)) if self._is_whole[asset] else size

    def _share_to_buy(
        self, trades: list[float], prices: list[float], cash: float, gap: float
    ) -> float:
        """Return the share of the buys that cash pays for if prices gap against us."""
        need, available = 0.0, cash
        for trade, price, cost in zip(trades, prices, self._costs, strict=True):
            paid = price * (1.0 + gap if trade > 0 else 1.0 - gap)
            commission = cost.getcommission(abs(trade), paid)
            if trade > 0:
                need += trade * paid + commission
            else:
                available += -trade * paid - commission
        return share_to_buy(need, available)

    def _send(self, trades: list[float], share: float) -> None:
        """Send sells, then buys: a buy is only taken once its cash is there."""
        for i in sorted(range(len(trades)), key=lambda i: trades[i]):
            size = trades[i] if trades[i] < 0 else self._in_lots(i, trades[i] * share)
            if size == 0:
                continue
            trade = self.sell if size < 0 else self.buy
            order = trade(self._assets[i], size=abs(size))
            self.n_submitted += 1
            self._open_orders[order.ref] = (self._decided_on, ASSETS[i])
