"""The broker of a backtest: shares in parts, and no more messages than needed."""

from typing import Final

import backtrader as bt

from trm_bt.feeds._typing import Broker

FINAL_STATES: Final = (
    bt.Order.Completed,
    bt.Order.Canceled,
    bt.Order.Expired,
    bt.Order.Margin,
    bt.Order.Rejected,
)
"""States after which nothing happens to an order any more."""


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
