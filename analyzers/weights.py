"""What a strategy holds at each close, as shares of all it owns."""

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.analyzers.records import plain_records
from trm_bt.errors import RunError
from trm_bt.feeds.backtrader import sessions_of


class WeightsAnalyzer(bt.Analyzer):
    """Weigh every feed that was ever held, and cash, at each close.

    Works with any strategy. Values are positions times closes, our own valuation; the
    weights of a session are known at its close.

    Raises
    ------
    RunError
        If the weights are asked for before the run has ended.
    """

    _table: pd.DataFrame | None = None

    def start(self) -> None:
        """Begin with no session."""
        self._rows: list[tuple[float, ...]] = []

    def prenext(self) -> None:
        """Note a close before the strategy decides anything."""
        self.next()

    def next(self) -> None:
        """Note a close, once a bar."""
        strategy, broker = self.strategy, self.strategy.broker
        values = [
            broker.getposition(feed).size * feed.close[0] if len(feed) else 0.0
            for feed in strategy.datas
        ]
        self._rows.append((strategy.datetime[0], *values, broker.getcash()))

    def stop(self) -> None:
        """Make the table, and let go of the rows."""
        names = [str(feed._name or f"data{i}") for i, feed in enumerate(self.datas)]
        columns = ["session", *names, "cash"]
        table = pd.DataFrame(self._rows, columns=columns, dtype=np.float64)
        table = table.set_index(sessions_of(table.pop("session").to_numpy()))
        is_held = (table != 0).any() | (table.columns == "cash")
        table = table.loc[:, is_held]
        self._table = table.div(table.sum(axis=1), axis=0)
        del self._rows

    def to_frame(self) -> pd.DataFrame:
        """Return weights, shape (n_sessions, n_held_feeds + 1), "cash" last."""
        if self._table is None:
            raise RunError("WeightsAnalyzer is done when the run ends. Ask it then.")
        return self._table.copy()

    def get_analysis(self) -> dict[str, object]:
        """Return mean and last weights, and the rows in `weights`, as plain values."""
        table = self.to_frame()
        return {
            "n_sessions": len(table),
            "mean": table.mean().to_dict(),
            "last": table.iloc[-1].to_dict() if len(table) else {},
            "weights": plain_records(table),
        }
