"""Bars that arrive one by one, with a session missing from the bond.

A live feed says so by `islive()`; Cerebro then sees no bar before it arrives, and the
allocator decides each one alone. Its decisions are those of a batch, and a session that
one of the feeds lacks is held through. Run: python examples/live_like.py
"""

import tempfile
import warnings
from pathlib import Path

import backtrader as bt
import pandas as pd
from small_model import train_small

from trm_bt import TRMAllocator, TRMPandasData, load_bars

# Python 3.12 and later warn of how Backtrader asks for the time
warnings.filterwarnings("ignore", r"datetime\.datetime\.utcnow", DeprecationWarning)

MISSED = pd.Timestamp("2008-05-28")


class LiveData(TRMPandasData):
    """Stand in for the feed of a broker."""

    def islive(self) -> bool:
        """Make Cerebro ask for one bar at a time."""
        return True


def run(
    feed_class: type[TRMPandasData], frames: dict, checkpoint: Path
) -> TRMAllocator:
    cerebro = bt.Cerebro()
    for name, frame in frames.items():
        if feed_class is LiveData and name == "bond":
            frame = frame.drop(index=MISSED)
        cerebro.adddata(feed_class(dataname=frame, role_status="proxy"), name=name)
    cerebro.broker.set_cash(100_000)
    cerebro.addstrategy(TRMAllocator, checkpoint=checkpoint)
    (ran,) = cerebro.run()
    return ran


def main() -> None:
    bars = load_bars("sample", start="2007-01-03", end="2008-12-31")
    frames = {role: getattr(bars, role) for role in ("equity", "bond", "volatility")}
    for name in bars.members:
        frames[name] = bars.members[[name]].set_axis(["close"], axis=1)
    with tempfile.TemporaryDirectory() as work:
        checkpoint = train_small(Path(work), "sample")
        kinds = (TRMPandasData, LiveData)
        ran = {kind: run(kind, frames, checkpoint) for kind in kinds}

    batch, live = (each.decisions.set_index("session") for each in ran.values())
    live_confidence = live["confidence"].reindex(batch.index)
    print(bars.source)
    print(f"decisions        {len(batch)} in a batch, {len(live)} live")
    known = batch.index[batch["confidence"].notna()].intersection(live.index)
    same, before = (batch["confidence"] == live_confidence)[known], known < MISSED
    print(
        f"the same bits    {same[before].mean():.0%} of {before.sum()} before the hole"
    )
    print(f"                 and all after {known[~same][-1]:%F}, past the lookbacks")
    print("around the hole  batch               live")
    place = batch.index.get_loc(MISSED)
    for session in batch.index[place - 1 : place + 2]:
        in_batch = batch["allocation_name"][session]
        alive = live["allocation_name"].get(session, "no bond: held")
        print(f"{session:%F}       {in_batch:20}{alive}")
    (halt,) = ran[LiveData].halts
    print(f"held through     {halt:%F}, orders rejected {ran[LiveData].n_rejected}")
    print("Shown: live decisions have a batch's bits; a missed bar is held through.")


if __name__ == "__main__":
    main()
