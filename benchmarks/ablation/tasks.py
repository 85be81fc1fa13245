"""One training of one variant on one fold, and the order of them all."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.ablation.answers import Answers, answer_trm
from benchmarks.ablation.folds import LAST_DAY, Fold, make_folds
from benchmarks.ablation.measures import measure
from benchmarks.ablation.rivals import (
    answer_lightgbm,
    answer_logistic,
    answer_majority,
    answer_mlp,
)
from benchmarks.ablation.variants import NETWORKS, PAPER, RIVALS, Kind, Variant
from trm_bt import load_bars
from trm_bt.config import LabelConfig, TRMConfig
from trm_bt.learning.dataset import Samples, samples_from_labels, split_chronologically
from trm_bt.learning.unfinished import fingerprint
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels

ANSWER: dict[Kind, Callable[[Samples, Samples, np.ndarray, TRMConfig], Answers]] = {
    "trm": answer_trm,
    "mlp": answer_mlp,
    "lightgbm": answer_lightgbm,
    "logistic": answer_logistic,
    "majority": answer_majority,
}


@dataclass(frozen=True)
class Task:
    """One training: a variant, a seed, a fold."""

    variant: Variant
    seed: int
    fold: Fold

    @property
    def file_name(self) -> str:
        """Where its result goes."""
        return f"{self.variant.name}-{self.seed}-{self.fold.name}.json"


def plan(fold_of: Callable[[LabelConfig], list[Fold]], n_seeds: int) -> Iterator[Task]:
    """Yield every training in the order in which they are worth most."""
    for variants in (RIVALS, NETWORKS, (PAPER,)):
        for seed in range(n_seeds):
            for variant in variants:
                if seed and not variant.is_random:
                    continue
                for fold in fold_of(variant.config(seed).labels):
                    yield Task(variant, seed, fold)


def do(task: Task) -> dict[str, Any]:
    """Train and judge, in a process of its own."""
    config = task.variant.config(task.seed)
    old, new = split_chronologically(
        task.fold.known, config.training.validation_fraction
    )
    begun = time.process_time()
    answers = ANSWER[task.variant.kind](old, new, task.fold.test.features, config)
    cpu_seconds = time.process_time() - begun
    return {
        "variant": task.variant.name,
        "seed": task.seed,
        "fold": task.fold.name,
        "changes": task.variant.changes,
        "n_train": len(old),
        "n_validation": len(new),
        "cpu_seconds": round(cpu_seconds, 2),
        **measure(answers, task.fold.test, config.labels.horizon),
    }


def load_folds(source: str) -> Callable[[LabelConfig], list[Fold]]:
    """Return a function from label settings to folds, all on the same sessions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bars = load_bars(source, end=LAST_DAY)
    features = compute_features(bars)

    @cache
    def label(config: LabelConfig) -> Samples:
        return samples_from_labels(compute_labels(bars, features, config))

    @cache
    def folds(config: LabelConfig) -> list[Fold]:
        return make_folds(label(config), label(LabelConfig()))

    return folds


def mark_of(folds: Sequence[Fold]) -> str:
    """Return a digest of all rows and shipped settings, and of the version of torch."""
    parts = (folds[-1].known, *(fold.test for fold in folds))
    return "".join(fingerprint(part, TRMConfig(), "ablation") for part in parts)
