"""The network against a plain float64 reference written from the paper's pseudocode."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from trm_bt.config import ModelConfig
from trm_bt.learning import nets
from trm_bt.learning.blocks import BLOCK_ROWS
from trm_bt.learning.devices import cpu_threads
from trm_bt.learning.model import TinyRecursiveModel, _drawn_answers

SIZES = [(16, 6, 3), (32, 1, 1), (48, 2, 4), (64, 3, 2), (16, 4, 1)]
FORMS = ["dual", "paper"]
Parameters = dict[str, Tensor]


def linear(p: Parameters, name: str, rows: Tensor) -> Tensor:
    return rows @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0.0)


def layer_norm(p: Parameters, name: str, rows: Tensor) -> Tensor:
    centred = rows - rows.mean(dim=1, keepdim=True)
    spread = (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    return centred / spread * p[f"{name}.weight"] + p[f"{name}.bias"]


def gelu(rows: Tensor) -> Tensor:
    return rows * 0.5 * (1 + torch.erf(rows / math.sqrt(2)))


class Dual:
    """Two nets, their inputs joined; the halt logit is read from z."""

    def __init__(self, p: Parameters) -> None:
        self.p = p

    def start(self, n_rows: int) -> tuple[Tensor, Tensor]:
        zeros = torch.zeros(n_rows, self.p["embedding.bias"].shape[0]).double()
        return zeros, zeros

    def two_layers(self, name: str, rows: Tensor) -> Tensor:
        hidden = gelu(linear(self.p, f"nets.{name}_in", rows))
        outer = linear(self.p, f"nets.{name}_out", hidden)
        return layer_norm(self.p, f"nets.{name}_norm", outer)

    def net_z(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return z + self.two_layers("reason", torch.cat([x, y, z], dim=1))

    def net_y(self, y: Tensor, z: Tensor) -> Tensor:
        return y + self.two_layers("solve", torch.cat([y, z], dim=1))

    def heads(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        normed = layer_norm(self.p, "nets.readout_norm", y)
        halt = linear(self.p, "nets.halt_out", gelu(linear(self.p, "nets.halt_in", z)))
        return linear(self.p, "nets.readout", normed), halt[:, 0]


class Paper:
    """One net of two SwiGLU blocks, its inputs added; both heads read y."""

    def __init__(self, p: Parameters) -> None:
        self.p = p

    def start(self, n_rows: int) -> tuple[Tensor, Tensor]:
        ones = torch.ones(n_rows, 1).double()
        return ones * self.p["nets.answer_start"], ones * self.p["nets.latent_start"]

    def net(self, rows: Tensor) -> Tensor:
        for block in (0, 1):
            both = linear(self.p, f"nets.gate_up.{block}", rows)
            width = both.shape[1] // 2
            gate, up = both[:, :width], both[:, width:]
            inner = gate / (1 + torch.exp(-gate)) * up
            rows = rows + linear(self.p, f"nets.down.{block}", inner)
            size = (rows.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
            rows = rows / size
        return rows

    def net_z(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return self.net(x + y + z)

    def net_y(self, y: Tensor, z: Tensor) -> Tensor:
        return self.net(y + z)

    def heads(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        halt = linear(self.p, "nets.halt", y)[:, 0]
        return linear(self.p, "nets.readout", y), halt


def latent_recursion(nets, x, y, z, n):
    for _ in range(n):
        z = nets.net_z(x, y, z)
    y = nets.net_y(y, z)
    return y, z


def deep_recursion(nets, features, y, z, n, n_cycles):
    x = linear(nets.p, "embedding", features)
    with torch.no_grad():
        for _ in range(n_cycles - 1):
            y, z = latent_recursion(nets, x, y, z, n)
    y, z = latent_recursion(nets, x, y, z, n)
    return y, z, *nets.heads(y, z)


def reference(model: TinyRecursiveModel) -> Dual | Paper:
    """Copy the model's numbers into the plain form."""
    trained = {k for k, _ in model.named_parameters()}
    leaves = {
        k: v.detach().clone().requires_grad_(k in trained)
        for k, v in model.state_dict().items()
    }
    return (Dual if model.config.architecture == "dual" else Paper)(leaves)


def wake_halt_head(model: TinyRecursiveModel) -> None:
    """Move the paper's halt head off its zeros, as training would."""
    if model.config.architecture == "paper":
        torch.nn.init.normal_(
            model.nets.halt.weight, generator=torch.Generator().manual_seed(1)
        )


def make_model(size, seed=0, **settings) -> TinyRecursiveModel:
    hidden, n, n_cycles = size
    config = ModelConfig(
        hidden_dim=hidden, num_latent_steps=n, num_recursion_cycles=n_cycles, **settings
    )
    return TinyRecursiveModel(config, seed=seed).double()


def draw(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(values).to(dtype)


@pytest.mark.parametrize("architecture", FORMS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_passes_and_gradients_equal_the_reference(architecture, size, batch):
    model = make_model(size, architecture=architecture)
    wake_halt_head(model)
    plain = reference(model)
    features = draw(batch, 10)
    states = None
    y, z = plain.start(batch)
    for _ in range(3):  # supervision steps, states carried detached
        output = model(features, states)
        y, z, logits, halt = deep_recursion(plain, features, y, z, size[1], size[2])
        for got, expected in (
            (output.logits, logits),
            (output.halt_logits, halt),
            (output.states.answer, y),
            (output.states.latent, z),
        ):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
        (output.logits.square().mean() + output.halt_logits.sin().mean()).backward()
        (logits.square().mean() + halt.sin().mean()).backward()
        states, y, z = output.states.detach(), y.detach(), z.detach()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, plain.p[name].grad, rtol=1e-10, atol=1e-10
        )


def test_parameter_counts_at_the_defaults():
    hidden, inner = 512, 1536
    net = 2 * (hidden * 2 * inner + inner * hidden)
    heads = hidden * 8 + 8 + hidden + 1
    paper = ModelConfig(architecture="paper")

    assert TinyRecursiveModel().n_parameters == 1_981_449
    assert TinyRecursiveModel(paper).n_parameters == 11 * hidden + net + heads


def test_the_paper_starts_from_states_that_are_not_zero_and_follow_the_seed():
    config = ModelConfig(architecture="paper", hidden_dim=64)
    first, same = TinyRecursiveModel(config), TinyRecursiveModel(config)

    states = first.initial_states(3)

    for state in states:
        assert 0.85 < state[0].std() < 1.15
        assert state.abs().max() <= 2 / 0.8796  # a normal cut at two has 0.88
        assert (state == state[0]).all()
    assert torch.equal(states.answer, same.initial_states(3).answer)
    assert not torch.equal(states.answer, states.latent)
    assert "nets.answer_start" in first.state_dict()


@pytest.mark.parametrize("architecture", FORMS)
def test_float32_decides_as_float64_where_the_margin_is_clear(architecture):
    model = TinyRecursiveModel(ModelConfig(hidden_dim=64, architecture=architecture))
    features = draw(200, 10, dtype=torch.float32)
    single = model(features).logits
    double = model.double()(features.double()).logits
    top = double.topk(2, dim=1).values
    is_clear = top[:, 0] - top[:, 1] > 1e-4

    assert is_clear.sum() > 190
    assert torch.equal(single.argmax(1)[is_clear], double.argmax(1)[is_clear])


@pytest.mark.parametrize("architecture", FORMS)
def test_no_gradient_reaches_the_first_cycles(architecture):
    """With the states before the last cycle given, one cycle has the same gradient."""
    model = make_model((16, 2, 3), architecture=architecture)
    last = make_model((16, 2, 1), architecture=architecture)
    last.load_state_dict(model.state_dict())
    features = draw(4, 10)
    with torch.no_grad():
        states = model.initial_states(4)
        for _ in range(2):
            states = model.latent_recursion(model.embedding(features), states)[-1]

    model(features).logits.square().sum().backward()
    last(features, states).logits.square().sum().backward()

    for ours, theirs in zip(model.parameters(), last.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", FORMS)
def test_every_parameter_receives_gradient_the_halt_head_included(architecture):
    model = make_model((16, 2, 3), architecture=architecture)
    output = model(draw(4, 10))
    (output.logits.square().sum() + output.halt_logits.sum()).backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("architecture", FORMS)
def test_cycles_compose_to_a_pass(architecture):
    model = make_model((16, 3, 2), architecture=architecture)
    features = draw(5, 10)
    x, states = model.embedding(features), model.initial_states(5)
    seen = []
    for _ in range(2):
        seen += model.latent_recursion(x, states)
        states = seen[-1]

    output = model(features, return_intermediate=True)

    assert len(output.intermediate) == len(seen) == 2 * (3 + 1)
    for got, expected in zip(output.intermediate, seen, strict=True):
        torch.testing.assert_close(got.answer, expected.answer, rtol=0, atol=1e-12)
        torch.testing.assert_close(got.latent, expected.latent, rtol=0, atol=1e-12)
    halt = model.compute_halt_signal(states)
    torch.testing.assert_close(output.halt_logits, halt, rtol=0, atol=1e-12)
    assert model(features).intermediate == []


def test_updates_start_small():
    model = make_model((16, 4, 2))

    assert model.nets.reason_norm.weight.unique().tolist() == [1 / 4]
    assert model.nets.solve_norm.weight.unique().tolist() == [1 / 2]


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

    dropped = model.nets._activate(values, np.random.default_rng(0))

    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(0.1, abs=0.003)  # 3 standard errors are 0.002
    assert dropped.mean().item() == pytest.approx(
        model.nets._activate(values, None).mean().item(), rel=0.01
    )
    assert len(dropped.unique()) == 2


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("size", [(512, 1, 1), (48, 2, 2), (16, 1, 1)])
def test_a_row_has_the_same_bits_in_any_company(n_threads, size):
    model = make_model(size, max_supervision_steps=2).float()
    n_rows = BLOCK_ROWS + 9
    features = draw(n_rows, 10, dtype=torch.float32)
    with cpu_threads(n_threads):
        together = model.predict(features)
        for row in range(0, n_rows, 8):
            alone = model.predict(features[row : row + 1])
            assert torch.equal(alone.logits[0], together.logits[row])
            assert torch.equal(alone.halt_logits[0], together.halt_logits[row])
            assert alone.n_steps[0] == together.n_steps[row]


LIBRARIES = [
    pytest.param(
        True,
        id="oneDNN",
        marks=pytest.mark.skipif(not nets.HAS_ONEDNN, reason="torch has no oneDNN"),
    ),
    pytest.param(False, id="MKL"),
]


@pytest.mark.parametrize("has_onednn", LIBRARIES)
@pytest.mark.parametrize("hidden_dim", [16, 48, 80, 512])
def test_the_same_row_has_the_same_bits_in_every_position_of_a_block(
    monkeypatch, hidden_dim, has_onednn
):
    monkeypatch.setattr(nets, "HAS_ONEDNN", has_onednn)
    config = ModelConfig(
        hidden_dim=hidden_dim, num_latent_steps=2, max_supervision_steps=1
    )
    model = TinyRecursiveModel(config)
    rows = draw(1, 10, dtype=torch.float32).repeat(BLOCK_ROWS, 1)
    for n_threads in (1, 2):
        with cpu_threads(n_threads):
            found = model.predict(rows)
        assert len(found.logits.unique(dim=0)) == 1
        assert len(found.halt_logits.unique()) == 1


KERNELS = {
    "sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512"},
    "compatible": {"MKL_CBWR": "COMPATIBLE"},
}
"""Settings by which this processor computes as another one would."""


def check_bits_by_every_size() -> None:
    """Compare rows in every small block, beside a block and alone.

    By oneDNN a row alone must need no more than a small block. MKL is not held to this:
    restricted to AVX2 on an Intel processor, it adds up the last two rows of a block in
    another order than the others.
    """
    for architecture in ("dual", "paper"):
        config = ModelConfig(
            architecture=architecture,
            num_latent_steps=1,
            num_recursion_cycles=1,
            max_supervision_steps=2,
        )
        model = TinyRecursiveModel(config)
        features = draw(BLOCK_ROWS + 9, 10, dtype=torch.float32)
        with cpu_threads(1):
            together = model.predict(features, n_threads=2)
            for n_rows in (1, 3, 7, 40):
                apart = [model.predict(rows) for rows in features.split(n_rows)]
                for name in ("logits", "halt_logits", "n_steps"):
                    joined = torch.cat([getattr(found, name) for found in apart])
                    assert torch.equal(joined, getattr(together, name)), n_rows
            assert model._gives_the_bits_of_a_block(features, 2)


@pytest.mark.evidence
@pytest.mark.skipif(not nets.HAS_ONEDNN, reason="torch has no oneDNN")
@pytest.mark.parametrize("kernel", KERNELS)
def test_small_blocks_have_the_bits_of_large_ones_on_other_processors(kernel):
    if kernel == "avx512" and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("this processor has no AVX-512")
    code = "from tests.test_model import check_bits_by_every_size as check; check()"
    mkl = {"MKL_ENABLE_INSTRUCTIONS": kernel.upper().replace("SSE41", "SSE4_2")}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **mkl, **KERNELS[kernel]},
        check=True,
        timeout=600,
    )


def test_a_block_that_adds_up_otherwise_is_not_used(monkeypatch):
    model = make_model((64, 1, 1), max_supervision_steps=1).float()
    features = draw(BLOCK_ROWS + 9, 10, dtype=torch.float32)
    expected = model.predict(features)
    plain, seen = nets.affine, set()

    def backwards_if_small(rows, weight, added):
        seen.add(len(rows))
        if len(rows) >= 32:
            return plain(rows, weight, added)
        dense = weight.to_dense() if weight.is_mkldnn else weight
        return plain(rows.flip(1), nets.packed(dense.flip(1)), added)

    monkeypatch.setattr(nets, "affine", backwards_if_small)
    _drawn_answers.cache_clear()
    found = model.predict(features)
    _drawn_answers.cache_clear()

    assert torch.equal(found.logits, expected.logits)
    assert seen == {16, 32, BLOCK_ROWS}  # 16 was tried for 9, and 32 then used


@pytest.mark.parametrize("has_onednn", LIBRARIES)
def test_inference_by_either_library_equals_float64(monkeypatch, has_onednn):
    monkeypatch.setattr(nets, "HAS_ONEDNN", has_onednn)
    model = make_model((64, 3, 2), max_supervision_steps=1)
    features = draw(200, 10)
    with torch.no_grad():
        exact = model(features)

    found = model.float().predict(features.float())

    torch.testing.assert_close(found.logits.double(), exact.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        found.halt_logits.double(), exact.halt_logits, rtol=0, atol=1e-5
    )


def test_each_row_halts_on_its_own():
    model = make_model((16, 2, 2), max_supervision_steps=5, halt_threshold=0.5)
    features = draw(150, 10, seed=3)
    with torch.no_grad():  # centre the first halt logits, so that rows part ways
        model.nets.halt_out.bias -= model(features).halt_logits.median()

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
        model.nets.halt_out.bias.fill_(bias)

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


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_the_default_dtype_of_the_caller_changes_nothing(default):
    expected = TinyRecursiveModel().state_dict()
    torch.set_default_dtype(default)
    try:
        found = TinyRecursiveModel().state_dict()
        assert torch.get_default_dtype() == default
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in expected.items():
        assert torch.equal(found[name], value)
