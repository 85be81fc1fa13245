"""Every decision with its features, orders and fills."""

from typing import Final, TypedDict

import pandas as pd

from trm_bt.analyzers.records import Record, TableAnalyzer, plain_records
from trm_bt.errors import RunError
from trm_bt.strategies.decision_table import DECISION_COLUMNS, with_orders
from trm_bt.strategies.readouts import read_out
from trm_bt.strategies.trm_allocator import TRMAllocator

_COUNTS: Final = ("n_abstained", "n_kept", "n_submitted", "n_rejected")


class DecisionLogAnalysis(TypedDict):
    """Counts of decisions and of orders by state, and a row per decision."""

    n_decisions: int
    n_abstained: int
    n_kept: int
    n_submitted: int
    n_rejected: int
    by_status: dict[str, int]
    decisions: list[Record]


class DecisionLog(TableAnalyzer):
    """Keep a row per decision of `TRMAllocator`, or of a strategy made from it.

    A row has the features and their z-scores, the probabilities after each supervision
    step, the steps used, the allocation, the target weights, and for each asset the
    order of that decision, its fill and its slippage against the open. It is known at
    the close of its session, except the orders, which are known at their fill.
    Columns are those of `decision_table` and `with_orders`.

    Beside a strategy that decides, another one may run: it has no row.

    Raises
    ------
    RunError
        If no strategy takes decisions, or the log is requested before the end.
    """

    def start(self) -> None:
        """Refuse a run without any strategy that decides."""
        running = self.strategy.cerebro.runningstrats
        if not any(isinstance(other, TRMAllocator) for other in running):
            raise RunError(
                "DecisionLog needs a strategy that decides, such as TRMAllocator, got "
                f"{type(self.strategy).__name__}."
            )

    def stop(self) -> None:
        """Join decisions and orders; a strategy that takes none has no row."""
        ran = self.strategy
        self._table = pd.DataFrame(columns=list(DECISION_COLUMNS))
        counts = dict.fromkeys(_COUNTS, 0)
        by_status: dict[str, int] = {}
        if isinstance(ran, TRMAllocator):
            orders: pd.DataFrame = read_out(ran, "orders")
            self._table = with_orders(read_out(ran, "decisions"), orders)
            counts = {name: read_out(ran, name) for name in _COUNTS}
            found = orders["status"].value_counts()
            by_status = dict(zip(map(str, found.index), found.tolist(), strict=True))
        self._analysis: DecisionLogAnalysis = {
            "n_decisions": len(self._table),
            "n_abstained": counts["n_abstained"],
            "n_kept": counts["n_kept"],
            "n_submitted": counts["n_submitted"],
            "n_rejected": counts["n_rejected"],
            "by_status": by_status,
            "decisions": [],
        }

    def get_analysis(self) -> DecisionLogAnalysis:
        """Return counts, and the rows in `decisions`, as plain values."""
        table = self.to_frame()
        return {**self._analysis, "decisions": plain_records(table)}
