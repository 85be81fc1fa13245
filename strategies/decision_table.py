"""Decisions as a table: features, probabilities, allocation and orders."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.market._typing import FloatArray, FloatFeatures, FloatSessionsByFeature
from trm_bt.market.allocations import Allocations
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema
from trm_bt.strategies.ledger import ASSETS


def decision_columns(allocations: Allocations) -> tuple[str, ...]:
    """Return the columns of every table of decisions; `step_columns` may follow."""
    return (
        "session",
        *FEATURE_NAMES,
        *allocations.columns("prob"),
        *("confidence", "halt_prob", "n_steps", "allocation", "allocation_name"),
        *("model", "base_model", "n_models"),
        *("target_equity", "target_bond", "target_cash"),
        *[f"z_{name}" for name in FEATURE_NAMES],
    )


DECISION_COLUMNS: Final = decision_columns(Allocations.of(None))
"""Columns of a table of decisions on the eight allocations."""
ORDER_FACTS: Final = ("size", "price", "filled_on", "status", "slippage")


def step_columns(n_steps: int, allocations: Allocations | None = None) -> list[str]:
    """Return the names of the probabilities after each of `n_steps` passes.

    Examples
    --------
    >>> step_columns(2)[-1]
    'step2_prob_tactical_opportunity'
    """
    table = allocations or Allocations.of(None)
    steps = range(1, n_steps + 1)
    return [name for step in steps for name in table.columns(f"step{step}_prob")]


def decision_table(
    decisions: Sequence[Decision],
    rows: Sequence[FloatFeatures],
    targets: Sequence[tuple[float, float]] | FloatArray,
    schema: FeatureSchema,
) -> pd.DataFrame:
    """Return a row per decision.

    Parameters
    ----------
    decisions : sequence of n_decisions Decision
        What a policy decided, oldest first.
    rows : sequence of n_decisions ndarrays of shape (n_features,)
        The features it saw.
    targets : sequence of n_decisions (float, float), or ndarray of that shape
        Weights of equity and bond in force after each; those held, where none were
        ever decided.
    schema : FeatureSchema
        What the features are made of, and the allocations; kept in
        ``attrs["feature_schema"]``.

    Returns
    -------
    DataFrame of shape (n_decisions, n_columns)
        Columns `decision_columns`, then `step_columns` up to the most steps that any
        decision took; NaN where a policy gives no z-scores, or had halted.
    """
    n, table = len(decisions), schema.table
    weights = np.reshape(targets, (n, len(ASSETS)))
    names = [
        None if d.allocation is None else table.names[d.allocation] for d in decisions
    ]
    columns = [
        pd.DatetimeIndex([d.decided_on for d in decisions]).as_unit("ns"),
        *np.reshape(rows, (n, len(FEATURE_NAMES))).T,
        *np.reshape([d.probabilities for d in decisions], (n, len(table))).T,
        [d.confidence for d in decisions],
        [d.halt_prob for d in decisions],
        [d.n_steps for d in decisions],
        pd.array([d.allocation for d in decisions], dtype="Int64"),
        pd.array(names, dtype="string"),
        pd.array([d.decided_by for d in decisions], dtype="string"),
        pd.array([d.model for d in decisions], dtype="string"),
        [d.n_models for d in decisions],
        *weights.T,
        1.0 - weights.sum(axis=1),
        *_z_scores(decisions).T,
    ]
    frame = pd.DataFrame(dict(zip(decision_columns(table), columns, strict=True)))
    steps = _step_probabilities(decisions, len(table))
    names_of_steps = step_columns(steps.shape[1] // len(table), table)
    frame = frame.join(pd.DataFrame(steps, columns=names_of_steps))
    frame.attrs["feature_schema"] = schema.model_dump(mode="json")
    return frame


def with_orders(decisions: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    """Add the orders, fills and slippage of each decision.

    Parameters
    ----------
    decisions : DataFrame of shape (n_decisions, n_columns)
        A decision table.
    orders : DataFrame of shape (n_orders, n_order_columns)
        Orders of the same run, columns `ORDER_COLUMNS`.

    Returns
    -------
    DataFrame of shape (n_decisions, n_columns + 10)
        With columns `<asset>_size`, `_price`, `_filled_on`, `_status` and `_slippage`
        for equity and bond; missing where nothing was ordered. Of several orders for
        one asset (a remainder, a second try) the last one is shown.
    """
    table = decisions.set_index("session")
    for asset in ASSETS:
        facts = orders[orders["asset"] == asset].drop_duplicates(
            "decided_on", keep="last"
        )
        facts = facts.set_index("decided_on")[list(ORDER_FACTS)]
        table = table.join(facts.add_prefix(f"{asset}_"))
    joined = table.reset_index()
    joined.attrs = decisions.attrs
    return joined


def _z_scores(decisions: Sequence[Decision]) -> FloatSessionsByFeature:
    """Return standardised features, shape (n, n_features), NaN where there are none."""
    unknown = np.full(len(FEATURE_NAMES), np.nan)
    scores = [unknown if d.z_scores is None else d.z_scores for d in decisions]
    return np.reshape(scores, (len(decisions), len(FEATURE_NAMES)))


def _step_probabilities(
    decisions: Sequence[Decision], n_allocations: int
) -> FloatArray:
    """Return probabilities after each step, shape (n, n_steps x n_allocations)."""
    by_decision = [d.step_probabilities for d in decisions]
    n_steps = max((len(steps) for steps in by_decision if steps is not None), default=0)
    filled = np.full((len(by_decision), n_steps, n_allocations), np.nan)
    for row, steps in enumerate(by_decision):
        if steps is not None:
            filled[row, : len(steps)] = steps
    return filled.reshape(len(by_decision), n_steps * n_allocations)
