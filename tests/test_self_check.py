"""The self-check: what it accepts, and what must fail it."""

from dataclasses import replace

import numpy as np
import pytest

from tests.planted import planted_samples
from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.errors import BarsError
from trm_bt.learning.records import EpochRecord
from trm_bt.learning.self_check import (
    check_consistency,
    check_convergence,
    pick_month,
    self_check,
)

pytestmark = pytest.mark.slow

SMALL = TRMConfig(
    model=ModelConfig(hidden_dim=32, num_latent_steps=2, num_recursion_cycles=2)
)
ROWS = np.random.default_rng(3).standard_normal((40, 10))


def consistency(decide):
    return check_consistency(decide, ROWS, np.ones(10), np.random.default_rng(0))


def history(*losses: float) -> tuple[EpochRecord, ...]:
    nothing = dict.fromkeys(EpochRecord.model_fields, 0)
    return tuple(
        EpochRecord(**{**nothing, "train_strategy_loss": loss}) for loss in losses
    )


def test_a_sound_training_passes_and_gives_its_figures():
    checks = self_check(planted_samples(400), SMALL)

    assert [check.name for check in checks] == [
        "capacity",
        "convergence",
        "anti-memorisation",
    ]
    assert all(check.is_passed for check in checks), checks
    assert "says nothing about skill" in checks[0].figures


def test_a_training_that_cannot_learn_fails():
    still = SMALL.model_copy(
        update={"training": SMALL.training.model_copy(update={"learning_rate": 1e-9})}
    )

    checks = self_check(planted_samples(400), still)

    assert not checks[0].is_passed
    assert not checks[1].is_passed


def test_a_constant_predictor_fails_though_all_its_decisions_stay():
    check = consistency(lambda rows: np.full(len(rows), 5))

    assert not check.is_passed
    assert "100.0% of decisions stay" in check.figures
    assert "Every decision is the same" in check.figures


def test_a_nearly_constant_predictor_that_flips_at_random_fails():
    generator = np.random.default_rng(1)

    check = consistency(lambda rows: 5 * (generator.uniform(size=len(rows)) < 0.95))

    assert "kappa" in check.figures
    assert not check.is_passed


def test_decisions_that_hang_on_the_last_digits_fail():
    check = consistency(lambda rows: (rows[:, 0] * 1e6).astype(np.int64) % 8)

    assert not check.is_passed


def test_decisions_by_a_clear_rule_pass_with_the_kappa_of_a_plain_count():
    def by_sign(rows):
        return (rows[:, 2] > 0).astype(np.int64) * 5

    check = consistency(by_sign)

    generator = np.random.default_rng(0)
    noise = generator.standard_normal((50, 40, 10)) * 0.1
    pairs = [
        (int(row[2] > 0), int(row[2] + shift[i, 2] > 0))
        for shift in noise
        for i, row in enumerate(ROWS)
    ]
    kept = sum(a == b for a, b in pairs) / len(pairs)
    first = sum(a for a, _ in pairs) / len(pairs)
    second = sum(b for _, b in pairs) / len(pairs)
    chance = first * second + (1 - first) * (1 - second)
    assert check.is_passed
    assert f"{kept:.1%} of decisions stay" in check.figures
    assert f"kappa {(kept - chance) / (1 - chance):.2f}" in check.figures


@pytest.mark.parametrize(
    ("losses", "is_passed"),
    [
        (np.linspace(2.0, 0.4, 20).tolist() + [0.4] * 20, True),
        (np.linspace(2.0, 1.2, 20).tolist() + [1.2] * 20, False),
        ([2.0] * 36 + [0.3] * 4, False),
    ],
    ids=["settled", "too-high", "still-falling"],
)
def test_the_loss_must_fall_by_half_and_settle(losses, is_passed):
    assert check_convergence(history(*losses)).is_passed == is_passed


def test_the_newest_month_that_no_constant_fits_is_picked():
    samples = planted_samples(400)
    winners = samples.winners.copy()
    months = samples.sessions.to_period("M")
    newest_whole = months[-40]
    winners[np.asarray(months >= newest_whole)] = 5

    month = pick_month(replace(samples, winners=winners))

    assert month.sessions.to_period("M").unique().tolist() == [newest_whole - 1]
    with pytest.raises(BarsError, match="needs a month of 15 labels or more"):
        pick_month(replace(samples, winners=np.full(400, 5)))
