"""Backtrader's own chart without a screen, with the weights as an observer.

Run: python examples/cerebro_plot.py [picture.png]
"""

import sys
import tempfile
from pathlib import Path

import backtrader as bt
import backtrader.plot
import matplotlib as mpl
from small_model import train_small

from trm_bt import TRMAllocator, add_bars, load_bars

mpl.use("Agg")  # before pyplot, and after Backtrader's import has asked for a window


PLOT_STYLE = {"style": "line", "volume": False, "fmt_x_ticks": "%Y-%m", "rowsminor": 2}


class OffScreen(backtrader.plot.Plot):
    """Draw, and open no window."""

    def show(self) -> None:
        """Leave the figure to whoever saves it."""


class WeightsObserver(bt.Observer):
    """Draw what share of the portfolio each asset and cash are at each close."""

    lines = ("equity", "bond", "cash")
    plotinfo = {"plot": True, "plotname": "Weights"}  # noqa: RUF012 # Backtrader's

    def next(self) -> None:
        """Value positions at the close."""
        broker, feeds = self._owner.broker, self._owner.datas[:2]
        held = [broker.getposition(feed).size * feed.close[0] for feed in feeds]
        total = broker.getcash() + sum(held)
        for line, value in zip(self.lines, [*held, broker.getcash()], strict=True):
            line[0] = value / total


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(work) / "plot.png"
        checkpoint = train_small(Path(work))
        bars = load_bars("sample", start="2006-10-02", end="2009-06-30")
        cerebro = bt.Cerebro(stdstats=False)
        add_bars(cerebro, bars)
        for feed in cerebro.datas[3:]:
            feed.plotinfo.plot = False  # members and rate are read, not looked at
        cerebro.broker.set_cash(100_000)
        cerebro.broker.setcommission(0.0005)
        cerebro.addobserver(bt.observers.Value)
        cerebro.addobserver(WeightsObserver)
        # one allocation at a time, so that a change of mind can be seen
        params = {"decision": "argmax", "n_averaged": 1}
        cerebro.addstrategy(TRMAllocator, checkpoint=checkpoint, **params)
        (ran,) = cerebro.run()
        ((figure,),) = cerebro.plot(OffScreen(**PLOT_STYLE))
        figure.set_size_inches(11, 10)
        for axes in figure.axes[-2:]:  # which newer matplotlibs would leave dateless
            axes.tick_params(labelbottom=True)
        figure.savefig(target, dpi=80, bbox_inches="tight")
        size = target.stat().st_size
    print(bars.source)
    print(f"sessions         {bars.sessions[0]:%F} to {bars.sessions[-1]:%F}")
    print(f"traded           {ran.n_submitted:,} orders, rejected {ran.n_rejected}")
    print(f"picture          {target.name}, {size:,} bytes")
    print(
        "Shown: Backtrader's chart drawn without a screen, and what was held below it."
    )


if __name__ == "__main__":
    main()
