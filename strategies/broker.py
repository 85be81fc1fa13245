"""Brokers: one for backtests, and what any broker says of positions and costs."""

import math
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Final

import backtrader as bt

from trm_bt.errors import ConfigError
from trm_bt.feeds._typing import Broker, Feed
from trm_bt.strategies.sizing import Commission

FINAL_STATES: Final = (
    bt.Order.Completed,
    bt.Order.Canceled,
    bt.Order.Expired,
    bt.Order.Margin,
    bt.Order.Rejected,
)
"""States after which nothing happens to an order any more."""
REFUSED: Final = (bt.Order.Margin, bt.Order.Rejected)
"""States of an order that the broker did not take or could not fill."""
_AT_ONCE: Final = (bt.Order.Market, bt.Order.Close)


class FractionalShares(bt.CommissionInfo):
    """Shares bought in any part, at a cost proportional to the traded value.

    Params
    ------
    commission : float
        Cost as a share of the traded value: 5 basis points are 0.0005.
    """

    def getsize(self, price: float, cash: float) -> float:
        """Return the shares that `cash` buys at `price`, not rounded."""
        return float(self.p.leverage * cash / price)


class QuietBroker(bt.brokers.BackBroker):
    """Backtrader's broker, reporting an order once it is final.

    The reports that it was submitted and accepted are two of three, and each copies the
    order; the last one need not, because nothing changes after it. Orders are held
    against the cash when they are filled, no longer when they are submitted too; one
    that cash cannot pay is refused all the same.
    """

    params = (("checksubmit", False),)

    def notify(self, order: bt.Order) -> None:
        """Report `order` if nothing will happen to it any more."""
        if order.status in FINAL_STATES:
            order.executed.markpending()
            self.notifs.append(order)


def slippage_of(broker: Broker, price: float) -> float:
    """Return how much worse than `price` a broker may fill, as a decimal."""
    params = broker.p
    if not getattr(params, "slip_open", False):
        return 0.0
    return float(params.slip_perc or params.slip_fixed / price)


def check_worth(broker: Broker, feed: Feed) -> None:
    """Refuse a commission scheme by which a share is not worth its price in cash.

    Weights are shares of what the account is worth. With leverage, a multiplier or a
    margin a position stands for more than was paid for it, and they would lie.

    Raises
    ------
    ConfigError
        If it sets leverage, a multiplier or a margin, or the feed's orders change the
        position of another one.
    """
    scheme = broker.getcommissioninfo(feed)
    size, price, later = 3.0, 7.0, 9.0
    gain = size * (later - price)
    wrong = {
        "leverage": scheme.get_leverage() != 1.0,
        "margin": not scheme.stocklike,
        "mult": not math.isclose(scheme.profitandloss(size, price, later), gain),
        "getvaluesize": not math.isclose(
            scheme.getvaluesize(size, price), size * price
        ),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            got = getattr(scheme.p, name, type(scheme).__name__)
            raise ConfigError(
                f"The commission scheme of '{feed._name}' must let a share cost its "
                f"price and be worth it, got {name}={got}. Weights are shares of "
                "fully paid positions: set neither leverage nor mult nor margin, and "
                "`stocklike=True` with a fee per share."
            )
    if feed._compensate is not None:
        raise ConfigError(
            f"The feed '{feed._name}' must hold its own position, but compensates "
            f"'{feed._compensate._name}'. Add it without `compensate`."
        )


def value_elsewhere(
    broker: Broker, datas: Sequence[Feed], assets: Sequence[Feed]
) -> float:
    """Return what positions in other feeds than `assets` are worth to the broker.

    A position is worth what it was paid with and what it gained, as in the broker's own
    sum: for futures the margin, with leverage the stake.
    """
    held = datas
    is_own = isinstance(broker, bt.brokers.BackBroker)
    if is_own:  # asking it for a position would make one
        if len(broker.positions) <= len(assets):
            return 0.0
        held = list(broker.positions)
    ids = {id(feed) for feed in assets}
    others = [feed for feed in held if id(feed) not in ids and len(feed)]
    return sum(value_in(broker, feed) for feed in others)


def value_in(broker: Broker, feed: Feed) -> float:
    """Return what the broker says that the position in a feed is worth."""
    if isinstance(broker, bt.brokers.BackBroker) and feed not in broker.positions:
        return 0.0  # asking for it would make one
    position, price = broker.getposition(feed), feed.close[0]
    if not position.size:
        return 0.0
    scheme = broker.getcommissioninfo(feed)
    if not getattr(broker.p, "shortcash", True):
        return abs(float(scheme.getvalue(position, price)))
    value = float(scheme.getvaluesize(position.size, price))
    leverage = scheme.get_leverage()
    if value > 0 and leverage != 1.0:
        gain = scheme.profitandloss(position.size, position.price, price)
        value = (value - gain) / leverage + gain
    return value


def size_under_way(broker: Broker, feed: Feed, own: Container[int]) -> float:
    """Return the shares that others have ordered at the market, negative for sales.

    Parameters
    ----------
    broker : Broker
        Where they were ordered; one of a store's does not tell.
    feed : data feed
        What was ordered.
    own : container of int
        Numbers of the orders that do not count.
    """
    if not isinstance(broker, bt.brokers.BackBroker):
        return 0.0
    if not (broker.submitted or broker.pending):
        return 0.0
    return sum(
        float(order.executed.remsize)
        for order in chain(broker.submitted, broker.pending)
        if order.data is feed and order.exectype in _AT_ONCE and order.ref not in own
    )


def cost_under_way(
    broker: Broker, assets: Sequence[Feed], line: str, gap: float
) -> float:
    """Return what the purchases cost that are ordered at the market in other feeds.

    At the price in `line`, the last that is known, and dearer by `gap`, as a decimal.
    """
    if not isinstance(broker, bt.brokers.BackBroker):
        return 0.0
    cost, ids = 0.0, {id(feed) for feed in assets}
    for order in chain(broker.submitted, broker.pending):
        is_other = id(order.data) not in ids and order.exectype in _AT_ONCE
        if is_other and order.isbuy() and len(order.data):
            price = getattr(order.data.lines, line)[0] * (1.0 + gap)
            size, scheme = order.executed.remsize, broker.getcommissioninfo(order.data)
            paid = scheme.getoperationcost(size, price)
            paid += scheme.getcommission(size, price)
            cost += 0.0 if math.isnan(paid) else paid  # the feed has no price now
    return cost


def would_go_short(broker: Broker, feed: Feed) -> bool:
    """Tell whether the sales ordered at the market are more than what is held."""
    orders = [order for order in broker.pending if order.data is feed]
    sold = sum(
        float(order.executed.remsize)
        for order in orders
        if order.exectype in _AT_ONCE and not order.isbuy()
    )
    return bool(sold and broker.getposition(feed).size + sold < 0)


def weights_held(broker: Broker, assets: Sequence[Feed]) -> tuple[float, float]:
    """Return the weights of equity and bond at the current close, as they are."""
    equity, bond = (broker.getposition(feed).size * feed.close[0] for feed in assets)
    value = broker.getcash() + equity + bond
    return equity / value, bond / value


def let_go(broker: Broker, order: bt.Order) -> None:
    """Drop the empty list of children that a broker keeps for a final order."""
    if isinstance(broker, bt.brokers.BackBroker):
        children = broker._pchildren
        if order.ref in children and not children[order.ref]:
            del children[order.ref]


def sale_costs(schemes: Sequence[bt.CommInfoBase]) -> list[Commission]:
    """Return what a sale costs, from its size as a positive number and its price.

    Backtrader gives a scheme the sizes of sales as negative numbers, by which some
    charge a stamp duty on one side only.
    """
    return [partial(_of_sale, scheme) for scheme in schemes]


def _of_sale(scheme: bt.CommInfoBase, size: float, price: float) -> float:
    return float(scheme.getcommission(-size, price))


def close_of_order(order: bt.Order) -> float:
    """Return the close that an order was sent on, its price with cheat-on-close."""
    return float(order.created.pclose)


def open_of_fill(order: bt.Order) -> float:
    """Return the open of the bar that was filled on, NaN if it is yet to come."""
    feed, fills = order.data, order.executed.exbits
    is_early = bool(fills) and fills[-1].dt // 1 > feed.datetime[0] // 1
    return math.nan if is_early else float(feed.open[0])


def may_charge(broker: Broker, datas: Sequence[Feed]) -> bool:
    """Tell whether the broker charges interest on positions, before it fills orders."""
    return isinstance(broker, bt.brokers.BackBroker) and any(
        scheme.p.interest
        or type(scheme)._get_credit_interest is not _PLAIN._get_credit_interest
        or type(scheme).get_credit_interest is not _PLAIN.get_credit_interest
        for scheme in map(broker.getcommissioninfo, datas)
    )


_PLAIN: Final = bt.CommInfoBase


def charges_until(broker: Broker, when: datetime) -> float:
    """Return the interest on positions that is charged up to a date."""
    return sum(
        float(broker.getcommissioninfo(feed).get_credit_interest(feed, position, when))
        for feed, position in broker.positions.items()
        if position
    )


def before_fills(broker: Broker, look: Callable[[], None]) -> Callable[[], None]:
    """Call `look` each time before a broker fills orders; return what ends that."""
    run = broker.next

    def looked_at() -> None:
        look()
        run()

    broker.next = looked_at
    return lambda: setattr(broker, "next", run)
