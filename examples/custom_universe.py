"""Two other assets in the place of SPY and TLT: two parameters, and a warning.

Decisions of a model on assets that it was not trained on were never evaluated, so this
trains on the new pair first. The warning stays, because everything that the
documentation reports is about SPY and TLT. Run: python examples/custom_universe.py
"""

import tempfile
import warnings
from pathlib import Path

import backtrader as bt
import pandas as pd
from small_model import train_small

from trm_bt import TRMAllocator, UniverseWarning, load_bars


def write_pair(folder: Path) -> None:
    """Write another pair, made of the sample: a tilted equity and a shorter bond."""
    sample = load_bars("sample")
    growth, short = sample.equity.copy(), sample.bond.copy()
    for frame, share in ((growth, 1.2), (short, 0.4)):
        moves = frame["close"].pct_change().fillna(0.0)
        close = 100 * (1 + share * moves).cumprod()
        for name in ("open", "high", "low"):
            frame[name] *= close / frame["close"]
        frame["close"] = close
        frame["high"] = frame[["open", "high", "close"]].max(axis=1)
        frame["low"] = frame[["open", "low", "close"]].min(axis=1)
    # a folder's files are named by role: the new pair plays SPY and TLT
    growth.to_csv(folder / "SPY.csv")
    short.to_csv(folder / "TLT.csv")
    sample.volatility.to_csv(folder / "VIX.csv")


def main() -> None:
    closes = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_pair(folder)
        checkpoint = train_small(folder, str(folder))
        cerebro = bt.Cerebro()
        for symbol, name in (("SPY", "GROWTH"), ("TLT", "SHORT"), ("VIX", "VIX")):
            frame = pd.read_csv(folder / f"{symbol}.csv", index_col=0, parse_dates=True)
            feed = bt.feeds.PandasData(dataname=frame.loc["2006-06":"2010"])
            cerebro.adddata(feed, name=name)
            closes[name] = frame["close"]
        cerebro.broker.set_cash(100_000)
        cerebro.addanalyzer(bt.analyzers.TimeReturn, _name="returns")
        cerebro.addstrategy(
            TRMAllocator, checkpoint=checkpoint, equity="GROWTH", bond="SHORT"
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UniverseWarning)
            (ran,) = cerebro.run()

    decided = ran.decisions.dropna(subset=["allocation"])
    first, last = decided["session"].iloc[[0, -1]]
    print(load_bars("sample").source)
    print(f"warning          {caught[0].message}")
    print(f"decided          {len(decided):,} sessions, {first:%F} to {last:%F}")
    print(f"orders rejected  {ran.n_rejected}")
    daily = pd.DataFrame(closes)[["GROWTH", "SHORT"]].loc[first:last].pct_change()
    daily["half of each"] = daily.mean(axis=1)
    daily["allocator"] = pd.Series(ran.analyzers.returns.get_analysis())
    earned = (1 + daily.fillna(0.0)).prod() - 1
    earned = earned.sort_values(ascending=False)
    for name, value in earned.items():
        print(f"{name:17}{value:+.1%}")
    rank = earned.index.get_loc("allocator") + 1
    print(
        f"Shown: a pair of your own, after a training on it; number {rank} of these 4."
    )


if __name__ == "__main__":
    main()
