"""Search for a band and a confidence with optstrategy, in two processes.

Settings are chosen on 2007 and 2008 and reported on 2009 and 2010, because the best of
a search is partly the luckiest. Run: python examples/optimise.py
"""

import tempfile
import warnings
from pathlib import Path

import backtrader as bt
import pandas as pd
from small_model import train_small

from trm_bt import TRMAllocator, TurnoverAnalyzer, add_bars, load_bars

# Python 3.12 and later warn of every fork of a process that has threads, and of how
# Backtrader sends a Cerebro to its processes
warnings.filterwarnings("ignore", "This process .* is multi-threaded")
warnings.filterwarnings("ignore", "Pickle, copy, and deepcopy support will be removed")

BANDS = [0.0, 0.02, 0.1]
CONFIDENCES = [0.0, 0.45, 0.48]  # among those of this model, which are .41 to .53


def search(checkpoint: Path, first: str, last: str) -> pd.DataFrame:
    """Run every pair of settings over the years from `first` to `last`."""
    start = pd.Timestamp(first) - pd.DateOffset(months=7)  # for the lookbacks
    cerebro = bt.Cerebro(maxcpus=2, stdstats=False)
    add_bars(cerebro, load_bars("sample", start=str(start.date()), end=f"{last}-12-31"))
    cerebro.broker.set_cash(100_000)
    cerebro.broker.setcommission(0.0005)
    cerebro.addanalyzer(bt.analyzers.Returns, _name="returns")
    cerebro.addanalyzer(TurnoverAnalyzer, _name="turnover")
    cerebro.optstrategy(
        TRMAllocator,
        checkpoint=str(checkpoint),
        decide_from=f"{first}-01-01",
        rebalance_band=BANDS,
        min_confidence=CONFIDENCES,
    )
    rows = {}
    for (ran,) in cerebro.run():
        pair = ran.params.rebalance_band, ran.params.min_confidence
        earned = ran.analyzers.returns.get_analysis()["rtot"]
        rows[pair] = earned, ran.analyzers.turnover.get_analysis()["turnover"]
    return pd.DataFrame(rows, index=["return", "turnover"]).T


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        checkpoint = train_small(Path(work))  # torch is used before the processes fork
        chosen_on = search(checkpoint, "2007", "2008")
        later = search(checkpoint, "2009", "2010")

    print(load_bars("sample").source)
    print(f"{'':18}{'2007-2008':>15}{'2009-2010':>20}")
    print(f"{'band':>6}{'confidence':>12}" + f"{'return':>10}{'turnover':>10}" * 2)
    best, ranks = chosen_on["return"].idxmax(), later["return"].rank(ascending=False)
    for pair in chosen_on.index:
        print(f"{pair[0]:6.2f}{pair[1]:12.2f}", end="")
        for table in (chosen_on, later):
            print(
                f"{table['return'][pair]:10.1%}{table['turnover'][pair]:10.1f}", end=""
            )
        print("  chosen" * (pair == best))
    print(
        f"Shown: what was chosen on 2007-2008 earned {later['return'][best]:.1%} in "
        f"2009-2010, number {ranks[best]:.0f} of {len(ranks)} there."
    )


if __name__ == "__main__":
    main()
