"""The state of a training and the optimiser step that changes all of it.

References
----------
Lee, J. et al. (2024). Grokfast: Accelerated Grokking by Amplifying Slow Gradients.
arXiv:2405.20233.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trm_bt.config import TrainingConfig, TRMConfig
from trm_bt.learning.records import EpochRecord

MIN_BATCH_ROWS: Final = 128
"""Matrix products of smaller batches are slow."""

BATCHES_PER_SWEEP: Final = 48
"""Number of batches in a sweep over the training rows before the batches grow."""

_Net = TypeVar("_Net", bound=nn.Module)


def batch_rows(n_train: float, config: TrainingConfig) -> int:
    """Return the rows of a batch: a 48th of the rows, at least 128.

    `batch_size` is the upper limit.

    Examples
    --------
    >>> [batch_rows(n, TrainingConfig()) for n in (1_400, 12_000, 50_000)]
    [128, 250, 768]
    """
    by_count = math.ceil(n_train / BATCHES_PER_SWEEP)
    return min(config.batch_size, max(MIN_BATCH_ROWS, by_count))


def learning_rate(
    step: int, total_steps: int, config: TrainingConfig, *, is_constant: bool = False
) -> float:
    """Return the rate of a step, from 0: linear warm-up, then a cosine to zero.

    A constant rate stays where the warm-up ends.

    Examples
    --------
    >>> config = TrainingConfig(learning_rate=1.0)
    >>> [round(learning_rate(step, 20, config), 3) for step in (0, 1, 2, 11, 20)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    n_warmup = min(
        math.ceil(config.warmup_fraction * total_steps), config.max_warmup_steps
    )
    if step < n_warmup:
        return config.learning_rate * (step + 1) / n_warmup
    if is_constant:
        return config.learning_rate
    share = (step - n_warmup) / max(total_steps - n_warmup, 1)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def average_decay(step: int, config: TrainingConfig) -> float:
    """Return the decay of the parameter average at a step, from 0.

    It rises from 0.1 to `ema_decay`, so that the average of a short run is not mostly
    initialisation; a decay of 0 keeps the latest parameters.
    """
    return min(config.ema_decay, (1 + step) / (10 + step))


class GrokFastFilter:
    r"""The exponential form of the GrokFast filter.

    It amplifies the slow part of each gradient before the optimiser sees it.

    Parameters
    ----------
    alpha : float
        Momentum of the running mean, in [0, 1).
    lam : float
        Amplification of the running mean; 0 switches the filter off.

    Notes
    -----
    :math:`\mu \leftarrow \alpha \mu + (1 - \alpha) g`, then
    :math:`g \leftarrow g + \lambda \mu`; the first :math:`\mu` is g itself.
    """

    def __init__(self, alpha: float, lam: float) -> None:
        self.alpha = alpha
        self.lam = lam
        self.means: list[Tensor] = []

    def apply(self, gradients: Sequence[Tensor]) -> None:
        """Filter the gradients of one step in place.

        Parameters
        ----------
        gradients : sequence of Tensor of any shapes
            One a parameter, with the same shapes in the same order at every step.
        """
        if self.lam == 0:
            return
        if not self.means:
            self.means = [gradient.clone() for gradient in gradients]
        # One tensor after the other: the second operation finds it in the cache. The
        # first step moves each mean towards itself, which changes no bit.
        for mean, gradient in zip(self.means, gradients, strict=True):
            mean.lerp_(gradient, 1 - self.alpha)
            gradient.add_(mean, alpha=self.lam)


class Batches(Iterator[Tensor]):
    """Endless batches of row positions, of nearly equal size.

    Every row is visited before one is visited again. The order of a sweep is drawn
    when its first batch is requested.

    Parameters
    ----------
    n_rows, n_batches : int
        Rows, and batches in a sweep over them.
    generator : Generator
        Source of the orders.

    Attributes
    ----------
    order : ndarray of shape (n_rows,), int64
        Order of the current sweep.
    n_taken : int
        Batches taken from it.
    """

    def __init__(
        self, n_rows: int, n_batches: int, generator: np.random.Generator
    ) -> None:
        self.n_batches = n_batches
        self.generator = generator
        self.order = np.arange(n_rows)
        self.n_taken = n_batches

    def __next__(self) -> Tensor:
        """Return the row positions of the next batch, shape (n_batch_rows,)."""
        if self.n_taken == self.n_batches:
            self.order, self.n_taken = self.generator.permutation(len(self.order)), 0
        self.n_taken += 1
        batch = np.array_split(self.order, self.n_batches)[self.n_taken - 1]
        return torch.from_numpy(batch)


@dataclass
class Course:
    """How a training has gone so far.

    Parameters
    ----------
    history : list of EpochRecord
        All epochs made.
    best : int
        Position in `history` of the epoch with the lowest validation loss.
    best_parameters : dict of str to Tensor
        Averaged parameters after that epoch, in the shapes of the model.
    """

    history: list[EpochRecord]
    best: int
    best_parameters: dict[str, Tensor]

    def add(self, epoch: EpochRecord, parameters: dict[str, Tensor]) -> None:
        """Append an epoch; keep its parameters if it is the best so far."""
        self.history.append(epoch)
        best = self.history[self.best]
        if len(self.history) == 1 or epoch.validation_loss < best.validation_loss:
            self.best, self.best_parameters = len(self.history) - 1, parameters


class TrainingState(Generic[_Net]):
    """Network, averaged network, optimiser, filter, batches, counts and course.

    Parameters
    ----------
    config : TRMConfig
        Training settings, and the seed of everything that is drawn.
    n_train : int
        Training rows.
    model : Module
        The network to train, with its initial parameters.
    n_effective : float, optional
        What the rows count for, by which a batch is as large; by default their number.
    is_constant : bool
        Whether the learning rate stays constant after the warm-up.

    Attributes
    ----------
    model, average : Module
        The trained network, and the running average of its parameters.
    step : int
        Optimiser steps made.
    rate : float
        Learning rate of the last step made here.
    position : int
        Position in the schedule: the passes planned so far, including those saved by
        halting early.
    course : Course
        The epochs made.
    """

    def __init__(
        self,
        config: TRMConfig,
        n_train: int,
        model: _Net,
        *,
        n_effective: float | None = None,
        is_constant: bool = False,
    ) -> None:
        self.config = config.training
        self.generator = np.random.default_rng(config.seed)
        self.model = model
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.filter = GrokFastFilter(
            self.config.grokfast_alpha, self.config.grokfast_lambda
        )
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            betas=(self.config.beta1, self.config.beta2),
            weight_decay=self.config.weight_decay,
            fused=True,
        )
        n_counted = n_train if n_effective is None else n_effective
        n_batches = math.ceil(n_train / batch_rows(n_counted, self.config))
        self.largest_batch = math.ceil(n_train / n_batches)
        self.batches = Batches(n_train, n_batches, self.generator)
        self.epoch_batches = min(n_batches, self.config.max_batches_per_epoch)
        self.total_steps = (
            self.config.epochs * self.epoch_batches * self.config.n_supervision_steps
        )
        self.step = 0
        self.position = 0
        self.rate = 0.0
        self.course = Course([], 0, self.averaged_parameters())
        self._is_constant = is_constant
        self._parameters: list[Tensor] = list(self.model.parameters())
        self._averages: list[Tensor] = list(self.average.parameters())

    def n_visited(self, n_epochs: int) -> int:
        """Return how many training rows the first epochs visit at least once."""
        n_batches = self.batches.n_batches
        n_taken = min(n_epochs * self.epoch_batches, n_batches)
        n_rows = len(self.batches.order)
        # the first batches of a sweep have one row more where sizes cannot be equal
        return n_taken * (n_rows // n_batches) + min(n_taken, n_rows % n_batches)

    def update(self) -> None:
        """Make one optimiser step with the gradients gathered since the last one."""
        torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        self.filter.apply(gradients)
        self.rate = learning_rate(
            self.position, self.total_steps, self.config, is_constant=self._is_constant
        )
        self.optimizer.param_groups[0]["lr"] = self.rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        weight = 1 - average_decay(self.step, self.config)
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._parameters, weight)
        self.step += 1

    def averaged_parameters(self) -> dict[str, Tensor]:
        """Copy averaged parameters and constants, by name, to the processor."""
        state = self.average.state_dict()
        return {name: value.to("cpu", copy=True) for name, value in state.items()}
