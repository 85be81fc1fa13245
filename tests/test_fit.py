"""Batches, rate, filter and average by hand; the optimiser step in plain numpy."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from tests.planted import naming
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.learning.devices import cpu_threads
from trm_bt.learning.fit import (
    Batches,
    GrokFastFilter,
    TrainingState,
    average_decay,
    batch_rows,
    learning_rate,
)
from trm_bt.learning.model import TinyRecursiveModel

SMALL = {"hidden_dim": 16, "num_latent_steps": 2, "num_recursion_cycles": 2}


@pytest.fixture(autouse=True)
def one_thread():
    with cpu_threads(1):
        yield


def make_fit(model=None, n_train=300, **training) -> TrainingState:
    settings = {"epochs": 2, "max_batches_per_epoch": 3, **training}
    model = ModelConfig(**{**SMALL, **(model or {})})
    config = TRMConfig(model=model, training=naming(**settings))
    return TrainingState(
        config, n_train, TinyRecursiveModel(config.model, seed=config.seed)
    )


class PlainUpdate:
    """Clipping, filter, AdamW and average, a loop over parameters in numpy."""

    def __init__(self, values: list[np.ndarray], config: TrainingConfig) -> None:
        self.values = values
        self.averages = [value.copy() for value in values]
        self.slow: list[np.ndarray] = []
        self.first = [np.zeros_like(value) for value in values]
        self.second = [np.zeros_like(value) for value in values]
        self.config = config
        self.k = 0

    def __call__(self, gradients: list[np.ndarray], rate: float) -> None:
        c = self.config
        norm = math.sqrt(sum((g**2).sum() for g in gradients))
        shrink = min(1.0, c.max_grad_norm / (norm + 1e-6))
        gradients = [g * shrink for g in gradients]
        if not self.slow:
            self.slow = [g.copy() for g in gradients]
        decay = min(c.ema_decay, (1 + self.k) / (10 + self.k))
        self.k += 1
        for i, raw in enumerate(gradients):
            alpha = c.grokfast_alpha
            self.slow[i] = alpha * self.slow[i] + (1 - alpha) * raw
            g = raw + c.grokfast_lambda * self.slow[i]
            self.first[i] = c.beta1 * self.first[i] + (1 - c.beta1) * g
            self.second[i] = c.beta2 * self.second[i] + (1 - c.beta2) * g * g
            mean = self.first[i] / (1 - c.beta1**self.k)
            size = np.sqrt(self.second[i] / (1 - c.beta2**self.k)) + 1e-8
            self.values[i] = self.values[i] * (1 - rate * c.weight_decay)
            self.values[i] = self.values[i] - rate * mean / size
            self.averages[i] = decay * self.averages[i] + (1 - decay) * self.values[i]


def draw_gradients(
    fit: TrainingState, n_steps: int, size: float
) -> Iterator[list[np.ndarray]]:
    rng = np.random.default_rng(1)
    for _ in range(n_steps):
        yield [size * rng.standard_normal(p.shape) for p in fit.model.parameters()]


@pytest.mark.parametrize("size", [1e-3, 10.0], ids=["under the clip", "clipped"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"grokfast_lambda": 0.0},
        {"grokfast_alpha": 0.8, "beta1": 0.5, "beta2": 0.7, "weight_decay": 0.3},
        {"ema_decay": 0.2, "max_grad_norm": 0.1, "warmup_fraction": 0.5},
    ],
    ids=str,
)
def test_an_update_equals_plain_numpy(settings, size):
    fit = make_fit(**settings)
    fit.model.double()
    fit.average.double()
    parameters = list(fit.model.parameters())
    plain = PlainUpdate([p.detach().numpy().copy() for p in parameters], fit.config)
    for position, gradients in enumerate(draw_gradients(fit, 8, size)):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        fit.position = position
        fit.update()
        plain(gradients, learning_rate(position, fit.total_steps, fit.config))

    assert fit.step == 8
    averages = list(fit.average.parameters())
    for found, expected in ((parameters, plain.values), (averages, plain.averages)):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                one.detach().numpy(), other, rtol=1e-9, atol=1e-12
            )
    assert all(parameter.grad is None for parameter in parameters)


def test_the_rate_of_an_update_follows_the_position_not_the_step():
    """AdamW's first step has the size of the rate, whatever the gradient."""
    for position in (0, 3, 17):
        fit = make_fit(weight_decay=0.0, grokfast_lambda=0.0, learning_rate=0.5)
        before = [p.detach().clone() for p in fit.model.parameters()]
        for parameter in fit.model.parameters():
            parameter.grad = torch.full_like(parameter, 0.01)
        fit.position = position
        fit.update()
        # 2 epochs x 3 batches x 4 passes, three of warm-up, then a cosine
        share = (position - 3) / 21
        rate = 0.5 / 3 if position == 0 else 0.25 * (1 + math.cos(math.pi * share))
        for parameter, old in zip(fit.model.parameters(), before, strict=True):
            moved = (old - parameter.detach()).abs()
            torch.testing.assert_close(
                moved, torch.full_like(old, rate), rtol=1e-4, atol=1e-6
            )


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


def test_a_cosine_by_hand_and_a_constant_rate_after_the_same_warm_up():
    config = TrainingConfig(learning_rate=2e-3, warmup_fraction=0.2)
    # ten steps, two of warm-up: quarters of the eight that are left
    steps = (0, 1, 2, 4, 6, 8, 10)

    found = [learning_rate(step, 10, config) for step in steps]
    constant = [learning_rate(step, 10, config, is_constant=True) for step in steps]

    half = math.sqrt(2) / 4
    shares = [0.5, 1.0, 1.0, 0.5 + half, 0.5, 0.5 - half, 0.0]
    assert found == pytest.approx([2e-3 * share for share in shares], abs=1e-18)
    assert constant == [1e-3] + [2e-3] * 6


def test_no_warm_up_starts_at_the_full_rate():
    config = TrainingConfig(learning_rate=1.0, warmup_fraction=0)

    rates = [learning_rate(step, 3, config) for step in range(4)]
    assert rates == pytest.approx([1, 0.75, 0.25, 0])


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
    fit = TrainingState(config, 200, nn.Linear(3, 2))
    for _ in range(3):
        fit.model(torch.ones(4, 3)).square().sum().backward()
        fit.update()

    assert all(map(torch.equal, fit.average.parameters(), fit.model.parameters()))


def test_every_row_is_visited_before_one_is_visited_again():
    batches = Batches(330, 7, np.random.default_rng(0))

    seen = [row for _ in range(3 * 7) for row in next(batches).tolist()]

    counts = np.bincount(seen, minlength=330)
    assert counts.tolist() == [3] * 330
    assert sorted(seen[:330]) == list(range(330))


@pytest.mark.parametrize(("n_rows", "n_batches"), [(330, 7), (5, 5), (12, 1), (13, 4)])
def test_batches_of_a_sweep_differ_by_one_row_at_most(n_rows, n_batches):
    batches = Batches(n_rows, n_batches, np.random.default_rng(0))

    sizes = [len(next(batches)) for _ in range(n_batches)]

    assert sum(sizes) == n_rows
    assert max(sizes) - min(sizes) <= 1


def test_sweeps_are_the_permutations_of_the_generator():
    batches = Batches(20, 4, np.random.default_rng(3))

    seen = [row for _ in range(2 * 4) for row in next(batches).tolist()]

    rng = np.random.default_rng(3)
    assert seen == [*rng.permutation(20), *rng.permutation(20)]


def test_the_next_order_is_drawn_when_its_first_batch_is_asked_for():
    """Whatever else draws from the generator in a sweep comes before the next order."""
    generator = np.random.default_rng(0)
    batches = Batches(10, 2, generator)
    for _ in range(2):
        next(batches)
    state = generator.bit_generator.state

    next(batches)

    assert generator.bit_generator.state != state
    fresh = np.random.default_rng(0)
    fresh.permutation(10)
    assert fresh.bit_generator.state == state


def test_a_sweep_goes_on_from_its_order_and_count():
    first = Batches(50, 6, np.random.default_rng(0))
    for _ in range(8):
        next(first)
    other = Batches(50, 6, np.random.default_rng(1))
    other.order, other.n_taken = first.order.copy(), first.n_taken
    other.generator.bit_generator.state = first.generator.bit_generator.state

    for _ in range(9):
        assert next(first).tolist() == next(other).tolist()


def test_three_steps_by_hand():
    # alpha 0.5, lambda 2:  mu: 4, then 0.5*4 + 0.5*2 = 3, then 0.5*3 + 0.5*(-1) = 1
    grad_filter = GrokFastFilter(0.5, 2.0)
    got = []
    for value in (4.0, 2.0, -1.0):
        gradient = torch.tensor([value])
        grad_filter.apply([gradient])
        got.append(gradient.item())

    assert got == [4 + 2 * 4, 2 + 2 * 3, -1 + 2 * 1]


def test_defaults_against_a_plain_loop():
    torch.manual_seed(0)
    steps = torch.randn(7, 2, 3, dtype=torch.float64)
    grad_filter = GrokFastFilter(0.98, 2.0)
    mean = None
    for raw in steps:
        gradients = [raw[0].clone(), raw[1].clone()]
        grad_filter.apply(gradients)
        mean = raw if mean is None else 0.98 * mean + 0.02 * raw
        for got, expected in zip(gradients, raw + 2.0 * mean, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)


def test_the_running_mean_is_not_the_gradient_itself():
    grad_filter = GrokFastFilter(0.9, 1.0)
    gradient = torch.ones(3)
    grad_filter.apply([gradient])

    gradient.zero_()

    assert grad_filter.means[0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("alpha", [0.0, 0.98])
def test_zero_amplification_leaves_gradients_alone(alpha):
    grad_filter = GrokFastFilter(alpha, 0.0)
    gradient = torch.tensor([1.0, -2.0])
    grad_filter.apply([gradient])

    assert gradient.tolist() == [1.0, -2.0]
    assert grad_filter.means == []
