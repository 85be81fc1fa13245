"""The three-part loss against plain arithmetic."""

import math

import numpy as np
import pytest
import torch

from trm_bt.config import TrainingConfig
from trm_bt.learning.losses import (
    Targets,
    class_weights,
    expected_utility,
    three_part_loss,
    utility_scale,
)


def test_parts_against_a_plain_loop():
    rng = np.random.default_rng(0)
    n_rows = 40  # the answer is below, at and above the winner in some of them
    logits, halts = rng.normal(size=(n_rows, 8)), rng.normal(size=n_rows)
    utilities, winners = rng.normal(size=(n_rows, 8)), rng.integers(0, 8, n_rows)
    config = TrainingConfig(
        strategy_loss_weight=0.7, halt_loss_weight=0.2, profit_loss_weight=0.4
    )
    strategy = halt = profit = 0.0
    for row in range(n_rows):
        weights = [math.exp(v) for v in logits[row]]
        shares = [w / sum(weights) for w in weights]
        strategy -= math.log(shares[winners[row]]) / n_rows
        is_right = max(range(8), key=lambda k: logits[row][k]) == winners[row]
        prob = 1 / (1 + math.exp(-halts[row]))
        halt -= math.log(prob if is_right else 1 - prob) / n_rows
        profit -= (
            sum(s * u for s, u in zip(shares, utilities[row], strict=True)) / n_rows
        )

    losses = three_part_loss(
        torch.tensor(logits),
        torch.tensor(halts),
        Targets(torch.tensor(winners), torch.tensor(utilities)),
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

    targets = Targets(winners, utilities)
    losses = three_part_loss(logits, halts, targets, torch.ones(8), config)
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


WINNERS = np.array([0] * 16 + [5] * 9 + [1] * 4 + [7])  # 2, 3, 4 and 6 never win


@pytest.mark.parametrize(("weighting", "power"), [("sqrt", 0.5), ("inverse", 1.0)])
def test_class_weights_equal_a_plain_loop(weighting, power):
    found = class_weights(WINNERS, TrainingConfig(class_weighting=weighting))

    winners = WINNERS.tolist()
    raw = [winners.count(k) and (winners.count(k) / 30) ** -power for k in range(8)]
    over_rows = sum(raw[winner] for winner in winners) / 30
    assert found.tolist() == pytest.approx([w / over_rows for w in raw], rel=1e-12)
    assert found[WINNERS].mean() == pytest.approx(1)  # the weighted mean weight


def test_class_weights_by_hand():
    # won 16, 4, 9 and 1 times in 30
    inverse = class_weights(WINNERS, TrainingConfig(class_weighting="inverse"))
    sqrt = class_weights(WINNERS, TrainingConfig(class_weighting="sqrt"))

    # inverse: 30 / 16 and so on over their weighted mean, which is 4 classes
    assert inverse[[0, 1, 5, 7]] * 4 == pytest.approx([30 / 16, 7.5, 30 / 9, 30])
    # root: 1/4, 1/2, 1/3 and 1 over (4 + 2 + 3 + 1) / 30
    assert sqrt[[0, 1, 5, 7]] == pytest.approx([0.75, 1.5, 1, 3])
    assert not inverse[[2, 3, 4, 6]].any()
    assert not sqrt[[2, 3, 4, 6]].any()
    assert class_weights(WINNERS, TrainingConfig()).tolist() == [1.0] * 8


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
def test_weighted_smoothed_cross_entropy_equals_a_plain_loop(smoothing):
    rng = np.random.default_rng(6)
    logits, weights = rng.normal(size=(30, 8)), rng.uniform(0, 3, 8)
    config = TrainingConfig(label_smoothing=smoothing)
    nothing = torch.zeros(30, 8).double()

    found = three_part_loss(
        torch.tensor(logits),
        nothing[:, 0],
        Targets(torch.tensor(WINNERS), nothing),
        torch.tensor(weights),
        config,
    ).strategy.item()

    expected = 0.0
    for row in range(30):
        norm = math.log(sum(math.exp(v) for v in logits[row]))
        for k in range(8):
            share = (1 - smoothing) * (WINNERS[row] == k) + smoothing / 8
            expected -= weights[k] * share * (logits[row, k] - norm) / 30
    assert found == pytest.approx(expected, abs=1e-12)
