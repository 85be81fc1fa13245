"""What each crisis cost: figures of every strategy from the close before it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pandas as pd

from trm_bt.evaluation.metrics import max_drawdown, total_return

if TYPE_CHECKING:  # It loads torch, and a report needs only the name below.
    from trm_bt.evaluation.walkforward import CrisisPlan

OUT_OF_SAMPLE: Final = "out_of_sample"
"""What the continuous run is called where its rows stand beside a crisis's."""


def crisis_equity(
    plan: "CrisisPlan", equities: Mapping[str, pd.Series]
) -> pd.DataFrame:
    """Cut every strategy's portfolio value to one crisis.

    Parameters
    ----------
    plan : CrisisPlan
        A crisis with a model.
    equities : mapping of str to Series of shape (n_sessions,)
        Portfolio value at the closes by strategy, over at least the crisis.

    Returns
    -------
    DataFrame of shape (n_crisis_sessions + 1, n_strategies)
        From the base, the close before the crisis, to its last session.
    """
    return pd.DataFrame(
        {
            name: equity.loc[plan.base : plan.crisis.end]
            for name, equity in equities.items()
        }
    )


def summarize_crises(
    plans: Sequence["CrisisPlan"],
    equities: Mapping[str, pd.DataFrame],
    models: Mapping[str, Mapping[str, object]],
) -> list[dict[str, object]]:
    """Return one entry per crisis in date order, also for those without data.

    Parameters
    ----------
    plans : sequence of CrisisPlan
        All crises.
    equities : mapping of str to DataFrame
        By crisis name, what `crisis_equity` returns.
    models : mapping of str to mapping
        By crisis name, facts of the model that decided: `name`,
        `trained_from`, `trained_until` and `n_optimizer_steps`.

    Returns
    -------
    list of dict
        Keys name, start, end, sessions, covered, reason, model, trained_from,
        trained_until, n_optimizer_steps, total_return and max_drawdown; the last two
        map each strategy to a decimal and are null for a crisis without data.
    """
    return [
        _entry(plan, equities.get(plan.crisis.name), models.get(plan.crisis.name, {}))
        for plan in plans
    ]


def _entry(
    plan: "CrisisPlan", equity: pd.DataFrame | None, model: Mapping[str, object]
) -> dict[str, object]:
    crisis = plan.crisis
    figures = {"total_return": total_return, "max_drawdown": max_drawdown}
    return {
        "name": crisis.name,
        "start": crisis.start.date().isoformat(),
        "end": crisis.end.date().isoformat(),
        "sessions": None if equity is None else len(equity) - 1,
        "covered": equity is not None,
        "reason": plan.reason,
        "model": model.get("name"),
        "trained_from": model.get("trained_from"),
        "trained_until": model.get("trained_until"),
        "n_optimizer_steps": model.get("n_optimizer_steps"),
        **{
            key: None
            if equity is None
            else {name: figure(equity[name]) for name in equity}
            for key, figure in figures.items()
        },
    }
