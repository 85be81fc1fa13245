"""Weights of a strategy at each close."""

from typing import TypedDict

import pandas as pd

from trm_bt.analyzers.records import CloseAnalyzer, Record, plain_records
from trm_bt.strategies.broker import value_in


class WeightsAnalysis(TypedDict):
    """Mean and last weights by feed, and a row per session."""

    n_sessions: int
    mean: dict[str, float]
    last: dict[str, float]
    weights: list[Record]


class WeightsAnalyzer(CloseAnalyzer):
    """Weigh every feed that was ever held, and cash, at each close.

    Works with any strategy. Positions are worth what the broker says; the weights of a
    session are known at its close. The table has a row per session, a column per feed
    that was ever held, and "cash" last.
    """

    def next(self) -> None:
        """Note a close, once a bar."""
        strategy, broker = self.strategy, self.strategy.broker
        values = [
            value_in(broker, feed) if len(feed) else 0.0 for feed in strategy.datas
        ]
        self._rows.append((self._now(), *values, broker.getcash()))

    def stop(self) -> None:
        """Make the table, and drop the rows."""
        names = [str(feed._name or f"data{i}") for i, feed in enumerate(self.datas)]
        table = self._by_session(*names, "cash")
        table = table[~table.index.duplicated(keep="last")]  # bars within a session
        is_held = (table != 0).any() | (table.columns == "cash")
        table = table.loc[:, is_held]
        self._table = table.div(table.sum(axis=1), axis=0)

    def get_analysis(self) -> WeightsAnalysis:
        """Return mean and last weights, and the rows in `weights`, as plain values."""
        table = self.to_frame()
        return {
            "n_sessions": len(table),
            "mean": _by_name(table.mean()),
            "last": _by_name(table.iloc[-1]) if len(table) else {},
            "weights": plain_records(table),
        }


def _by_name(row: pd.Series) -> dict[str, float]:
    return {str(name): float(weight) for name, weight in row.items()}
