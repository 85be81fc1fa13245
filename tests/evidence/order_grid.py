"""Send hard switches every bar through both ways of execution; count what is refused.

Both ways, whole and fractional shares, 0, 5 and 50 basis points of cost, over the whole
of the bars; each cell is one run of a random switch a bar, all in one asset half of the
time. Ends with exit code 1 if any order was rejected.
    python -m tests.evidence.order_grid [folder with SPY, TLT and VIX files, or sample]
"""

import itertools
import sys

import backtrader as bt
import numpy as np

from trm_bt import load_bars
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.broker import FractionalShares
from trm_bt.strategies.rebalancing import RebalancingStrategy

MIXES = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.2, 0.5), (0.0, 0.0))
CASH = 1e12
"""So much that whole shares are still worth trading after years of costs."""


class Switching(RebalancingStrategy):
    """Draw another mix at each close."""

    params = (("seed", 0),)

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng(self.p.seed)

    def target_weights(self) -> tuple[float, float]:
        """Return one of five mixes."""
        return MIXES[self._rng.integers(0, len(MIXES))]


def run(bars: Bars, *, is_at_open: bool, is_whole: bool, cost: float) -> Switching:
    """Run one cell of the grid."""
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=is_at_open)
    cerebro.broker.set_cash(CASH)
    scheme = bt.CommissionInfo if is_whole else FractionalShares
    cerebro.broker.addcommissioninfo(scheme(commission=cost))
    add_bars(cerebro, bars, roles=("equity", "bond", "cash_rate"))
    cerebro.addstrategy(Switching)
    (ran,) = cerebro.run()
    return ran


def main() -> int:
    """Print a row a cell; return how the process ends."""
    bars = load_bars(sys.argv[1] if len(sys.argv) > 1 else "sample")
    print(f"{bars.sessions[0].date()} to {bars.sessions[-1].date()}: {bars.source}")
    print(f"{'':10}{'shares':12}{'cost':>8}{'sent':>8}{'rejected':>10}{'fill gap':>10}")
    n_rejected = 0
    cells = itertools.product((True, False), (False, True), (0.0, 0.0005, 0.005))
    for is_at_open, is_whole, cost in cells:
        ran = run(bars, is_at_open=is_at_open, is_whole=is_whole, cost=cost)
        n_rejected += ran.n_rejected
        print(
            f"{'at open' if is_at_open else 'plain':10}"
            f"{'whole' if is_whole else 'fractional':12}{cost:8.2%}"
            f"{ran.n_submitted:8}{ran.n_rejected:10}"
            f"{ran.executions['fill_gap'].median():10.2%}"
        )
    return int(n_rejected > 0)


if __name__ == "__main__":
    sys.exit(main())
