"""The network against a plain float64 reference written from the paper's pseudocode."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from trm_bt.config import ModelConfig
from trm_bt.learning.model import BLOCK_ROWS, States, TinyRecursiveModel
from trm_bt.learning.threads import cpu_threads

SIZES = [(16, 6, 3), (32, 1, 1), (48, 2, 4), (64, 3, 2), (16, 4, 1)]


def linear(p: dict[str, Tensor], name: str, rows: Tensor) -> Tensor:
    return rows @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def norm(p: dict[str, Tensor], name: str, rows: Tensor) -> Tensor:
    centred = rows - rows.mean(dim=1, keepdim=True)
    spread = (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    return centred / spread * p[f"{name}.weight"] + p[f"{name}.bias"]


def gelu(rows: Tensor) -> Tensor:
    return rows * 0.5 * (1 + torch.erf(rows / math.sqrt(2)))


def net(p: dict[str, Tensor], name: str, rows: Tensor) -> Tensor:
    hidden = gelu(linear(p, f"{name}_in", rows))
    return norm(p, f"{name}_norm", linear(p, f"{name}_out", hidden))


def latent_recursion(p, x, y, z, n):
    for _ in range(n):
        z = z + net(p, "reason", torch.cat([x, y, z], dim=1))
    return y + net(p, "solve", torch.cat([y, z], dim=1)), z


def deep_recursion(p, features, y, z, n, n_cycles):
    x = linear(p, "embedding", features)
    with torch.no_grad():
        for _ in range(n_cycles - 1):
            y, z = latent_recursion(p, x, y, z, n)
    y, z = latent_recursion(p, x, y, z, n)
    logits = linear(p, "readout", norm(p, "readout_norm", y))
    halt = linear(p, "halt_out", gelu(linear(p, "halt_in", z)))[:, 0]
    return y, z, logits, halt


def make_model(size, seed=0, **settings) -> TinyRecursiveModel:
    hidden, n, n_cycles = size
    config = ModelConfig(
        hidden_dim=hidden,
        num_latent_steps=n,
        num_recursion_cycles=n_cycles,
        **settings,
    )
    return TinyRecursiveModel(config, seed=seed).double()


def draw(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(values).to(dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_passes_and_gradients_equal_the_reference(size, batch):
    model = make_model(size)
    leaves = {
        k: v.detach().clone().requires_grad_(True) for k, v in model.named_parameters()
    }
    features = draw(batch, 10)
    states = None
    y = z = torch.zeros(batch, size[0], dtype=torch.float64)
    for _ in range(3):  # supervision steps, states carried detached
        output = model(features, states)
        y, z, logits, halt = deep_recursion(leaves, features, y, z, size[1], size[2])
        for got, expected in (
            (output.logits, logits),
            (output.halt_logits, halt),
            (output.states.answer, y),
            (output.states.latent, z),
        ):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
        (output.logits.square().sum() + output.halt_logits.sin().sum()).backward()
        (logits.square().sum() + halt.sin().sum()).backward()
        states, y, z = output.states.detach(), y.detach(), z.detach()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, leaves[name].grad, rtol=1e-10, atol=1e-10, msg=name
        )


def test_parameter_count_at_the_defaults():
    assert TinyRecursiveModel().n_parameters == 1_981_449


def test_float32_decides_as_float64_where_the_margin_is_clear():
    model = TinyRecursiveModel(ModelConfig(hidden_dim=64))
    features = draw(200, 10, dtype=torch.float32)
    single = model(features).logits
    double = model.double()(features.double()).logits
    top = double.topk(2, dim=1).values
    is_clear = top[:, 0] - top[:, 1] > 1e-4

    assert is_clear.sum() > 190
    assert torch.equal(single.argmax(1)[is_clear], double.argmax(1)[is_clear])


def test_no_gradient_reaches_the_first_cycles():
    """With the states before the last cycle given, one cycle has the same gradient."""
    model, last = make_model((16, 2, 3)), make_model((16, 2, 1))
    last.load_state_dict(model.state_dict())
    features = draw(4, 10)
    with torch.no_grad():
        states = model.initial_states(4)
        for _ in range(2):
            states = model.latent_recursion(model.embedding(features), states)

    model(features).logits.square().sum().backward()
    last(features, states).logits.square().sum().backward()

    for ours, theirs in zip(model.parameters(), last.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)


def test_every_parameter_receives_gradient_the_halt_head_included():
    model = make_model((16, 2, 3))
    output = model(draw(4, 10))
    (output.logits.square().sum() + output.halt_logits.sum()).backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_updates_compose_to_a_pass():
    model = make_model((16, 3, 2))
    features = draw(5, 10)
    x, states = model.embedding(features), model.initial_states(5)
    seen = []
    for _ in range(2):
        for _ in range(3):
            states = States(states.answer, model.reasoning_update(x, states))
            seen.append(states)
        states = States(model.solution_update(states), states.latent)
        seen.append(states)

    output = model(features, return_intermediate=True)

    assert len(output.intermediate) == len(seen) == 2 * (3 + 1)
    for got, expected in zip(output.intermediate, seen, strict=True):
        torch.testing.assert_close(got.answer, expected.answer, rtol=0, atol=1e-12)
        torch.testing.assert_close(got.latent, expected.latent, rtol=0, atol=1e-12)
    halt = model.compute_halt_signal(states.latent)
    torch.testing.assert_close(output.halt_logits, halt, rtol=0, atol=1e-12)
    assert model(features).intermediate == []


def test_updates_start_small():
    model = make_model((16, 4, 2))

    assert model.reason_norm.weight.unique().tolist() == [1 / 4]
    assert model.solve_norm.weight.unique().tolist() == [1 / 2]


def test_parameters_follow_the_seed_and_the_global_generator_does_not_move():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (make_model((16, 1, 1), seed=s) for s in (3, 3, 4))

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.embedding.weight, same.embedding.weight)
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


def test_dropout_needs_a_generator_and_follows_it():
    model = make_model((64, 2, 2), dropout=0.5)
    features = draw(3, 10)

    def logits(seed):
        return model(features, dropout=np.random.default_rng(seed)).logits

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))
    assert torch.equal(model(features).logits, model(features).logits)


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    model = make_model((512, 1, 1), dropout=0.1)
    values = torch.full((400, 512), 3.0, dtype=torch.float64)

    dropped = model._activate(values, np.random.default_rng(0))

    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(0.1, abs=0.003)  # 3 standard errors are 0.002
    assert dropped.mean().item() == pytest.approx(
        model._activate(values, None).mean().item(), rel=0.01
    )
    assert len(dropped.unique()) == 2


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("size", [(512, 6, 3), (48, 2, 2), (16, 1, 1)])
def test_a_row_has_the_same_bits_in_any_company(n_threads, size):
    model = make_model(size, max_supervision_steps=2).float()
    n_rows = BLOCK_ROWS + 9
    features = draw(n_rows, 10, dtype=torch.float32)
    with cpu_threads(n_threads):
        together = model.predict(features)
        positions = range(n_rows) if size[0] < 512 else range(0, n_rows, 9)
        for row in positions:
            alone = model.predict(features[row : row + 1])
            assert torch.equal(alone.logits[0], together.logits[row])
            assert torch.equal(alone.halt_logits[0], together.halt_logits[row])
            assert alone.n_steps[0] == together.n_steps[row]


@pytest.mark.parametrize("hidden_dim", [16, 48, 80, 512])
def test_the_same_row_has_the_same_bits_in_every_position_of_a_block(hidden_dim):
    config = ModelConfig(hidden_dim=hidden_dim, max_supervision_steps=1)
    model = TinyRecursiveModel(config)
    rows = draw(1, 10, dtype=torch.float32).repeat(BLOCK_ROWS, 1)
    for n_threads in (1, 2):
        with cpu_threads(n_threads):
            found = model.predict(rows)
        assert len(found.logits.unique(dim=0)) == 1
        assert len(found.halt_logits.unique()) == 1


def test_each_row_halts_on_its_own():
    model = make_model((16, 2, 2), max_supervision_steps=5, halt_threshold=0.5)
    features = draw(150, 10, seed=3)
    with torch.no_grad():  # centre the first halt logits, so that rows part ways
        model.halt_out.bias -= model(features).halt_logits.median()

    found = model.predict(features)

    assert len(found.n_steps.unique()) > 1
    with torch.no_grad():
        for row in range(0, 150, 7):
            states, n_steps, is_done = None, 0, False
            while not is_done and n_steps < 5:
                output = model(features[row : row + 1], states)
                states, n_steps = output.states, n_steps + 1
                is_done = output.halt_logits.sigmoid() >= 0.5
            assert found.n_steps[row] == n_steps
            torch.testing.assert_close(found.logits[row], output.logits[0])


@pytest.mark.parametrize(("bias", "n_steps"), [(1e3, 1), (-1e3, 4)])
def test_halt_head_bounds_the_steps(bias, n_steps):
    model = make_model((16, 2, 2), max_supervision_steps=4)
    with torch.no_grad():
        model.halt_out.bias.fill_(bias)

    assert model.predict(draw(10, 10)).n_steps.tolist() == [n_steps] * 10


def test_probabilities_allocation_and_confidence_agree():
    model = make_model((16, 2, 2))
    features = draw(70, 10)

    probabilities = model.get_strategy_probabilities(features)
    allocation, confidence = model.predict_strategy(features)

    torch.testing.assert_close(probabilities.sum(1), torch.ones(70).double())
    assert torch.equal(allocation, probabilities.argmax(1))
    assert torch.equal(confidence, probabilities.amax(1))
    assert model.predict(features[:0]).logits.shape == (0, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_decides_as_the_processor_where_the_margin_is_clear():
    model = TinyRecursiveModel(ModelConfig(max_supervision_steps=1))
    features = draw(500, 10, dtype=torch.float32)
    here = model.predict(features).logits
    there = model.cuda().predict(features.cuda()).logits.cpu()
    top = here.topk(2, dim=1).values
    is_clear = top[:, 0] - top[:, 1] > 1e-3

    assert torch.equal(here.argmax(1)[is_clear], there.argmax(1)[is_clear])
