"""One training of one candidate on one fold, and what it says about the test rows."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ablation.answers import answer_trm
from benchmarks.ablation.folds import Fold
from benchmarks.ablation.variants import Variant
from trm_bt.learning.dataset import split_chronologically


@dataclass(frozen=True)
class Training:
    """A candidate, a seed, a fold."""

    candidate: Variant
    seed: int
    fold: Fold

    @property
    def file_name(self) -> str:
        """Where its result goes."""
        return f"{self.candidate.name}-{self.seed}-{self.fold.name}.json"

    @property
    def changes(self) -> Mapping[str, Mapping[str, object]]:
        """Settings that differ from the shipped ones."""
        return self.candidate.changes


def do(training: Training) -> dict[str, Any]:
    """Train and decide, in a process of its own."""
    config = training.candidate.config(training.seed)
    known, window = training.fold.known, config.walkforward.window
    if window is not None:
        known = known.where(np.arange(len(known)) >= len(known) - window)
    old, new = split_chronologically(known, config.training.validation_fraction)
    begun = time.process_time()
    answers = answer_trm(old, new, training.fold.test.features, config)
    return {
        "candidate": training.candidate.name,
        "seed": training.seed,
        "fold": training.fold.name,
        "changes": training.changes,
        "cpu_seconds": round(time.process_time() - begun, 2),
        "mean_steps": answers.mean_steps,
        "probabilities": np.exp(answers.log_probabilities).round(9).tolist(),
    }
