"""The optimiser step re-derived in numpy, and what a pass gathers before it."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.learning.fit import Fit
from trm_bt.learning.losses import three_part_loss
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.threads import cpu_threads
from trm_bt.learning.trainer import Rows, _Run

SMALL = {"hidden_dim": 16, "num_latent_steps": 2, "num_recursion_cycles": 2}


@pytest.fixture(autouse=True)
def one_thread():
    with cpu_threads(1):
        yield


def make_fit(model=None, n_train=300, **training) -> Fit:
    settings = {"epochs": 2, "max_batches_per_epoch": 3, **training}
    model = ModelConfig(**{**SMALL, **(model or {})})
    config = TRMConfig(model=model, training=naming(**settings))
    return Fit(config, n_train, TinyRecursiveModel(config.model, seed=config.seed))


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


def draw_gradients(fit: Fit, n_steps: int, size: float) -> Iterator[list[np.ndarray]]:
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
        {"ema_decay": 0.2, "max_grad_norm": 0.1, "schedule": "linear"},
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
        plain(gradients, fit.rate_at(position))

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


@pytest.mark.parametrize(("n_cycles", "is_moved"), [(1, True), (3, False)])
def test_learned_starts_move_where_a_gradient_reaches_them(n_cycles, is_moved):
    """And where none does, every other parameter keeps its own running mean."""
    model = {
        "architecture": "paper",
        "initial_states": "learned",
        "num_recursion_cycles": n_cycles,
    }
    fit = make_fit(model, weight_decay=0.0)
    starts = [fit.model.nets.answer_start, fit.model.nets.latent_start]
    before = [start.detach().clone() for start in starts]
    features = torch.from_numpy(
        np.random.default_rng(0).standard_normal((20, 10)).astype(np.float32)
    )
    states = None
    for _ in range(3):  # in the later passes the states come from outside
        output = fit.model(features, states)
        (output.logits.square().mean() + output.halt_logits.mean()).backward()
        raw = {n: p.grad for n, p in fit.model.named_parameters()}
        assert (raw["nets.answer_start"] is not None) == (is_moved and states is None)
        fit.update()
        states = output.states.detach()

    for start, old in zip(starts, before, strict=True):
        assert torch.equal(start.detach(), old) != is_moved
    tensors = fit.tensors()
    for i, (name, parameter) in enumerate(fit.model.named_parameters()):
        assert tensors[f"filter.{i}"].shape == parameter.shape
        is_start = name in {"nets.answer_start", "nets.latent_start"}
        assert bool(tensors[f"filter.{i}"].any()) == (is_moved or not is_start)


def make_run(n_rows=140, model=None, **training) -> _Run:
    samples = planted_samples(n_rows)
    is_old = np.arange(n_rows) < n_rows - 40
    old, new = samples.where(is_old), samples.where(~is_old)
    settings = {"epochs": 2, "max_batches_per_epoch": 3, "batch_size": 50, **training}
    config = TRMConfig(
        model=ModelConfig(**{**SMALL, "dropout": 0.0, **(model or {})}),
        training=naming(**settings),
    )
    return _Run("test", Rows(old, new, config), config, None)


@pytest.mark.parametrize("architecture", ["dual", "paper"])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 50, 64])
def test_parts_of_a_batch_add_up_to_its_gradient(architecture, n_parts):
    """Without clipping the filter's first mean is the gradient of the first step."""
    run = make_run(
        model={"architecture": architecture},
        gradient_accumulation_steps=n_parts,
        max_grad_norm=1e9,
        class_weighting="sqrt",
    )
    batch = torch.arange(50)
    rows, weights = run.rows, run.rows.class_weights
    output = run.fit.model(rows.features[batch])
    whole = three_part_loss(output, rows.targets[batch], weights, run.config.training)
    expected = torch.autograd.grad(whole.total, list(run.fit.model.parameters()))

    found = next(run._train_on(batch))

    assert run.fit.step == 1
    tensors = run.fit.tensors()
    for i, gradient in enumerate(expected):
        torch.testing.assert_close(
            tensors[f"filter.{i}"], gradient, rtol=1e-4, atol=1e-6
        )
    assert found.tolist() == pytest.approx([loss.item() for loss in whole], rel=1e-5)


def test_parts_carry_their_own_states_from_pass_to_pass():
    def losses(n_parts):
        run = make_run(gradient_accumulation_steps=n_parts)
        return [found.tolist() for found in run._train_on(torch.arange(50))]

    whole = losses(1)

    assert len(whole) == 4
    for n_parts in (4, 9):
        np.testing.assert_allclose(losses(n_parts), whole, rtol=2e-4)


def test_parts_draw_dropout_masks_of_their_own():
    run = make_run(model={"dropout": 0.5}, gradient_accumulation_steps=2)
    twice = torch.cat([torch.arange(25), torch.arange(25)])
    once = make_run(model={"dropout": 0.5})

    assert next(run._train_on(twice))[0] != next(once._train_on(torch.arange(25)))[0]
