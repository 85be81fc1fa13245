"""One training of one variant on one fold, and the order of them all."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ablation.answers import Answers, answer_trm
from benchmarks.ablation.folds import Fold
from benchmarks.ablation.measures import measure
from benchmarks.ablation.rivals import (
    answer_lightgbm,
    answer_logistic,
    answer_majority,
    answer_mlp,
)
from benchmarks.ablation.variants import NETWORKS, PAPER, RIVALS, Kind, Variant
from trm_bt.config import LabelConfig, TRMConfig
from trm_bt.learning.dataset import Samples, split_chronologically

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

    @property
    def changes(self) -> Mapping[str, Mapping[str, object]]:
        """Settings that differ from the shipped ones."""
        return self.variant.changes


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
