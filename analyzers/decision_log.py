"""Every decision with its features, orders and fills."""

from typing import TypedDict

from trm_bt.analyzers.records import Record, TableAnalyzer, plain_records
from trm_bt.errors import RunError
from trm_bt.strategies.decision_table import with_orders


class DecisionLogAnalysis(TypedDict):
    """Counts of decisions and of orders by state, and a row a decision."""

    n_decisions: int
    n_abstained: int
    n_kept: int
    n_submitted: int
    n_rejected: int
    by_status: dict[str, int]
    decisions: list[Record]


class DecisionLog(TableAnalyzer):
    """Keep a row a decision of `TRMAllocator`, or of a strategy made from it.

    A row has the features and their z-scores, the probabilities after each supervision
    step, the steps used, the allocation, the target weights, and for each asset the
    order of that decision, its fill and its slippage against the open. It is known at
    the close of its session, except the orders, which are known at their fill.
    Columns are those of `decision_table` and `with_orders`.

    Raises
    ------
    RunError
        If the strategy takes no decisions, or the log is requested before the end.
    """

    def start(self) -> None:
        """Refuse a strategy without decisions."""
        if not hasattr(type(self.strategy), "decisions"):
            raise RunError(
                "DecisionLog needs a strategy that decides, such as TRMAllocator, got "
                f"{type(self.strategy).__name__}."
            )

    def stop(self) -> None:
        """Join decisions and orders."""
        ran = self.strategy
        self._table = with_orders(ran.decisions, ran.orders)
        self._analysis: DecisionLogAnalysis = {
            "n_decisions": len(self._table),
            "n_abstained": ran.n_abstained,
            "n_kept": ran.n_kept,
            "n_submitted": ran.n_submitted,
            "n_rejected": ran.n_rejected,
            "by_status": ran.orders["status"].value_counts().to_dict(),
            "decisions": [],
        }

    def get_analysis(self) -> DecisionLogAnalysis:
        """Return counts, and the rows in `decisions`, as plain values."""
        table = self.to_frame()
        return {**self._analysis, "decisions": plain_records(table)}
