"""An ordinary Backtrader script before and after: two lines change.

The script trades SPY by a 200-session average. The allocator takes its place with the
same feeds, broker and analyzers. Run: python examples/drop_in.py
"""

import tempfile
from pathlib import Path

import backtrader as bt
import pandas as pd
from small_model import SMALL

from trm_bt import (
    RunRequest,
    TRMAllocator,  # the first line that changes
    load_bars,
    train_checkpoint,
)


class AboveAverage(bt.Strategy):
    """Hold the equity while it is above its 200-session average."""

    def __init__(self) -> None:
        self.average = bt.indicators.SMA(self.datas[0], period=200)

    def next(self) -> None:
        """Be in above the average, out below it."""
        is_above = self.data.close[0] > self.average[0]
        self.order_target_percent(self.datas[0], 0.9 if is_above else 0.0)


def usual_script(folder: Path) -> bt.Cerebro:
    """Set up feeds, broker and analyzers as many scripts do."""
    cerebro = bt.Cerebro()
    for symbol in ("SPY", "TLT", "VIX"):
        frame = pd.read_csv(folder / f"{symbol}.csv", index_col=0, parse_dates=True)
        feed = bt.feeds.PandasData(dataname=frame.loc["2004":"2009"])
        cerebro.adddata(feed, name=symbol)
    cerebro.broker.set_cash(100_000)
    cerebro.broker.setcommission(0.0005)
    cerebro.addanalyzer(bt.analyzers.DrawDown, _name="drawdown")
    cerebro.addanalyzer(bt.analyzers.Transactions, _name="fills")
    return cerebro


def print_result(name: str, cerebro: bt.Cerebro) -> None:
    (ran,) = cerebro.run()
    fallen = ran.analyzers.drawdown.get_analysis().max.drawdown
    fills = [f for each in ran.analyzers.fills.get_analysis().values() for f in each]
    value, traded = cerebro.broker.getvalue(), sorted({fill[3] for fill in fills})
    print(f"{name:8}{value:9,.0f}{fallen:9.1f}%{len(fills):7,}  {', '.join(traded)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        sample = load_bars("sample")  # stands in for the files you have
        sample.equity.to_csv(folder / "SPY.csv")
        sample.bond.to_csv(folder / "TLT.csv")
        sample.volatility.to_csv(folder / "VIX.csv")
        print(sample.source)
        print(f"{'':8}{'value':>9}{'drawdown':>11}{'fills':>7}  traded")

        before = usual_script(folder)
        before.addstrategy(AboveAverage)
        print_result("before", before)

        # Once, small here; at full size: trm-bt train --bars FOLDER --end 2003-12-31
        request = RunRequest(str(folder), SMALL, start="1996-01-01", end="2003-12-31")
        train_checkpoint(request, folder / "model")
        after = usual_script(folder)
        after.addstrategy(TRMAllocator, checkpoint=folder / "model")  # the second one
        print_result("after", after)
    print("Shown: with two lines changed, feeds, broker and analyzers are the same.")


if __name__ == "__main__":
    main()
