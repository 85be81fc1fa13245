"""The labelling analyzer: any Cerebro run over the three roles becomes labels."""

from typing import Any

import backtrader as bt
import pandas as pd

from trm_bt.config import FeatureConfig, LabelConfig
from trm_bt.errors import BarsError
from trm_bt.feeds.backtrader import add_bars, sessions_of
from trm_bt.feeds.calendars import check_current_bar
from trm_bt.feeds.roles import KNOWN_NAMES, feeds_by_name, find_roles
from trm_bt.market.bars import PRICE_COLUMNS, Bars
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels, summarize_labels

_CORE_ROLES = tuple(KNOWN_NAMES)


class AllocationLabeler(bt.Analyzer):
    """Label each session with the allocation that earned most over the horizon.

    Bars are collected as the run goes and labelled at its end by the functions that
    the batch pipeline calls, so that any preload, runonce or exactbars setting gives
    the same labels. A label is known only `horizon` + 1 sessions after its own.

    Params
    ------
    features : FeatureConfig
        Lookbacks of the features.
    labels : LabelConfig
        Horizon and fill.
    equity, bond, volatility : str or None
        Feed names; None finds SPY, TLT and VIX by name, else by order.
    members : tuple of str
        Names of the feeds that are the equity's members; none for the proxies.

    Raises
    ------
    BarsError
        If a role has no feed, or the feeds stand on different sessions.
    """

    params = (
        ("features", FeatureConfig()),
        ("labels", LabelConfig()),
        ("equity", None),
        ("bond", None),
        ("volatility", None),
        ("members", ()),
    )

    def start(self) -> None:
        """Find the feeds of all roles and start with no bar."""
        feeds = self.strategy.datas
        self._feeds: dict[str, Any] = find_roles(
            feeds, {role: getattr(self.p, role) for role in _CORE_ROLES}
        )
        named = feeds_by_name(feeds)
        for name in (*self.p.members, "put_call", "cash_rate"):
            if name.lower() in named:
                self._feeds[name] = named[name.lower()]
            elif name in self.p.members:
                raise BarsError(
                    f"`members` names the feed '{name}', which must be in the Cerebro; "
                    f"the feeds are {[str(feed._name) for feed in feeds]}."
                )
        self._bars: dict[str, list[tuple[float, ...]]] = {
            name: [] for name in self._feeds
        }
        self._sessions: list[float] = []

    def next(self) -> None:
        """Collect the current bar of every role."""
        check_current_bar(self._feeds)
        for name, feed in self._feeds.items():
            self._bars[name].append(
                tuple(getattr(feed.lines, column)[0] for column in _columns(name))
            )
        self._sessions.append(self._feeds["equity"].datetime[0])

    def stop(self) -> None:
        """Compute features, labels and their summary from the collected bars."""
        bars = self._collected_bars()
        features = compute_features(bars, self.p.features)
        labels = compute_labels(bars, features, self.p.labels)
        self.rets["features"] = features
        self.rets["labels"] = labels
        self.rets["summary"] = summarize_labels(labels)

    def _collected_bars(self) -> Bars:
        index = sessions_of(self._sessions)

        def frame(name: str) -> pd.DataFrame:
            return pd.DataFrame(self._bars[name], index, _columns(name))

        def close(name: str) -> pd.Series | None:
            return frame(name)["close"] if name in self._bars else None

        members = {name: frame(name)["close"] for name in self.p.members}
        return Bars(
            equity=frame("equity"),
            bond=frame("bond"),
            volatility=frame("volatility")[list(PRICE_COLUMNS)],
            members=pd.DataFrame(members) if members else None,
            put_call=close("put_call"),
            cash_rate=close("cash_rate"),
            source="feeds of a Cerebro run",
        )


def _columns(name: str) -> tuple[str, ...]:
    """Return the columns that a feed gives; optional inputs have a close alone."""
    return (*PRICE_COLUMNS, "volume") if name in _CORE_ROLES else ("close",)


def label_bars(
    bars: Bars, features: FeatureConfig, labels: LabelConfig
) -> pd.DataFrame:
    """Label bars by running `AllocationLabeler` over them in Cerebro.

    Parameters
    ----------
    bars : Bars
        Checked bars.
    features : FeatureConfig
        Lookbacks of the features.
    labels : LabelConfig
        Horizon and fill.

    Returns
    -------
    DataFrame of shape (n_labels, 24)
        What `compute_labels` returns for these bars.
    """
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, bars)
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(
        AllocationLabeler,
        _name="labels",
        features=features,
        labels=labels,
        members=() if bars.members is None else tuple(bars.members.columns),
    )
    table = cerebro.run()[0].analyzers.labels.get_analysis()["labels"]
    assert isinstance(table, pd.DataFrame)
    return table
