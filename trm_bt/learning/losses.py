"""The three-part loss: name the winner, know when the answer is right, earn."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trm_bt.config import TrainingConfig
from trm_bt.market.allocations import ALLOCATION_NAMES


@dataclass(frozen=True)
class Targets:
    """What a batch should have answered.

    Parameters
    ----------
    winners : Tensor of shape (batch,), int64
        Class index of the best allocation.
    utilities : Tensor of shape (batch, n_allocations)
        Utility of each allocation, divided by `utility_scale`.
    weights : Tensor of shape (batch,), optional
        How much each row counts; None for all alike.
    """

    winners: Tensor
    utilities: Tensor
    weights: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> "Targets":
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Targets(self.winners[rows], self.utilities[rows], weights)


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


def class_weights(
    winners: np.ndarray,
    config: TrainingConfig,
    n_allocations: int = len(ALLOCATION_NAMES),
    row_weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the weight of an error on each allocation in the cross-entropy.

    Parameters
    ----------
    winners : ndarray of shape (n_rows,), int64
        Labels of the training rows.
    config : TrainingConfig
        Its `class_weighting`.
    n_allocations : int
        Allocations that there are.
    row_weights : ndarray of shape (n_rows,), optional
        How much each row counts in the frequencies; by default all alike.

    Returns
    -------
    ndarray of shape (n_allocations,)
        1 for "none"; else proportional to the inverse of the frequency, or of its
        square root, with mean 1 over the training rows and 0 for what never wins.

    Examples
    --------
    >>> config = TrainingConfig(class_weighting="inverse")
    >>> class_weights(np.array([0, 0, 0, 1]), config)[:3].round(3).tolist()
    [0.667, 2.0, 0.0]
    """
    counts = np.bincount(winners, row_weights, minlength=n_allocations)
    frequency = counts / counts.sum()
    if config.class_weighting == "none":
        return np.ones_like(frequency)
    power = 1.0 if config.class_weighting == "inverse" else 0.5
    weights = np.zeros_like(frequency)
    np.power(frequency, -power, out=weights, where=frequency > 0)
    scaled: np.ndarray = weights / (frequency @ weights)
    return scaled


def expected_utility(logits: Tensor, utilities: Tensor) -> Tensor:
    """Return the mean utility under softmax(logits) in each row, shape (batch,).

    Both arguments have shape (batch, n_allocations).
    """
    return (logits.softmax(dim=1) * utilities).sum(dim=1)


def three_part_loss(
    logits: Tensor,
    halt_logits: Tensor,
    targets: Targets,
    weights: Tensor,
    config: TrainingConfig,
) -> Losses:
    """Weigh cross-entropy, halting and utility of one pass.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_allocations)
        Unnormalised log-probabilities of the allocations.
    halt_logits : Tensor of shape (batch,)
        Log-odds that the answer is right.
    targets : Targets
        Winners and utilities of the batch.
    weights : Tensor of shape (n_allocations,)
        What `class_weights` returns for the training rows.
    config : TrainingConfig
        The weights of the three parts and the label smoothing.

    Returns
    -------
    Losses
        Means over the batch, by the weights of its rows if they have any. The halt head
        learns whether the answer is right; that target carries no gradient.
    """
    reduction = "mean" if targets.weights is None else "none"
    # The mean over rows: with class indices torch would divide by the classes' weights.
    strategy = functional.cross_entropy(
        logits,
        functional.one_hot(targets.winners, logits.shape[1]).to(logits),
        weight=weights,
        label_smoothing=config.label_smoothing,
        reduction=reduction,
    )
    is_right = logits.detach().argmax(dim=1) == targets.winners
    halt = functional.binary_cross_entropy_with_logits(
        halt_logits, is_right.to(logits), reduction=reduction
    )
    profit = -expected_utility(logits, targets.utilities)
    if targets.weights is None:
        profit = profit.mean()
    else:
        shares = targets.weights / targets.weights.sum()
        strategy, halt, profit = strategy @ shares, halt @ shares, profit @ shares
    total = (
        config.strategy_loss_weight * strategy
        + config.halt_loss_weight * halt
        + config.profit_loss_weight * profit
    )
    return Losses(torch.as_tensor(total), strategy, halt, profit)
