"""Batches, learning rate and averaging against numbers worked by hand."""

import math

import pytest
import torch
from torch import nn

from trm_bt.config import TrainingConfig, TRMConfig
from trm_bt.learning.fit import Fit
from trm_bt.learning.schedule import average_decay, batch_rows, learning_rate


@pytest.mark.parametrize(
    ("n_train", "expected"),
    [(10, 128), (1_400, 128), (6_144, 128), (6_145, 129), (9_600, 200), (99_999, 768)],
)
def test_batch_rows_by_hand(n_train, expected):
    assert batch_rows(n_train, TrainingConfig()) == expected


def test_batch_size_is_a_ceiling():
    assert batch_rows(1_400, TrainingConfig(batch_size=32)) == 32


def test_rate_warms_up_over_a_tenth_then_falls_along_a_cosine():
    config = TrainingConfig(learning_rate=1.0)
    rates = [learning_rate(step, 100, config) for step in range(100)]

    assert rates[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert learning_rate(100, 100, config) == pytest.approx(0.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("cosine", [1.0, 0.5 + math.sqrt(2) / 4, 0.5, 0.5 - math.sqrt(2) / 4, 0.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("constant", [1.0] * 5),
    ],
)
def test_schedules_by_hand_after_the_same_warm_up(schedule, rates):
    config = TrainingConfig(learning_rate=2e-3, schedule=schedule, warmup_fraction=0.2)
    warm_up = [learning_rate(step, 10, config) for step in (0, 1)]
    # ten steps, two of warm-up: quarters of the eight that are left
    found = [learning_rate(step, 10, config) for step in (2, 4, 6, 8, 10)]

    assert warm_up == [1e-3, 2e-3]
    assert found == pytest.approx([2e-3 * rate for rate in rates], abs=1e-18)


def test_no_warm_up_starts_at_the_full_rate():
    config = TrainingConfig(learning_rate=1.0, warmup_fraction=0, schedule="linear")

    assert [learning_rate(step, 4, config) for step in range(4)] == [1, 0.75, 0.5, 0.25]


def test_warm_up_is_capped():
    config = TrainingConfig(learning_rate=1.0, max_warmup_steps=20)

    assert learning_rate(19, 1_000, config) == 1.0
    assert learning_rate(9, 1_000, config) == 0.5


def test_average_decay_rises_to_its_setting():
    config = TrainingConfig()

    assert average_decay(0, config) == pytest.approx(0.1)
    assert average_decay(8, config) == pytest.approx(0.5)
    assert average_decay(10**6, config) == 0.999


def test_an_average_without_decay_is_what_was_last_trained():
    config = TRMConfig(training=TrainingConfig(ema_decay=0.0))
    fit = Fit(config, 200, nn.Linear(3, 2))
    for _ in range(3):
        fit.model(torch.ones(4, 3)).square().sum().backward()
        fit.update()

    assert all(map(torch.equal, fit.average.parameters(), fit.model.parameters()))
