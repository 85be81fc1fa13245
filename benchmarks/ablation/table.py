"""The tables of docs/ablation.md, from the results of trainings."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import markdown
from benchmarks.ablation.folds import TEST_SPANS, Fold
from benchmarks.ablation.measures import (
    differences,
    fixed_allocations,
    pool_folds,
    spread_over_seeds,
)
from benchmarks.ablation.variants import VARIANTS
from trm_bt.config import LabelConfig

_BASE: Final = "full"
_PERCENT, _BASIS_POINTS = 1e2, 1e4

_FORMS: Final[dict[str, tuple[str, float, int]]] = {
    "accuracy": ("accuracy, %", _PERCENT, 1),
    "log_loss": ("log loss", 1.0, 3),
    "utility": ("utility, bp", _BASIS_POINTS, 2),
    "net_utility": ("net of cost, bp", _BASIS_POINTS, 2),
    "regret": ("regret, bp", _BASIS_POINTS, 2),
    "top_share": ("most frequent, %", _PERCENT, 0),
    "mean_steps": ("steps", 1.0, 2),
}
"""Title, factor and decimals of each figure with a spread."""


def render(results: Sequence[dict[str, Any]], folds: Sequence[Fold]) -> str:
    """Return the four tables in Markdown.

    Parameters
    ----------
    results : sequence of dict
        What trainings came to; seeds that lack a fold are left out.
    folds : sequence of Fold
        The folds with the labels that are judged by.
    """
    pooled = pool_folds(results, len(TEST_SPANS))
    settings = {result["variant"] for result in results}
    seeds = {(result["variant"], result["seed"]) for result in results}
    blocks = [
        f"{len(results)} trainings of {len(settings)} settings; {len(pooled)} of "
        f"{len(seeds)} seeds have every fold.",
        _main_table(pooled),
        _difference_table(pooled),
        _fold_table(results),
        _fixed_table(folds),
    ]
    return "\n\n".join(blocks) + "\n"


def _main_table(pooled: pd.DataFrame) -> str:
    """One row a variant: mean and deviation over its seeds."""
    table = spread_over_seeds(pooled)
    titles = [title for title, _, _ in _FORMS.values()]
    lines = markdown.header(["", "seeds", *titles, "parameters", "CPU s"])
    for variant in VARIANTS:
        if variant.name not in table.index:
            continue
        row = table.loc[variant.name]
        figures = [
            _with_spread(row[name, "mean"], row[name, "std"], *form)
            for name, (_, *form) in _FORMS.items()
        ]
        n_parameters = row["n_parameters", "mean"]
        size = "" if np.isnan(n_parameters) else f"{n_parameters:,.0f}"
        seconds = f"{row['cpu_seconds', 'mean']:.1f}"
        n_seeds = f"{row['n_seeds', '']:.0f}"
        lines.append(markdown.row([variant.words, n_seeds, *figures, size, seconds]))
    return "\n".join(lines)


def _difference_table(pooled: pd.DataFrame) -> str:
    """One row a variant: how far it is from the shipped network, seed by seed."""
    names = ("accuracy", "log_loss", "utility", "net_utility")
    titles = [_FORMS[name][0] for name in names]
    lines = markdown.header(
        ["less the shipped network", "seeds", *titles, "log loss lower in"]
    )
    for variant in VARIANTS:
        if variant.name == _BASE:
            continue
        apart = differences(pooled, variant, _BASE)
        if apart.empty:
            continue
        figures = [
            _with_spread(
                apart[name].mean(), apart[name].std(), *_FORMS[name][1:], sign="+"
            )
            for name in names
        ]
        n_better = f"{(apart['log_loss'] < 0).sum()} of {len(apart)}"
        lines.append(markdown.row([variant.words, str(len(apart)), *figures, n_better]))
    return "\n".join(lines)


def _fold_table(results: Sequence[dict[str, Any]]) -> str:
    """One row a fold: the shipped network beside the most frequent winner."""
    frame = pd.DataFrame(results)
    names = ("accuracy", "log_loss", "utility", "net_utility")
    titles = [_FORMS[name][0] for name in names]
    lines = markdown.header(["test span", "rows", "", *titles])
    for (fold, name), part in frame.groupby(["fold", "variant"], sort=False):
        if name not in (_BASE, "majority"):
            continue
        figures = [
            _with_spread(part[key].mean(), part[key].std(), *_FORMS[key][1:])
            for key in names
        ]
        who = "network" if name == _BASE else "majority"
        lines.append(markdown.row([fold, str(part["n_rows"].iloc[0]), who, *figures]))
    return "\n".join([*lines[:2], *sorted(lines[2:])])


def _fixed_table(folds: Sequence[Fold]) -> str:
    """One row an allocation: how often it wins, and what it is worth if always held."""
    horizon = LabelConfig().horizon
    table = fixed_allocations([fold.test for fold in folds], horizon)
    titles = ["always", "wins, %", "utility, bp", *(fold.name for fold in folds)]
    lines = markdown.header(titles)
    for name, row in table.iterrows():
        figures = [
            _with_spread(row["utility"], row["standard_error"], _BASIS_POINTS, 2),
            *(f"{row[i] * _BASIS_POINTS:.2f}" for i in range(len(folds))),
        ]
        lines.append(
            markdown.row([str(name), f"{row['win_share'] * _PERCENT:.1f}", *figures])
        )
    return "\n".join(lines)


def _with_spread(
    mean: float, std: float, factor: float, n_decimals: int, *, sign: str = ""
) -> str:
    """Write a mean, and its deviation where there are several seeds."""
    if np.isnan(mean):
        return ""
    words = f"{mean * factor:{sign}.{n_decimals}f}"
    return words if np.isnan(std) else f"{words} ± {std * factor:.{n_decimals}f}"
