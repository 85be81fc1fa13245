"""Train one Tiny Recursive Model on the labels known by some session.

Everything random comes from one numpy generator and the parameters' seed, so equal
samples, settings and thread count give equal bits; global generators are untouched.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from trm_bt.config import TrainingConfig, TRMConfig
from trm_bt.errors import TRMError
from trm_bt.learning.dataset import Samples, Scaler, split_chronologically
from trm_bt.learning.gradfilter import GrokFastFilter
from trm_bt.learning.losses import Losses, three_part_loss, utility_scale
from trm_bt.learning.model import Pass, TinyRecursiveModel
from trm_bt.learning.records import (
    EpochRecord,
    Progress,
    ProgressCallback,
    TrainedModel,
    TrainingRecord,
)
from trm_bt.learning.schedule import average_decay, batch_rows, learning_rate
from trm_bt.learning.threads import cpu_threads
from trm_bt.market.features import FeatureSchema


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
    latent carried detached; every pass has its loss and its optimiser step. An epoch
    is a sweep over the training rows or `max_batches_per_epoch` batches of it,
    whichever is shorter; the next epoch goes on where it stopped, so every row is
    visited before one is visited again. The averaged parameters are validated after
    every epoch.
    """
    with cpu_threads(config.training.num_threads):
        rows = _split(samples, config.training)
        fit = _Fit(config, len(rows.training.winners))
        history: list[EpochRecord] = []
        best, best_parameters = 0, fit.averaged_parameters()
        for epoch in range(1, config.training.epochs + 1):
            losses = _train_epoch(fit, rows.training, name, history, progress)
            _check_finite(name, fit, float(losses.sum()))
            history.append(_validate(fit, rows, epoch, losses, name))
            if epoch == 1 or (
                history[-1].validation_loss < history[best].validation_loss
            ):
                best, best_parameters = epoch - 1, fit.averaged_parameters()
            elif epoch - 1 - best >= config.training.patience:
                break
    record = _record(samples, rows, fit, history, best + 1)
    return TrainedModel(name, config, schema, rows.scaler, best_parameters, record)


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
        self.parameters: list[Tensor] = list(self.model.parameters())
        self.averages: list[Tensor] = list(self.average.parameters())
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
        self.epoch_batches = min(self.n_batches, self.config.max_batches_per_epoch)
        self.steps_per_epoch = self.epoch_batches * self.config.n_supervision_steps
        self.total_steps = self.config.epochs * self.steps_per_epoch
        self.step = 0
        self._sweeps = self._batches()

    def epoch(self) -> Iterator[Tensor]:
        """Yield the row positions of the next epoch's batches."""
        return islice(self._sweeps, self.epoch_batches)

    def _batches(self) -> Iterator[Tensor]:
        """Sweep over shuffled rows for ever, in batches of nearly equal size."""
        while True:
            order = self.generator.permutation(self.n_train)
            yield from map(torch.from_numpy, np.array_split(order, self.n_batches))

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
    """Train on the next batches; return mean losses in `Losses` order."""
    sums = np.zeros(len(Losses._fields))
    accuracy = history[-1].validation_accuracy if history else None
    for batch in fit.epoch():
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
    return sums / fit.steps_per_epoch


def _check_finite(name: str, fit: _Fit, loss: float) -> None:
    """Stop a training that has diverged."""
    if not math.isfinite(loss):
        raise TRMError(
            f"The loss of model {name} must stay finite, got {loss} by optimiser step "
            f"{fit.step}. Lower `learning_rate`."
        )


def _validate(
    fit: _Fit, rows: _Rows, epoch: int, train_losses: np.ndarray, name: str
) -> EpochRecord:
    """Judge the averaged parameters on the validation rows."""
    data = rows.validation
    prediction = fit.average.predict(data.features)
    states = fit.average.initial_states(0)
    output = Pass(prediction.logits, prediction.halt_logits, states)
    losses = three_part_loss(output, data.winners, data.utilities, fit.config)
    _check_finite(name, fit, losses.total.item())
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
