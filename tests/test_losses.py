"""The three-part loss against plain arithmetic."""

import math

import numpy as np
import pytest
import torch

from trm_bt.config import TrainingConfig
from trm_bt.learning.losses import (
    Targets,
    expected_utility,
    three_part_loss,
    utility_scale,
)
from trm_bt.learning.model import Pass, States


def make_pass(logits: torch.Tensor, halt_logits: torch.Tensor) -> Pass:
    nothing = torch.zeros(len(logits), 1)
    return Pass(logits, halt_logits, States(nothing, nothing))


def test_parts_against_a_plain_loop():
    rng = np.random.default_rng(0)
    logits, halts = rng.normal(size=(5, 8)), rng.normal(size=5)
    utilities, winners = rng.normal(size=(5, 8)), rng.integers(0, 8, 5)
    config = TrainingConfig(
        strategy_loss_weight=0.7, halt_loss_weight=0.2, profit_loss_weight=0.4
    )
    strategy = halt = profit = 0.0
    for row in range(5):
        weights = [math.exp(v) for v in logits[row]]
        shares = [w / sum(weights) for w in weights]
        strategy -= math.log(shares[winners[row]]) / 5
        is_right = max(range(8), key=lambda k: logits[row][k]) == winners[row]
        prob = 1 / (1 + math.exp(-halts[row]))
        halt -= math.log(prob if is_right else 1 - prob) / 5
        profit -= sum(s * u for s, u in zip(shares, utilities[row], strict=True)) / 5

    losses = three_part_loss(
        make_pass(torch.tensor(logits), torch.tensor(halts)),
        Targets(
            torch.tensor(winners),
            torch.eye(8)[winners].double(),
            torch.tensor(utilities),
        ),
        torch.ones(8).double(),
        config,
    )

    total = 0.7 * strategy + 0.2 * halt + 0.4 * profit
    expected = (total, strategy, halt, profit)
    assert [part.item() for part in losses] == pytest.approx(expected, abs=1e-12)


def test_halt_target_carries_no_gradient_to_the_logits():
    logits = torch.randn(4, 8, requires_grad=True)
    halts = torch.randn(4, requires_grad=True)
    config = TrainingConfig(strategy_loss_weight=0, profit_loss_weight=0)
    winners, utilities = torch.zeros(4, dtype=torch.int64), torch.zeros(4, 8)

    targets = Targets(winners, torch.eye(8)[winners], utilities)
    losses = three_part_loss(make_pass(logits, halts), targets, torch.ones(8), config)
    losses.total.backward()

    assert logits.grad is not None
    assert not logits.grad.any()
    assert halts.grad is not None
    assert halts.grad.all()


def test_profit_pulls_towards_what_earned_most():
    logits = torch.zeros(1, 8, requires_grad=True)
    returns = torch.tensor([[-2.0, -1.0, 0.0, 0.5, 0.9, 3.0, 1.0, 0.2]])

    (-expected_utility(logits, returns)).backward()

    assert logits.grad is not None
    assert (-logits.grad).argmax().item() == 5
    assert expected_utility(logits, returns).item() == pytest.approx(2.6 / 8)


def test_utility_scale_is_the_spread_of_all_returns():
    returns = np.array([[0.01, 0.03], [0.05, -0.01]])
    # mean 0.02; squared distances 1, 1, 9, 9 (e-4), mean 5e-4
    assert utility_scale(returns) == pytest.approx(math.sqrt(5e-4))


def test_utility_scale_of_equal_returns_is_one():
    assert utility_scale(np.zeros((3, 8))) == 1.0
