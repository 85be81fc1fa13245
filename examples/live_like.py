"""Bars that come one by one, with a session that the bond misses.

A live feed says so by `islive()`; Cerebro then knows no bar before it comes, and the
allocator decides each one alone. Its decisions are those of a batch, and a session that
one of the feeds misses is held through. Run: python examples/live_like.py
"""

import tempfile
import warnings
from pathlib import Path

import backtrader as bt
from small_model import train_small

from trm_bt import TRMAllocator, TRMPandasData, load_bars

# Python 3.12 and later warn of how Backtrader asks for the time
warnings.filterwarnings("ignore", r"datetime\.datetime\.utcnow", DeprecationWarning)


class LiveData(TRMPandasData):
    """Stand in for the feed of a broker."""

    def islive(self) -> bool:
        """Make Cerebro ask for one bar at a time."""
        return True


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        checkpoint = train_small(Path(work), "sample")
        bars = load_bars("sample", start="2006-06-01", end="2008-12-31")
        runs = {}
        for feed_class in (TRMPandasData, LiveData):
            cerebro = bt.Cerebro()
            for name, frame in feeds_of(bars).items():
                if feed_class is LiveData and name == "bond":
                    frame = frame.drop(index=bars.sessions[500])
                feed = feed_class(dataname=frame, role_status="proxy")
                cerebro.adddata(feed, name=name)
            cerebro.broker.set_cash(100_000)
            cerebro.addstrategy(TRMAllocator, checkpoint=checkpoint)
            (runs[feed_class.__name__],) = cerebro.run()

    batch, live = (ran.decisions.set_index("session") for ran in runs.values())
    before = live.index[live.index < bars.sessions[500]]
    confidence = [log["confidence"].loc[before] for log in (live, batch)]
    same, known = confidence[0] == confidence[1], confidence[1].notna()
    print(f"decisions        {len(batch)} in a batch, {len(live)} live")
    print(f"bit for bit      {same[known].mean():.0%} before the bond missed a session")
    print(f"held through     {[str(halt.date()) for halt in runs['LiveData'].halts]}")
    print(f"orders rejected  {runs['LiveData'].n_rejected}")
    print(bars.source)


def feeds_of(bars) -> dict:
    """Return the frame of each feed that the small model reads."""
    frames = {role: getattr(bars, role) for role in ("equity", "bond", "volatility")}
    members = {name: bars.members[[name]].set_axis(["close"], axis=1)
               for name in bars.members}  # fmt: skip
    return frames | members


if __name__ == "__main__":
    main()
