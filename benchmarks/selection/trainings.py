"""One training of one candidate on one fold, and what it says about the test rows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ablation.answers import answer_trm
from benchmarks.ablation.folds import Fold
from benchmarks.selection import devices
from benchmarks.selection.candidates import Candidate
from trm_bt.learning.dataset import split_chronologically


@dataclass(frozen=True)
class Training:
    """A candidate, a seed, a fold to learn from, and the folds to decide, in order."""

    candidate: Candidate
    seed: int
    fold: Fold
    decided: tuple[Fold, ...]

    @property
    def file_name(self) -> str:
        """Where its result goes."""
        return f"{self.candidate.name}-{self.seed}-{self.fold.name}.json"

    @property
    def changes(self) -> Mapping[str, Mapping[str, object]]:
        """Settings that differ from the shipped ones."""
        return self.candidate.changes


def trainings_of(
    candidate: Candidate, seed: int, folds: Sequence[Fold]
) -> list[Training]:
    """Return the trainings of a candidate and a seed, one a fold.

    Each decides its own span; where models are pooled, all the later ones too.
    """
    last = len(folds) if candidate.device == "pooled" else 1
    return [
        Training(candidate, seed, fold, tuple(folds[i : i + last]))
        for i, fold in enumerate(folds)
    ]


def do(training: Training) -> dict[str, Any]:
    """Train and decide, in a process of its own."""
    begun = time.process_time()
    probabilities, mean_steps = _answers(training)
    return {
        "candidate": training.candidate.name,
        "seed": training.seed,
        "fold": training.fold.name,
        "changes": training.changes,
        "cpu_seconds": round(time.process_time() - begun, 2),
        "mean_steps": mean_steps,
        "probabilities": probabilities.round(9).tolist(),
    }


def _answers(training: Training) -> tuple[np.ndarray, float | None]:
    """Return probabilities of the rows to decide, and the steps that they took."""
    candidate, fold = training.candidate, training.fold
    config = candidate.config(training.seed)
    if candidate.device == "rolling":
        fold = devices.rolling(fold)
    if candidate.device == "robust":
        fold = devices.robust(fold)
    known, window = fold.known, config.walkforward.window
    if window is not None:
        known = known.where(np.arange(len(known)) >= len(known) - window)
    old, new = split_chronologically(known, config.training.validation_fraction)
    rows = fold.test.features
    if candidate.device == "pooled":
        rows = np.concatenate([one.test.features for one in training.decided])
    if candidate.device == "monotone":
        points = devices.grid(rows, old.features)
        rows = points.reshape(-1, rows.shape[1])
    if candidate.device == "shrunk":
        rows = np.concatenate([new.features, rows])
    answers = answer_trm(old, new, rows, config)
    said = np.exp(answers.log_probabilities)
    if candidate.device == "monotone":
        said = devices.rearranged(points, said.reshape(*points.shape[:2], -1))
    if candidate.device == "shrunk":
        said = devices.shrunk(said[len(new) :], said[: len(new)], old, new)
    return said, answers.mean_steps
