"""The ways in which Backtrader runs a strategy, and bars in the shapes they take."""

import backtrader as bt
import pandas as pd
import pytest

from trm_bt.feeds.backtrader import TRMPandasData, add_bars
from trm_bt.market.bars import Bars

MODES = [
    pytest.param(preload, runonce, exactbars, id=f"{preload=}-{runonce=}-{exactbars=}")
    for preload in (True, False)
    for runonce in (True, False)
    for exactbars in (False, -2, -1, 1)
]
"""Backtrader tests its own indicators in these, but for exactbars=1, which keeps the
fewest bars."""
ROLES = ("equity", "bond", "volatility")


def closes_frame(series: pd.Series) -> pd.DataFrame:
    values = series.to_frame("close")
    for name in ("open", "high", "low"):
        values[name] = values["close"]
    return values.assign(volume=0.0)


def role_frames(bars: Bars) -> dict[str, pd.DataFrame]:
    """Return a frame a feed, named as scripts name them."""
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": bars.volatility}
    if bars.members is not None:
        frames |= {name: closes_frame(bars.members[name]) for name in bars.members}
    if bars.put_call is not None:
        frames["put_call"] = closes_frame(bars.put_call)
    return frames


def add_feeds(cerebro: bt.Cerebro, bars: Bars) -> None:
    for name, frame in role_frames(bars).items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)


class LiveFeed(TRMPandasData):
    """A feed that is live, and has its next bar only at every second asking."""

    def islive(self) -> bool:
        return True

    def start(self) -> None:
        super().start()
        self._is_late = False

    def _load(self) -> bool | None:
        self._is_late = not self._is_late
        return None if self._is_late else super()._load()


def add_live_feeds(cerebro: bt.Cerebro, bars: Bars) -> None:
    for name, frame in role_frames(bars).items():
        cerebro.adddata(LiveFeed(dataname=frame), name=name)


def add_weekly_feeds(cerebro: bt.Cerebro, bars: Bars, *, has_daily: bool) -> None:
    """Add the three roles resampled to weeks, with the daily feeds before them."""
    if has_daily:
        for role in ROLES:
            add_bars(cerebro, bars, roles=[role])
            cerebro.datas[-1]._name = f"daily_{role}"
    daily = list(cerebro.datas) or [
        TRMPandasData(dataname=getattr(bars, role)) for role in ROLES
    ]
    for role, feed in zip(ROLES, daily, strict=True):
        cerebro.resampledata(feed, name=role, timeframe=bt.TimeFrame.Weeks)


def weekly(bars: Bars) -> Bars:
    """Make one bar a calendar week by hand, on the last session of the week."""
    frames = {}
    for role in ROLES:
        rows = {}
        for session, bar in getattr(bars, role).iterrows():
            week = session.isocalendar()[:2]
            if week not in rows:
                rows[week] = {**bar, "session": session}
                continue
            row = rows[week]
            row["session"] = session
            row["high"] = max(row["high"], bar["high"])
            row["low"] = min(row["low"], bar["low"])
            row["close"] = bar["close"]
            if "volume" in row:
                row["volume"] += bar["volume"]
        frames[role] = pd.DataFrame(list(rows.values())).set_index("session")
    return Bars(**frames)
