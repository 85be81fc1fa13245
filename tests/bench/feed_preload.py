"""Time 30 years of three feeds into Cerebro: bulk fill against stock PandasData.

Both run in this process, turn by turn, on the same frames; the fastest of each counts.
    python -m tests.bench.feed_preload [folder with SPY, TLT and VIX files]
"""

import sys
import time
from collections.abc import Sequence

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt import load_bars
from trm_bt.feeds.backtrader import TRMPandasData

N_TURNS = 5
N_SESSIONS = 30 * 252
LINES = ("datetime", "open", "high", "low", "close", "volume", "openinterest")


def preload(feed_class: type, frames: Sequence[pd.DataFrame]) -> tuple[float, list]:
    """Preload every frame as Cerebro does; return the seconds and the line arrays."""
    feeds = [feed_class(dataname=frame) for frame in frames]
    cerebro = bt.Cerebro()
    for feed in feeds:
        cerebro.adddata(feed)
        feed.reset()
        feed._start()
    begun = time.perf_counter()
    for feed in feeds:
        feed.preload()
    seconds = time.perf_counter() - begun
    arrays = [
        np.array(getattr(feed.lines, name).array) for feed in feeds for name in LINES
    ]
    return seconds, arrays


def main() -> None:
    """Print both times, their ratio, and whether the lines are equal."""
    bars = load_bars(sys.argv[1] if len(sys.argv) > 1 else "sample", long_bond="fund")
    frames = [
        frame.iloc[-N_SESSIONS:] for frame in (bars.equity, bars.bond, bars.volatility)
    ]
    stock, bulk = [], []
    for _ in range(N_TURNS):
        seconds, expected = preload(bt.feeds.PandasData, frames)
        stock.append(seconds)
        seconds, found = preload(TRMPandasData, frames)
        bulk.append(seconds)
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(left, right)
    print(f"{len(frames)} feeds of {len(frames[0])} sessions, fastest of {N_TURNS}")
    print(f"stock PandasData {min(stock) * 1e3:8.1f} ms")
    print(f"TRMPandasData    {min(bulk) * 1e3:8.1f} ms")
    print(f"ratio            {min(stock) / min(bulk):8.0f}; every line equal")


if __name__ == "__main__":
    main()
