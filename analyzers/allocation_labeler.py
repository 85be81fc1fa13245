"""The labelling analyzer: labels from any Cerebro run over the three roles."""

import pandas as pd

from trm_bt.analyzers.records import TableAnalyzer, plain_records
from trm_bt.config import FeatureConfig, LabelConfig
from trm_bt.errors import BarsError
from trm_bt.feeds._typing import Feed
from trm_bt.feeds.backtrader import sessions_of, stamp_of
from trm_bt.feeds.calendars import BarByBar, check_finished, check_weekdays
from trm_bt.feeds.roles import feeds_by_name, find_roles
from trm_bt.market._typing import JsonObject
from trm_bt.market.bars import CORE_ROLES, PRICE_COLUMNS, Bars
from trm_bt.market.features import compute_features
from trm_bt.market.label_table import summarize_labels
from trm_bt.market.labels import compute_labels
from trm_bt.quality.core_roles import check_volatility_role


class AllocationLabeler(TableAnalyzer):
    """Label each session with the allocation that was best over the horizon.

    Bars are collected during the run and labelled at its end by the functions of the
    batch pipeline, so that any preload, runonce or exactbars setting gives
    the same labels. A label is known only `horizon` + 1 sessions after its own. After
    the run, `to_frame` gives the label table and `get_analysis` the same in plain
    Python structures; both also in the results of `optstrategy`, in any process.

    Params
    ------
    features : FeatureConfig
        Lookbacks of the features.
    labels : LabelConfig
        Horizon, fill and objective.
    equity, bond, volatility : str or None
        Feed names; None finds SPY, TLT and VIX by name, else feeds without names by
        order.
    roles : {"by_order"} or None
        Take feeds with unknown names by order.
    members : tuple of str
        Names of the feeds of the equity's members; empty for proxies.

    Raises
    ------
    BarsError
        If a role has no feed, a feed is replayed, the feeds stand on different
        sessions, or the volatility feed is not a volatility index.
    RunError
        If the labels are requested before the run has ended.
    """

    params = (
        ("features", FeatureConfig()),
        ("labels", LabelConfig()),
        ("equity", None),
        ("bond", None),
        ("volatility", None),
        ("members", ()),
        ("roles", None),
    )

    def start(self) -> None:
        """Find the feeds of all roles and start with no bar."""
        feeds = self.strategy.datas
        self._feeds: dict[str, Feed] = find_roles(
            feeds, {role: getattr(self.p, role) for role in CORE_ROLES}, self.p.roles
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
        check_finished(self._feeds)
        self._calendar = BarByBar(self._feeds)
        self._bars: dict[str, list[tuple[float, ...]]] = {
            name: [] for name in self._feeds
        }
        self._sessions: list[float] = []

    def next(self) -> None:
        """Collect the current bar of every role, if it is a new one.

        With resampled feeds the strategy also stands on bars that end no week.
        """
        if not self._calendar.has_new():
            return
        self._calendar.handle()
        equity = self._feeds["equity"]
        check_weekdays(equity, [stamp_of(equity)])
        for name, feed in self._feeds.items():
            self._bars[name].append(
                tuple(getattr(feed.lines, column)[0] for column in _columns(name))
            )
        self._sessions.append(stamp_of(equity))

    def stop(self) -> None:
        """Label the collected bars, then drop feeds and bars.

        The table alone is sent between the processes of `optstrategy`.
        """
        bars = self._collected_bars()
        closes = {role: getattr(bars, role)["close"] for role in CORE_ROLES}
        name = str(self._feeds["volatility"]._name or "volatility")
        check_volatility_role(pd.DataFrame(closes), name)
        features = compute_features(bars, self.p.features)
        self._table = compute_labels(bars, features, self.p.labels)
        del self._feeds, self._bars, self._sessions, self._calendar

    def get_analysis(self) -> JsonObject:
        """Return settings, counts and rows in plain structures that JSON can hold.

        Returns
        -------
        dict
            The settings of the labels; `n_labels`, `n_ties`, `by_class` and
            `by_crisis` as in labels_summary.json; and `labels`, a list with one dict a
            label, sessions as ISO dates.
        """
        table = self.to_frame()
        rows = [
            {**row, "crises": [name for name in str(row["crises"]).split(";") if name]}
            for row in plain_records(table)
        ]
        summary = summarize_labels(table, self.p.labels)
        return {**summary.model_dump(mode="json"), "labels": rows}

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
    return (*PRICE_COLUMNS, "volume") if name in CORE_ROLES else ("close",)
