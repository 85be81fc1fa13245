"""Search a band and a confidence with optstrategy, on both processors.

Choose on one span, report another: the best of the years it was chosen on says
nothing about the next ones. Run: python examples/optimise.py
"""

import tempfile
import warnings
from pathlib import Path

import backtrader as bt
from small_model import train_small

from trm_bt import TRMAllocator, TurnoverAnalyzer, add_bars, load_bars

# Python 3.12 and later warn of every fork of a process that has threads, and of how
# Backtrader sends a Cerebro to its processes
warnings.filterwarnings("ignore", "This process .* is multi-threaded")
warnings.filterwarnings("ignore", "Pickle, copy, and deepcopy support will be removed")


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        checkpoint = train_small(Path(work))  # torch is used before the processes fork
        bars = load_bars("sample", start="2006-06-01", end="2008-12-31")
        cerebro = bt.Cerebro(maxcpus=2, stdstats=False)
        add_bars(cerebro, bars)
        cerebro.broker.set_cash(100_000)
        cerebro.broker.setcommission(0.0005)
        cerebro.addanalyzer(bt.analyzers.Returns, _name="returns")
        cerebro.addanalyzer(TurnoverAnalyzer, _name="turnover")
        cerebro.optstrategy(
            TRMAllocator,
            checkpoint=str(checkpoint),
            rebalance_band=[0.0, 0.02, 0.1],
            min_confidence=[0.0, 0.9],
        )
        results = cerebro.run()

    print(f"{'band':>6}{'confidence':>12}{'return':>10}{'turnover':>10}")
    for (ran,) in results:
        earned = ran.analyzers.returns.get_analysis()["rtot"]
        traded = ran.analyzers.turnover.get_analysis()["turnover"]
        print(
            f"{ran.params.rebalance_band:6.2f}{ran.params.min_confidence:12.1f}"
            f"{earned:10.1%}{traded:10.1f}"
        )
    print(bars.source)


if __name__ == "__main__":
    main()
