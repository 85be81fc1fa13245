"""Turnover of a strategy."""

from typing import TypedDict

import backtrader as bt

from trm_bt.analyzers.records import CloseAnalyzer, Record, plain_records


class TurnoverAnalysis(TypedDict):
    """Sums over the run, and a row per session with trades."""

    n_sessions: int
    n_sessions_with_trades: int
    traded: float
    commission: float
    turnover: float
    trades: list[Record]


class TurnoverAnalyzer(CloseAnalyzer):
    r"""Add up the trades of each session and their costs.

    Works with any strategy. The turnover of a session with trades v and portfolio value
    V at its close is

    .. math:: \sum \frac{|v|}{2 V}

    so that a whole switch from one asset into another counts as 1. It is known at the
    close of the session; with cheat-on-close the trades of a close count for the next.
    The table has a row per session: traded value, commission and portfolio value in
    quote currency, and the turnover.
    """

    def start(self) -> None:
        """Begin with no session, and nothing traded."""
        super().start()
        self._done: dict[int, tuple[float, float]] = {}
        self._traded = self._commission = 0.0

    def notify_order(self, order: bt.Order) -> None:
        """Add what was filled since the last notice of the same order."""
        done = order.executed
        value, commission = abs(done.size * done.price), done.comm
        before = self._done.get(order.ref, (0.0, 0.0))
        self._done[order.ref] = (value, commission)
        self._traded += value - before[0]
        self._commission += commission - before[1]

    def next(self) -> None:
        """Close the session's account."""
        strategy = self.strategy
        value = strategy.broker.getvalue()
        row = (self._now(), self._traded, self._commission, value)
        self._rows.append(row)
        self._traded = self._commission = 0.0

    def stop(self) -> None:
        """Make the table, and drop the rows."""
        table = self._by_session("traded", "commission", "value")
        whole = {"traded": "sum", "commission": "sum", "value": "last"}
        table = table.groupby(level=0).agg(whole)  # of bars within a session
        self._table = table.assign(turnover=table["traded"] / (2 * table["value"]))
        del self._done

    def get_analysis(self) -> TurnoverAnalysis:
        """Return sums, and the sessions with trades in `trades`, as plain values."""
        table = self.to_frame()
        return {
            "n_sessions": len(table),
            "n_sessions_with_trades": int((table["traded"] > 0).sum()),
            "traded": float(table["traded"].sum()),
            "commission": float(table["commission"].sum()),
            "turnover": float(table["turnover"].sum()),
            "trades": plain_records(table[table["traded"] > 0]),
        }
