"""What a training leaves behind: the model, its figures, and news on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, Field, model_validator
from torch import Tensor

from trm_bt.config import TRMConfig
from trm_bt.fields import Day, PooledRows
from trm_bt.learning.dataset import Scaler
from trm_bt.market.features import FeatureSchema


class EpochRecord(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What one epoch came to; losses are means, utilities decimals per session."""

    epoch: int
    n_optimizer_steps: int
    learning_rate: float
    train_loss: float
    train_strategy_loss: float
    train_halt_loss: float
    train_profit_loss: float
    validation_loss: float
    validation_accuracy: float
    validation_utility: float
    validation_mean_steps: float


class TrainingRecord(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How a model was trained, on what span, and how it fared on validation.

    Parameters
    ----------
    train_start, train_end, validation_start, validation_end : date
        First and last deciding session of the training and of the validation rows of
        the universe that is decided.
    last_label_known_on : date
        Session on which the last outcome that training or validation saw was known;
        decisions up to and including it are in sample.
    n_train, n_validation, n_purged : int
        Rows to train on, of all universes; validated on; and dropped between.
    n_visited : int
        Training rows that had gone through the network by the end of the kept epoch.
    batch_size : int
        Rows of the largest batch.
    n_planned_steps, n_optimizer_steps : int
        Optimiser steps the schedule was laid out for, and those made.
    best_epoch : int
        Epoch whose averaged parameters were kept, from 1.
    majority_accuracy : float
        Accuracy on the validation rows of always naming their most frequent winner.
    best_fixed_utility : float
        Mean utility per session over the validation rows of the best single
        allocation, chosen with hindsight.
    history : tuple of EpochRecord
        All epochs made.
    temperature : float or None
        What makes its probabilities as sure as they were right on the validation rows,
        for reports alone: it changes no decision. Earlier records have none.
    n_effective : float or None
        What the rows to train on count for where several universes are pooled.
    pooled : tuple of PooledRows
        What each further universe gave.
    """

    train_start: Day
    train_end: Day
    validation_start: Day
    validation_end: Day
    last_label_known_on: Day
    n_train: int
    n_validation: int
    n_purged: int
    n_visited: int
    batch_size: int
    n_planned_steps: int
    n_optimizer_steps: int
    best_epoch: int
    majority_accuracy: float
    best_fixed_utility: float
    history: tuple[EpochRecord, ...]
    temperature: float | None = Field(
        None, gt=0, exclude_if=lambda value: value is None
    )
    n_effective: float | None = Field(None, exclude_if=lambda value: value is None)
    pooled: tuple[PooledRows, ...] = Field((), exclude_if=lambda rows: rows == ())

    @model_validator(mode="after")
    def _check_best_epoch(self) -> Self:
        if not 1 <= self.best_epoch <= len(self.history):
            raise ValueError(
                f"`best_epoch` must lie in 1..{len(self.history)}, the epochs made, "
                f"got {self.best_epoch}"
            )
        return self

    @property
    def best(self) -> EpochRecord:
        """The epoch whose parameters were kept."""
        return self.history[self.best_epoch - 1]


@dataclass(frozen=True)
class TrainedModel:
    """A model with all that is needed to use, judge and store it.

    Parameters
    ----------
    name : str
        What the model is called in logs and folders.
    config : TRMConfig
        Every setting, the seed among them.
    schema : FeatureSchema
        What the feature rows meant.
    scaler : Scaler
        Standardisation, fitted on the training rows only.
    parameters : dict of str to Tensor
        State of `TinyRecursiveModel`: averaged parameters of the best epoch.
    record : TrainingRecord
        Spans, counts and figures.
    """

    name: str
    config: TRMConfig
    schema: FeatureSchema
    scaler: Scaler
    parameters: dict[str, Tensor]
    record: TrainingRecord


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands after an optimiser step.

    Parameters
    ----------
    name : str
        Name of the model.
    step, total_steps : int
        Passes done and planned; early stopping may end before.
    epoch : int
        Current epoch, from 1.
    loss : float
        Training loss of this step.
    finished : EpochRecord or None
        What the epoch came to, once it is over.
    majority_accuracy, best_fixed_utility : float
        What its validation figures are held against; see `TrainingRecord`.
    """

    name: str
    step: int
    total_steps: int
    epoch: int
    loss: float
    finished: EpochRecord | None
    majority_accuracy: float
    best_fixed_utility: float


ProgressCallback = Callable[[TrainingProgress], None]
