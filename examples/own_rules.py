"""The model's decision and a rule of your own: no equity while volatility runs high.

`target_weights` is the hook: ask the allocator what the model wants, change it, and the
execution, the log and the analyzers stay as they are. Run: python examples/own_rules.py
"""

import tempfile
from pathlib import Path

import backtrader as bt
from small_model import train_small

from trm_bt import TRMAllocator, add_bars, load_bars


class Cautious(TRMAllocator):
    """Cap the equity while the volatility index stands above its own average."""

    params = (("cap", 0.5), ("period", 100), ("excess", 1.25))

    def __init__(self) -> None:
        super().__init__()
        volatility = self.getdatabyname("volatility")
        self.average = bt.indicators.SMA(volatility.close, period=self.p.period)
        self.n_capped = 0

    def target_weights(self) -> tuple[float, float] | None:
        """Return the model's weights, the equity's capped in turmoil."""
        weights = super().target_weights()
        level = self.getdatabyname("volatility").close[0]
        if weights is None or level < self.p.excess * self.average[0]:
            return weights
        self.n_capped += weights[0] > self.p.cap
        return min(weights[0], self.p.cap), weights[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        checkpoint = train_small(Path(work))
        bars = load_bars("sample", start="2006-06-01", end="2010-12-31")
        for strategy in (TRMAllocator, Cautious):
            cerebro = bt.Cerebro(cheat_on_open=True)
            add_bars(cerebro, bars)
            cerebro.broker.set_cash(100_000)
            cerebro.broker.setcommission(0.0005)
            cerebro.addanalyzer(bt.analyzers.DrawDown, _name="drawdown")
            cerebro.addstrategy(strategy, checkpoint=checkpoint)
            (ran,) = cerebro.run()
            fallen = ran.analyzers.drawdown.get_analysis().max.drawdown
            print(
                f"{strategy.__name__:14}{cerebro.broker.getvalue():10,.0f}"
                f"  drawdown {fallen:5.1f} %  capped {getattr(ran, 'n_capped', 0)}"
            )
    print(bars.source)


if __name__ == "__main__":
    main()
