"""Train one Tiny Recursive Model on the labels known by some session.

Everything random comes from one numpy generator and the parameters' seed, so equal
samples, settings and thread count give equal bits; global generators are untouched.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from trm_bt.config import TrainingConfig, TRMConfig
from trm_bt.errors import TRMError
from trm_bt.learning.dataset import Samples, Scaler, split_chronologically
from trm_bt.learning.gradfilter import GrokFastFilter
from trm_bt.learning.losses import Losses, three_part_loss, utility_scale
from trm_bt.learning.model import Pass, TinyRecursiveModel
from trm_bt.market.features import FeatureSchema

MIN_BATCH_ROWS: Final = 64
"""Below this a batch costs more in overhead than it saves in arithmetic."""


class EpochRecord(BaseModel):
    """What one epoch came to; losses are means, utilities decimals per decision."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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


class TrainingRecord(BaseModel):
    """How a model was trained, on what span, and how it fared on validation.

    Parameters
    ----------
    train_start, train_end, validation_start, validation_end : date
        First and last deciding session of the training and of the validation rows.
    last_label_known_on : date
        Session on which the last outcome that training or validation saw was known;
        decisions up to and including it are in sample.
    n_train, n_validation, n_purged : int
        Rows trained on, validated on, and dropped between.
    batch_size : int
        Rows of the largest batch.
    n_planned_steps, n_optimizer_steps : int
        Optimiser steps the schedule was laid out for, and those made.
    best_epoch : int
        Epoch whose averaged parameters were kept, from 1.
    majority_accuracy : float
        Accuracy on the validation rows of always naming their most frequent winner.
    best_fixed_utility : float
        Mean return over the validation rows of the best single allocation.
    history : tuple of EpochRecord
        All epochs made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    train_start: date
    train_end: date
    validation_start: date
    validation_end: date
    last_label_known_on: date
    n_train: int
    n_validation: int
    n_purged: int
    batch_size: int
    n_planned_steps: int
    n_optimizer_steps: int
    best_epoch: int
    majority_accuracy: float
    best_fixed_utility: float
    history: tuple[EpochRecord, ...]

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
class Progress:
    """Where a training stands after an optimiser step.

    Parameters
    ----------
    name : str
        Name of the model.
    step, total_steps : int
        Optimiser steps made and planned; early stopping may end before.
    epoch : int
        Current epoch, from 1.
    loss : float
        Training loss of this step.
    validation_accuracy : float or None
        Accuracy after the last whole epoch.
    """

    name: str
    step: int
    total_steps: int
    epoch: int
    loss: float
    validation_accuracy: float | None


ProgressCallback = Callable[[Progress], None]


def train(
    samples: Samples,
    schema: FeatureSchema,
    config: TRMConfig,
    *,
    name: str,
    progress: ProgressCallback | None = None,
) -> TrainedModel:
    """Train a model on `samples`, validating on the newest of them.

    Parameters
    ----------
    samples : Samples
        All rows the model may see; the newest `validation_fraction` validate, purged.
    schema : FeatureSchema
        What the features mean.
    config : TRMConfig
        Model and training settings and the seed.
    name : str
        What to call the model.
    progress : callable, optional
        Called after every optimiser step.

    Returns
    -------
    TrainedModel
        Averaged parameters of the epoch with the lowest validation loss.

    Raises
    ------
    BarsError
        If there are too few rows.
    TRMError
        If the loss stops being finite.

    Notes
    -----
    Each batch is passed through the network `n_supervision_steps` times, answer and
    latent carried detached; every pass has its loss and its optimiser step.
    """
    with cpu_threads(config.training.num_threads):
        rows = _split(samples, config.training)
        fit = _Fit(config, len(rows.training.winners))
        history: list[EpochRecord] = []
        best, best_parameters = 0, fit.averaged_parameters()
        for epoch in range(1, fit.n_epochs + 1):
            losses = _train_epoch(fit, rows.training, name, history, progress)
            history.append(_validate(fit, rows, epoch, losses))
            if epoch == 1 or (
                history[-1].validation_loss < history[best].validation_loss
            ):
                best, best_parameters = epoch - 1, fit.averaged_parameters()
            elif epoch - 1 - best >= config.training.patience:
                break
    record = _record(samples, rows, fit, history, best + 1)
    return TrainedModel(name, config, schema, rows.scaler, best_parameters, record)


@contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Have torch use `n_threads` inside the block, and as many as before after it."""
    n_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(n_before)


def batch_rows(n_train: int, config: TrainingConfig) -> int:
    """Return the rows of a batch, at most `batch_size`.

    A quarter of a small training set would make for too few steps: an epoch gets
    at least `min_batches_per_epoch` batches, as long as they keep 64 rows.

    Examples
    --------
    >>> [batch_rows(n, TrainingConfig(batch_size=768)) for n in (100, 1_440, 50_000)]
    [64, 120, 768]
    """
    by_count = math.ceil(n_train / config.min_batches_per_epoch)
    return min(config.batch_size, max(MIN_BATCH_ROWS, by_count))


def learning_rate(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Return the rate of a step, from 0: linear warm-up, then a cosine to zero."""
    n_warmup = min(
        math.ceil(config.warmup_fraction * total_steps), config.max_warmup_steps
    )
    if step < n_warmup:
        return config.learning_rate * (step + 1) / n_warmup
    share = (step - n_warmup) / max(total_steps - n_warmup, 1)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def average_decay(step: int, config: TrainingConfig) -> float:
    """Return the decay of the parameter average at a step, from 0.

    It rises from 0.1 to `ema_decay`, so that the average of a short run is not mostly
    initialisation.
    """
    return min(config.ema_decay, (1 + step) / (10 + step))


@dataclass(frozen=True)
class _Tensors:
    """Rows as the network takes them: standardised, returns over their spread."""

    features: Tensor
    winners: Tensor
    utilities: Tensor


@dataclass(frozen=True)
class _Rows:
    """The two sides of the split, with what was fitted on the training side."""

    old: Samples
    new: Samples
    scaler: Scaler
    scale: float
    training: _Tensors
    validation: _Tensors


def _split(samples: Samples, config: TrainingConfig) -> _Rows:
    """Split, then fit scaler and utility scale on the training rows alone."""
    old, new = split_chronologically(samples, config.validation_fraction)
    scaler, scale = Scaler.fit(old.features), utility_scale(old.returns)

    def tensors(rows: Samples) -> _Tensors:
        return _Tensors(
            torch.from_numpy(scaler.transform(rows.features)),
            torch.from_numpy(rows.winners),
            torch.from_numpy((rows.returns / scale).astype(np.float32)),
        )

    return _Rows(old, new, scaler, scale, tensors(old), tensors(new))


class _Fit:
    """The moving parts of one training: network, optimiser, filter, average, steps."""

    def __init__(self, config: TRMConfig, n_train: int) -> None:
        self.config = config.training
        self.generator = np.random.default_rng(config.seed)
        self.model = TinyRecursiveModel(config.model, seed=config.seed)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.parameters = list(self.model.parameters())
        self.averages = list(self.average.parameters())
        self.filter = GrokFastFilter(
            self.config.grokfast_alpha, self.config.grokfast_lambda
        )
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            betas=(self.config.beta1, self.config.beta2),
            weight_decay=self.config.weight_decay,
            fused=True,
        )
        self.n_train = n_train
        self.n_batches = math.ceil(n_train / batch_rows(n_train, self.config))
        steps_per_epoch = self.n_batches * self.config.n_supervision_steps
        affordable = max(self.config.max_optimizer_steps // steps_per_epoch, 1)
        self.n_epochs = min(self.config.epochs, affordable)
        self.total_steps = self.n_epochs * steps_per_epoch
        self.step = 0

    def batches(self) -> list[np.ndarray]:
        """Shuffle the training rows into batches of nearly equal size."""
        order = self.generator.permutation(self.n_train)
        return np.array_split(order, self.n_batches)

    def update(self, loss: Tensor) -> None:
        """Go one optimiser step down the gradient of `loss`."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        self.filter.apply([p.grad for p in self.parameters if p.grad is not None])
        rate = learning_rate(self.step, self.total_steps, self.config)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        weight = 1 - average_decay(self.step, self.config)
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.parameters, weight)
        self.step += 1

    def averaged_parameters(self) -> dict[str, Tensor]:
        """Copy the averaged parameters."""
        return {k: v.clone() for k, v in self.average.state_dict().items()}


def _train_epoch(
    fit: _Fit,
    rows: _Tensors,
    name: str,
    history: list[EpochRecord],
    progress: ProgressCallback | None,
) -> np.ndarray:
    """Go once through the training rows; return mean losses in `Losses` order."""
    sums = np.zeros(len(Losses._fields))
    accuracy = history[-1].validation_accuracy if history else None
    for batch in map(torch.from_numpy, fit.batches()):
        features = rows.features[batch]
        winners, utilities = rows.winners[batch], rows.utilities[batch]
        states = None
        for _ in range(fit.config.n_supervision_steps):
            output = fit.model(features, states, dropout=fit.generator)
            losses = three_part_loss(output, winners, utilities, fit.config)
            fit.update(losses.total)
            states = output.states.detach()
            sums += [part.item() for part in losses]
            if progress is not None:
                loss, epoch = losses.total.item(), len(history) + 1
                progress(
                    Progress(name, fit.step, fit.total_steps, epoch, loss, accuracy)
                )
    if not np.isfinite(sums).all():
        raise TRMError(
            f"The training loss of {name} must stay finite, got {sums[0]} by optimiser "
            f"step {fit.step}. Lower `learning_rate`."
        )
    return sums / (fit.n_batches * fit.config.n_supervision_steps)


def _validate(
    fit: _Fit, rows: _Rows, epoch: int, train_losses: np.ndarray
) -> EpochRecord:
    """Judge the averaged parameters on the validation rows."""
    data = rows.validation
    prediction = fit.average.predict(data.features)
    states = fit.average.initial_states(0)
    output = Pass(prediction.logits, prediction.halt_logits, states)
    losses = three_part_loss(output, data.winners, data.utilities, fit.config)
    choices = prediction.logits.argmax(dim=1).numpy()
    earned = rows.new.returns[np.arange(len(choices)), choices]
    total, strategy, halt, profit = train_losses.tolist()
    return EpochRecord(
        epoch=epoch,
        n_optimizer_steps=fit.step,
        learning_rate=learning_rate(fit.step - 1, fit.total_steps, fit.config),
        train_loss=total,
        train_strategy_loss=strategy,
        train_halt_loss=halt,
        train_profit_loss=profit,
        validation_loss=losses.total.item(),
        validation_accuracy=float((choices == rows.new.winners).mean()),
        validation_utility=float(earned.mean()),
        validation_mean_steps=prediction.n_steps.double().mean().item(),
    )


def _record(
    samples: Samples,
    rows: _Rows,
    fit: _Fit,
    history: list[EpochRecord],
    best_epoch: int,
) -> TrainingRecord:
    """Gather spans, counts and baselines."""
    old, new = rows.old, rows.new
    return TrainingRecord(
        train_start=old.sessions[0].date(),
        train_end=old.sessions[-1].date(),
        validation_start=new.sessions[0].date(),
        validation_end=new.sessions[-1].date(),
        last_label_known_on=samples.known_on.max().date(),
        n_train=len(old),
        n_validation=len(new),
        n_purged=len(samples) - len(old) - len(new),
        batch_size=math.ceil(len(old) / fit.n_batches),
        n_planned_steps=fit.total_steps,
        n_optimizer_steps=fit.step,
        best_epoch=best_epoch,
        majority_accuracy=float(np.bincount(new.winners).max() / len(new)),
        best_fixed_utility=float(new.returns.mean(axis=0).max()),
        history=tuple(history),
    )
