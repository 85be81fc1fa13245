"""What decisions on test rows came to, and what that is over folds and seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ablation.answers import Answers
from benchmarks.ablation.variants import Variant
from trm_bt.config import TrainingConfig
from trm_bt.learning.dataset import Samples
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.utility import decided_utilities, session_utilities

COST_BPS = 5.0
N_BLOCK = 20
FIGURES = ("accuracy", "log_loss", "utility", "net_utility", "regret")
"""Means over test rows; utilities and regret are decimals per session."""


def measure(answers: Answers, test: Samples, horizon: int) -> dict[str, Any]:
    """Return what the most probable allocation of each test row came to.

    Parameters
    ----------
    answers : Answers
        Log-probabilities of the test rows.
    test : Samples
        The rows, oldest first, labelled by the seed preset.
    horizon : int
        Sessions that their returns took.

    Returns
    -------
    dict
        `n_rows`, the means of `FIGURES`, `mean_steps` and `n_parameters`; `n_decided`,
        the rows for each class index; `decisions`, the class index of each row, a
        digit a row.
    """
    rows = np.arange(len(test))
    choices = answers.log_probabilities.argmax(axis=1)
    gross, net = TrainingConfig(), TrainingConfig(turnover_cost_bps=COST_BPS)
    utilities = session_utilities(test.returns, horizon, gross)
    chosen = decided_utilities(utilities, choices, gross)
    return {
        "n_rows": len(test),
        "accuracy": float((choices == test.winners).mean()),
        "log_loss": float(-answers.log_probabilities[rows, test.winners].mean()),
        "utility": float(chosen.mean()),
        "net_utility": float(decided_utilities(utilities, choices, net).mean()),
        "regret": float((utilities.max(axis=1) - chosen).mean()),
        "mean_steps": answers.mean_steps,
        "n_parameters": answers.n_parameters,
        "n_decided": np.bincount(choices, minlength=len(ALLOCATION_NAMES)).tolist(),
        "decisions": "".join(map(str, choices)),
    }


def pool_folds(results: Sequence[dict[str, Any]], n_folds: int) -> pd.DataFrame:
    """Join the folds of each variant and seed as if they were one test span.

    Parameters
    ----------
    results : sequence of dict
        What `measure` returned, with `variant`, `seed`, `fold` and `cpu_seconds`.
    n_folds : int
        Folds that a seed needs; seeds with fewer are left out.

    Returns
    -------
    DataFrame of shape (n_variants * n_seeds, n_columns)
        Index: variant, seed. The `FIGURES`, `mean_steps` and `top_share`, the share of
        the most frequent decision, over all test rows; `cpu_seconds`, a mean over the
        trainings; `n_parameters`.
    """
    pooled = {}
    frame = pd.DataFrame(results)
    for key, folds in frame.groupby(["variant", "seed"], sort=False):
        if len(folds) < n_folds:
            continue
        n_decided = np.sum(folds["n_decided"].tolist(), axis=0)
        means = {
            name: np.average(folds[name].astype(float), weights=folds["n_rows"])
            for name in (*FIGURES, "mean_steps")
        }
        pooled[key] = {
            **means,
            "top_share": n_decided.max() / n_decided.sum(),
            "cpu_seconds": folds["cpu_seconds"].mean(),
            "n_parameters": folds["n_parameters"].astype(float).iloc[0],
        }
    index = pd.MultiIndex.from_tuples(list(pooled), names=["variant", "seed"])
    return pd.DataFrame(list(pooled.values()), index=index)


def spread_over_seeds(pooled: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over the seeds of each variant.

    Parameters
    ----------
    pooled : DataFrame
        What `pool_folds` returns.

    Returns
    -------
    DataFrame of shape (n_variants, 2 * n_columns + 1)
        Columns `(figure, "mean")` and `(figure, "std")`, the latter NaN where there is
        one seed, and `("n_seeds", "")`.
    """
    groups = pooled.groupby(level="variant", sort=False)
    table = groups.agg(["mean", "std"])
    table["n_seeds"] = groups.size()
    return table


def differences(pooled: pd.DataFrame, variant: Variant, base: str) -> pd.DataFrame:
    """Return the figures of a variant less those of another, seed by seed.

    Parameters
    ----------
    pooled : DataFrame
        What `pool_folds` returns.
    variant : Variant
        What to compare; if it has no seeds, its figures hold for every seed.
    base : str
        Name of the variant to compare with.

    Returns
    -------
    DataFrame of shape (n_seeds, n_columns)
        Over the seeds that both have; empty where there is none.
    """
    variants = pooled.index.get_level_values("variant")
    one, other = (
        pooled[variants == name].droplevel("variant") for name in (variant.name, base)
    )
    if not variant.is_random and len(one):
        one = pd.DataFrame([one.iloc[0]] * len(other), index=other.index)
    shared = one.index.intersection(other.index)
    return one.loc[shared] - other.loc[shared]


def fixed_allocations(test: Sequence[Samples], horizon: int) -> pd.DataFrame:
    """Return what each allocation was worth if it was held throughout.

    Parameters
    ----------
    test : sequence of Samples
        Test rows of each fold, oldest first.
    horizon : int
        Sessions that their returns took.

    Returns
    -------
    DataFrame of shape (8, n_folds + 3)
        Index: allocation name. `win_share` and `utility` over all rows, in decimals;
        `standard_error` of that utility; then the utility of each fold, by position.

    Notes
    -----
    Outcomes of neighbouring rows overlap. The standard error is that of the means of
    blocks of `N_BLOCK` rows, a short last one left out, taken as independent.
    """
    spans = [
        session_utilities(part.returns, horizon, TrainingConfig()) for part in test
    ]
    winners = np.concatenate([part.winners for part in test])
    every = np.concatenate(spans)
    n_blocks = len(every) // N_BLOCK
    blocks = every[: n_blocks * N_BLOCK].reshape(n_blocks, N_BLOCK, -1).mean(axis=1)
    n_wins = np.bincount(winners, minlength=len(ALLOCATION_NAMES))
    columns: dict[object, np.ndarray] = {
        "win_share": n_wins / len(winners),
        "utility": every.mean(axis=0),
        "standard_error": blocks.std(axis=0, ddof=1) / np.sqrt(n_blocks),
        **{i: span.mean(axis=0) for i, span in enumerate(spans)},
    }
    return pd.DataFrame(columns, index=list(ALLOCATION_NAMES))
