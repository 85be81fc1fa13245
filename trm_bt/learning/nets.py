"""The two forms of the recursive network, and the products they are made of.

x is the embedded features, y the answer, z the latent, n the latent steps of a cycle, T
the cycles of a pass.

References
----------
Jolicoeur-Martineau, A. (2025). Less is More: Recursive Reasoning with Tiny Networks.
arXiv:2510.04871.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trm_bt.config import ModelConfig
from trm_bt.learning.blocks import BLOCK_ROWS

HAS_ONEDNN: Final = bool(
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # torch's
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
)
"""Whether torch offers oneDNN's products; see `packed`."""

_SWIGLU_MULTIPLE: Final = 256
_NORM_EPS: Final = 1e-5
_FIRST_HALT_LOGIT: Final = -5.0
_CUT_DEVIATION: Final = 0.879626
"""Standard deviation of a standard normal that is cut at two deviations."""


class States(NamedTuple):
    """Answer y and latent z, each of shape (batch, hidden_dim)."""

    answer: Tensor
    latent: Tensor

    def detach(self) -> "States":
        """Detach both from the graph, to carry them into the next pass."""
        return States(self.answer.detach(), self.latent.detach())


Cycle = Callable[[States], Iterator[States]]
"""From the states before a cycle to those after each of its n + 1 updates."""

Weights = Mapping[str, Tensor]
"""Weights of each product by the layer's name, of shape (n_out, n_in)."""

Dropout = np.random.Generator | None
"""Source of the dropout masks; None for no dropout."""


class DualNets(nn.Module):
    """A net for z and one for y.

    ``z <- z + LN(W2 gelu(W1 [x; y; z]))`` and ``y <- y + LN(W4 gelu(W3 [y; z]))``.
    ``W1 [x; y; z]`` is the sum of three products; that of x is computed once, and that
    of y once a cycle.

    The gains of the two update norms start at 1 / n and 1 / T, so that a cycle moves
    the latent, and a pass the answer, by about one unit. With gains of 1 the states
    outgrow the embedded features before the network has learned to read them.
    """

    def __init__(self, config: ModelConfig, n_allocations: int) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_dim
        self.reason_in = nn.Linear(3 * hidden, hidden)  # W1, columns [x; y; z]
        self.reason_out = nn.Linear(hidden, hidden)  # W2
        self.solve_in = nn.Linear(2 * hidden, hidden)  # W3, columns [y; z]
        self.solve_out = nn.Linear(hidden, hidden)  # W4
        self.readout = nn.Linear(hidden, n_allocations)
        self.halt_in = nn.Linear(hidden, hidden // 2)
        self.halt_out = nn.Linear(hidden // 2, 1)
        self.reason_norm = nn.LayerNorm(hidden)
        self.solve_norm = nn.LayerNorm(hidden)
        self.readout_norm = nn.LayerNorm(hidden)
        nn.init.constant_(self.reason_norm.weight, 1 / config.num_latent_steps)
        nn.init.constant_(self.solve_norm.weight, 1 / config.num_recursion_cycles)

    def initial_states(self, n_rows: int) -> States:
        """Return zeros, shape (n_rows, hidden_dim)."""
        zeros = self.reason_out.weight.new_zeros(n_rows, self.config.hidden_dim)
        return States(zeros, zeros.clone())

    def weights(self) -> Weights:
        """Return what rows are multiplied by, W1 by its columns x, y and z."""
        matrices = _matrices(self)
        parts = matrices.pop("reason_in").chunk(3, dim=1)
        w1 = {f"reason_in.{x}": part for x, part in zip("xyz", parts, strict=True)}
        return matrices | w1

    def enter(self, embedded: Tensor, weights: Weights) -> Tensor:
        """Return what x adds in every latent step, shape (batch, hidden_dim)."""
        return affine(embedded, weights["reason_in.x"], self.reason_in.bias)

    def begin_pass(self, entered: Tensor, weights: Weights, dropout: Dropout) -> Cycle:
        """Return the cycle of a pass over rows that have entered."""
        return partial(self._cycle, entered, weights, dropout)

    def logits(self, states: States, weights: Weights) -> Tensor:
        """Return the logits of y, shape (batch, n_allocations)."""
        answer = self.readout_norm(states.answer)
        return affine(answer, weights["readout"], self.readout.bias)

    def halt_logits(self, states: States, weights: Weights, dropout: Dropout) -> Tensor:
        """Return the halt logits of z, shape (batch,)."""
        inner = affine(states.latent, weights["halt_in"], self.halt_in.bias)
        hidden = self._activate(inner, dropout)  # (batch, hidden / 2)
        return affine(hidden, weights["halt_out"], self.halt_out.bias).squeeze(1)

    def _cycle(
        self, entered: Tensor, weights: Weights, dropout: Dropout, states: States
    ) -> Iterator[States]:
        answer, latent = states
        fixed = affine(answer, weights["reason_in.y"], entered)  # (batch, hidden)
        for _ in range(self.config.num_latent_steps):
            inner = affine(latent, weights["reason_in.z"], fixed)  # W1 [x; y; z]
            hidden = self._activate(inner, dropout)
            out = affine(hidden, weights["reason_out"], self.reason_out.bias)
            latent = latent + self.reason_norm(out)
            yield States(answer, latent)
        both = torch.cat([answer, latent], dim=1)  # (batch, 2 hidden)
        inner = affine(both, weights["solve_in"], self.solve_in.bias)
        hidden = self._activate(inner, dropout)
        out = affine(hidden, weights["solve_out"], self.solve_out.bias)
        yield States(answer + self.solve_norm(out), latent)

    def _activate(self, values: Tensor, dropout: Dropout) -> Tensor:
        """Apply gelu and, given a generator, dropout."""
        hidden = functional.gelu(values)
        if dropout is None or self.config.dropout == 0:
            return hidden
        return hidden.mul_(keep_mask(hidden, self.config.dropout, dropout))


class PaperNet(nn.Module):
    """One net for both: ``z <- net(x + y + z)``, ``y <- net(y + z)``, as in the paper.

    The net is two blocks ``h <- RMSNorm(h + W_down (silu(W_gate h) * W_up h))`` without
    biases, gains or dropout. A row is a single vector: there is nothing to attend to.
    As in the authors' code the inner width is 8 / 3 of the outer, rounded up to 256s,
    weights are drawn with a variance of 1 / fan-in and initial states once with 1, from
    normals cut at two deviations, and the halt head starts at -5.
    """

    answer_start: Tensor
    latent_start: Tensor

    def __init__(self, config: ModelConfig, n_allocations: int) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_dim
        inner = math.ceil(round(hidden * 8 / 3) / _SWIGLU_MULTIPLE) * _SWIGLU_MULTIPLE
        self.gate_up = nn.ModuleList(
            nn.Linear(hidden, 2 * inner, bias=False) for _ in range(2)
        )
        self.down = nn.ModuleList(
            nn.Linear(inner, hidden, bias=False) for _ in range(2)
        )
        self.readout = nn.Linear(hidden, n_allocations)
        self.halt = nn.Linear(hidden, 1)
        for linear in (*self.gate_up, *self.down, self.readout):
            _draw_cut_normal(linear.weight, linear.weight.shape[1] ** -0.5)
        nn.init.zeros_(self.readout.bias)
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, _FIRST_HALT_LOGIT)
        for name in ("answer_start", "latent_start"):  # y_init and z_init, (hidden,)
            self.register_buffer(name, _draw_cut_normal(torch.empty(hidden), 1.0))

    def initial_states(self, n_rows: int) -> States:
        """Return the one start of every row, shape (n_rows, hidden_dim)."""
        return States(
            self.answer_start.expand(n_rows, -1), self.latent_start.expand(n_rows, -1)
        )

    def weights(self) -> Weights:
        """Return what rows are multiplied by."""
        return _matrices(self)

    def enter(self, embedded: Tensor, _: Weights) -> Tensor:
        """Return what x adds in every latent step, which is x itself."""
        return embedded

    def begin_pass(self, entered: Tensor, weights: Weights, _: Dropout) -> Cycle:
        """Return the cycle of a pass over rows that have entered."""
        return partial(self._cycle, entered, weights)

    def logits(self, states: States, weights: Weights) -> Tensor:
        """Return the logits of y, shape (batch, n_allocations)."""
        return affine(states.answer, weights["readout"], self.readout.bias)

    def halt_logits(self, states: States, weights: Weights, _: Dropout) -> Tensor:
        """Return the halt logits of y, shape (batch,)."""
        return affine(states.answer, weights["halt"], self.halt.bias).squeeze(1)

    def _cycle(
        self, entered: Tensor, weights: Weights, states: States
    ) -> Iterator[States]:
        answer, latent = states
        fixed = entered + answer  # x + y
        for _ in range(self.config.num_latent_steps):
            latent = self._net(fixed + latent, weights)
            yield States(answer, latent)
        yield States(self._net(answer + latent, weights), latent)

    def _net(self, values: Tensor, weights: Weights) -> Tensor:
        """Apply the two blocks, shape (batch, hidden_dim) throughout."""
        for i in range(len(self.down)):
            both = affine(values, weights[f"gate_up.{i}"], None)
            gate, up = both.chunk(2, dim=1)  # each (batch, inner)
            change = affine(functional.silu(gate) * up, weights[f"down.{i}"], None)
            values = functional.rms_norm(
                values + change, values.shape[1:], eps=_NORM_EPS
            )
        return values


def _draw_cut_normal(tensor: Tensor, std: float) -> Tensor:
    """Fill with a normal cut at two deviations, which then has the deviation `std`."""
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor).mul_(std / _CUT_DEVIATION)


def _matrices(network: nn.Module) -> dict[str, Tensor]:
    named = network.named_parameters()
    return {name.removesuffix(".weight"): w for name, w in named if w.dim() == 2}


def packed(weight: Tensor) -> Tensor:
    """Return weights in the layout in which `affine` multiplies by them.

    Torch multiplies float32 matrices by MKL, which leaves half of an AMD processor's
    vector units idle, and which adds up few rows in another order than many; oneDNN,
    which torch brings too, does neither, once it has its own layout of the weights.
    It has no gradients, so it is used in inference mode only.
    `tests.bench.model_speed` measures both.

    Parameters
    ----------
    weight : Tensor of shape (n_out, n_in)
        A layer's weights, or some of their columns.

    Returns
    -------
    Tensor of shape (n_out, n_in)
        A copy in oneDNN's layout, in inference mode on a processor, in float32, where
        torch has it; else what was given.
    """
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    if not (HAS_ONEDNN and torch.is_inference_mode_enabled() and is_plain):
        return weight
    arranged: Tensor = torch.ops.mkldnn._reorder_linear_weight(
        weight.contiguous(), BLOCK_ROWS
    )
    return arranged


def affine(rows: Tensor, weight: Tensor, added: Tensor | None) -> Tensor:
    """Return ``rows @ weight.t() + added``.

    Parameters
    ----------
    rows : Tensor of shape (batch, n_in)
        Inputs.
    weight : Tensor of shape (n_out, n_in)
        A layer's weights, `packed` or not.
    added : Tensor of shape (n_out,) or (batch, n_out), optional
        A bias, or what is added to each row.

    Returns
    -------
    Tensor of shape (batch, n_out)

    Examples
    --------
    >>> rows, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    >>> affine(rows, weight, torch.tensor([0.5])).tolist()
    [[11.5]]
    """
    by_onednn = torch.ops.mkldnn._linear_pointwise if weight.is_mkldnn else None
    product: Tensor
    if added is None or added.dim() == 1:
        if by_onednn is None:
            return functional.linear(rows, weight, added)
        product = by_onednn(rows, weight, added, "none", [], "")
    elif by_onednn is None:
        return torch.addmm(added, rows, weight.t())
    else:
        product = by_onednn.binary(rows, added, weight, None, "add")
    return product


def keep_mask(like: Tensor, rate: float, generator: np.random.Generator) -> Tensor:
    """Draw a dropout mask, 0 or 1 / (1 - rate), with the shape of `like`.

    Sixteen bits decide an element, so the rate is met to 1e-5. Raw numpy bits are ten
    times as fast as torch's Bernoulli draws, which would cost more than the products.
    """
    n_words = -(-like.numel() // 4)
    words = generator.integers(0, 2**64 - 1, n_words, dtype=np.uint64, endpoint=True)
    bits = words.view(np.uint16)[: like.numel()]
    dropped = round(rate * 2**16)
    scale = np.float32(2**16 / (2**16 - dropped))
    mask = np.multiply(bits >= dropped, scale).reshape(like.shape)
    return torch.from_numpy(mask).to(like)
