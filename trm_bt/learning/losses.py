"""The three-part loss: name the winner, know when you are right, earn."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trm_bt.config import TrainingConfig
from trm_bt.learning.model import Pass


@dataclass(frozen=True)
class Targets:
    """What a batch should have answered.

    Parameters
    ----------
    winners : Tensor of shape (batch,), int64
        Class index of the best allocation.
    shares : Tensor of shape (batch, n_allocations)
        What the logits should say, rows summing to 1: all on the winner, or soft.
    utilities : Tensor of shape (batch, n_allocations)
        Utility of each allocation, net of trading, divided by `utility_scale`.
    """

    winners: Tensor
    shares: Tensor
    utilities: Tensor

    def __getitem__(self, rows: Tensor) -> "Targets":
        """Return some of the rows."""
        return Targets(self.winners[rows], self.shares[rows], self.utilities[rows])


class Losses(NamedTuple):
    """The weighted sum and its unweighted parts, scalar tensors."""

    total: Tensor
    strategy: Tensor
    halt: Tensor
    profit: Tensor


def utility_scale(utilities: np.ndarray) -> float:
    """Return what utilities are divided by: their spread over the training rows.

    Parameters
    ----------
    utilities : ndarray of shape (n_rows, n_allocations)
        Utilities of the training rows.

    Returns
    -------
    float
        Their standard deviation over rows and allocations. Without the division the
        utility, a few hundredths of a percent, would be nothing beside the other
        parts. It is 1 if all are equal: then no decision earns more than another.
    """
    return float(utilities.std()) or 1.0


def class_weights(shares: np.ndarray, config: TrainingConfig) -> np.ndarray:
    """Return what an error on each allocation weighs in the cross-entropy.

    Parameters
    ----------
    shares : ndarray of shape (n_rows, n_allocations)
        Labels of the training rows, hard or soft.
    config : TrainingConfig
        Its `class_weighting`.

    Returns
    -------
    ndarray of shape (n_allocations,)
        1 for "none"; else proportional to the inverse of the frequency, or of its
        square root, with mean 1 over the training rows and 0 for what never wins.

    Examples
    --------
    >>> shares = np.array([[1.0, 0.0, 0.0]] * 3 + [[0.0, 1.0, 0.0]])
    >>> config = TrainingConfig(class_weighting="inverse")
    >>> class_weights(shares, config).round(3).tolist()
    [0.667, 2.0, 0.0]
    """
    frequency = shares.mean(axis=0)
    if config.class_weighting == "none":
        return np.ones_like(frequency)
    power = 1.0 if config.class_weighting == "inverse" else 0.5
    weights = np.zeros_like(frequency)
    np.power(frequency, -power, out=weights, where=frequency > 0)
    scaled: np.ndarray = weights / (frequency @ weights)
    return scaled


def expected_utility(logits: Tensor, utilities: Tensor) -> Tensor:
    """Return what softmax(logits) is worth on average in each row, shape (batch,).

    Both arguments have shape (batch, n_allocations).
    """
    return (logits.softmax(dim=1) * utilities).sum(dim=1)


def three_part_loss(
    output: Pass, targets: Targets, weights: Tensor, config: TrainingConfig
) -> Losses:
    """Weigh cross-entropy, halting and utility of one pass.

    Parameters
    ----------
    output : Pass
        Logits and halt logits of a batch.
    targets : Targets
        Labels and utilities of the batch.
    weights : Tensor of shape (n_allocations,)
        What `class_weights` returns for the training rows.
    config : TrainingConfig
        The weights of the three parts and the label smoothing.

    Returns
    -------
    Losses
        Means over the batch. The halt head learns whether the answer is right; that
        target carries no gradient.
    """
    strategy = functional.cross_entropy(
        output.logits,
        targets.shares,
        weight=weights,
        label_smoothing=config.label_smoothing,
    )
    is_right = output.logits.detach().argmax(dim=1) == targets.winners
    halt = functional.binary_cross_entropy_with_logits(
        output.halt_logits, is_right.to(output.logits)
    )
    profit = -expected_utility(output.logits, targets.utilities).mean()
    total = (
        config.strategy_loss_weight * strategy
        + config.halt_loss_weight * halt
        + config.profit_loss_weight * profit
    )
    return Losses(torch.as_tensor(total), strategy, halt, profit)
