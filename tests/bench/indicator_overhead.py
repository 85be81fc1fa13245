"""Time what a ten-line indicator adds to an empty Cerebro run over three feeds.

All runs are made in this process, turn by turn, on the same bulk-filled feeds; the
fastest of each counts. The empty indicator has ten lines and computes nothing: what it
adds is the engine's own price for ten lines. The lines of `MarketFeatures` are held
against the batch features. An unmodified Cerebro has observers; one without them does
less, so that the same lines are a larger share of it.
    python -m tests.bench.indicator_overhead [folder with SPY, TLT and VIX files]
"""

import gc
import sys
import time
from array import array

import backtrader as bt
import numpy as np

from trm_bt import MarketFeatures, load_bars
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.bars import Bars
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, compute_features

N_TURNS = 15
N_SESSIONS = 7_500
ROLES = ("equity", "bond", "volatility")


class EmptyIndicator(bt.Indicator):
    """Ten lines of zeros, with the minimum period of `MarketFeatures`."""

    lines = FEATURE_NAMES

    def __init__(self) -> None:
        self.addminperiod(FeatureSchema().n_lookback)

    def once(self, start: int, end: int) -> None:
        """Fill every line in one step."""
        for line in self.lines:
            line.array[start:end] = array("d", bytes(8 * (end - start)))


class Idle(bt.Strategy):
    """A strategy that makes an indicator, or none, and does nothing."""

    params = (("indicator", None),)

    def __init__(self) -> None:
        if self.p.indicator is not None:
            self.made = self.p.indicator(*self.datas)


KINDS = {"none": None, "empty": EmptyIndicator, "MarketFeatures": MarketFeatures}


def run(bars: Bars, indicator: type | None, *, stdstats: bool) -> tuple[float, Idle]:
    """Run Cerebro over the three roles; return the seconds and the strategy."""
    cerebro = bt.Cerebro(stdstats=stdstats)
    add_bars(cerebro, bars, roles=ROLES)
    cerebro.addstrategy(Idle, indicator=indicator)
    gc.collect()
    begun = time.perf_counter()
    (ran,) = cerebro.run()
    return time.perf_counter() - begun, ran


def check_lines(bars: Bars, ran: Idle) -> None:
    """Hold the indicator's lines against the batch features, to the last bit."""
    expected = compute_features(Bars(bars.equity, bars.bond, bars.volatility)).frame
    for name in FEATURE_NAMES:
        line = np.array(getattr(ran.made.lines, name).array)
        found = line[len(bars.sessions) - len(expected) : len(bars.sessions)]
        assert found.tobytes() == expected[name].to_numpy().tobytes(), name


def report(bars: Bars, *, stdstats: bool) -> None:
    """Print the three times and what each indicator adds."""
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(N_TURNS):
        for name, indicator in KINDS.items():
            took, ran = run(bars, indicator, stdstats=stdstats)
            seconds[name].append(took)
        check_lines(bars, ran)
    print("unmodified Cerebro" if stdstats else "Cerebro without observers")
    base = min(seconds["none"])
    for name, taken in seconds.items():
        print(f"  {name:15}{min(taken) * 1e3:8.1f} ms {min(taken) / base - 1:+7.1%}")


def main() -> None:
    """Measure with observers and without."""
    bars = load_bars(sys.argv[1] if len(sys.argv) > 1 else "sample")
    bars = bars.between(bars.sessions[max(len(bars.sessions) - N_SESSIONS, 0)])
    print(f"3 feeds of {len(bars.sessions)} sessions, fastest of {N_TURNS} turns")
    for stdstats in (True, False):
        report(bars, stdstats=stdstats)


if __name__ == "__main__":
    main()
