"""The three-part loss: name the winner, know when you are right, earn."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trm_bt.config import TrainingConfig
from trm_bt.learning.model import Pass


class Losses(NamedTuple):
    """The weighted sum and its unweighted parts, scalar tensors."""

    total: Tensor
    strategy: Tensor
    halt: Tensor
    profit: Tensor


def utility_scale(returns: np.ndarray) -> float:
    """Return what utilities are divided by: the spread of the training returns.

    Parameters
    ----------
    returns : ndarray of shape (n_rows, n_allocations)
        Realised returns of the training rows, as decimals.

    Returns
    -------
    float
        Their standard deviation over rows and allocations. Without the division the
        utility, a few tenths of a percent, would be a thousandth of the other parts.
        It is 1 if all returns are equal: then no decision earns more than another.
    """
    return float(returns.std()) or 1.0


def expected_utility(logits: Tensor, returns: Tensor) -> Tensor:
    """Return what softmax(logits) earns on average in each row, shape (batch,).

    Both arguments have shape (batch, n_allocations).
    """
    return (logits.softmax(dim=1) * returns).sum(dim=1)


def three_part_loss(
    output: Pass, winners: Tensor, utilities: Tensor, config: TrainingConfig
) -> Losses:
    """Weigh cross-entropy, halting and utility of one pass.

    Parameters
    ----------
    output : Pass
        Logits and halt logits of a batch.
    winners : Tensor of shape (batch,), int64
        Class index of the best allocation.
    utilities : Tensor of shape (batch, n_allocations)
        Realised returns divided by `utility_scale`.
    config : TrainingConfig
        The three weights.

    Returns
    -------
    Losses
        Means over the batch. The halt head learns whether the answer is right; that
        target carries no gradient.
    """
    strategy = functional.cross_entropy(output.logits, winners)
    is_right = (output.logits.detach().argmax(dim=1) == winners).to(output.logits)
    halt = functional.binary_cross_entropy_with_logits(output.halt_logits, is_right)
    profit = -expected_utility(output.logits, utilities).mean()
    total = (
        config.strategy_loss_weight * strategy
        + config.halt_loss_weight * halt
        + config.profit_loss_weight * profit
    )
    return Losses(torch.as_tensor(total), strategy, halt, profit)
