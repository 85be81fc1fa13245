"""Show what the convention of the fill alone does to one signal's result.

One random signal, all in equity or all in bonds at each close, is traded by the engine
at the next open, at the same close and at the next close; and beside it a strategy
that hardly trades. No convention is wrong about the market, but only one can be the
reader's.
    python -m tests.evidence.conventions [folder with SPY, TLT and VIX files, or sample]
"""

import sys
from dataclasses import replace

import backtrader as bt
import numpy as np

from trm_bt import FixedMix, load_bars
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.broker import FractionalShares
from trm_bt.strategies.rebalancing import RebalancingStrategy

CASH = 1_000_000.0


class CoinToss(RebalancingStrategy):
    """Be all in equity or all in bonds, by the toss of a coin at each close."""

    params = (("seed", 0),)

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng(self.p.seed)

    def target_weights(self) -> tuple[float, float]:
        """Toss the coin."""
        return (1.0, 0.0) if self._rng.integers(0, 2) else (0.0, 1.0)


def run(bars: Bars, strategy: type, *, fill: str, cost: float) -> float:
    """Return the final value in millions."""
    if fill == "next close":  # what is filled at the open is filled at the close
        frames = {role: getattr(bars, role) for role in ("equity", "bond")}
        moved = {
            role: frame.assign(open=frame["close"]) for role, frame in frames.items()
        }
        bars = replace(bars, **moved)
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=fill != "same close")
    cerebro.broker.set_cash(CASH)
    cerebro.broker.set_coc(fill == "same close")
    cerebro.broker.addcommissioninfo(FractionalShares(commission=cost))
    add_bars(cerebro, bars, roles=("equity", "bond", "cash_rate"))
    cerebro.addstrategy(strategy)
    (ran,) = cerebro.run()
    assert ran.n_rejected == 0
    return float(cerebro.broker.getvalue()) / 1e6


def main() -> None:
    """Print a row a convention."""
    bars = load_bars(sys.argv[1] if len(sys.argv) > 1 else "sample")
    print(f"{bars.sessions[0].date()} to {bars.sessions[-1].date()}: {bars.source}")
    print(f"{'filled at':14}{'coin, no costs':>16}{'coin, 0.05%':>14}{'60/40':>10}")
    for fill in ("next open", "same close", "next close"):
        values = [
            run(bars, strategy, fill=fill, cost=cost)
            for strategy, cost in ((CoinToss, 0.0), (CoinToss, 5e-4), (FixedMix, 5e-4))
        ]
        print(f"{fill:14}{values[0]:14.3f} M{values[1]:12.3f} M{values[2]:8.3f} M")


if __name__ == "__main__":
    main()
