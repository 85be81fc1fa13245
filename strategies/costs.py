"""What trading costs, and shares that can be bought in parts."""

import backtrader as bt


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
