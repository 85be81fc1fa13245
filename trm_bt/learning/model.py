"""The Tiny Recursive Model: one small network, applied to its own answer many times.

Symbols of the paper: x is the embedded features, y the answer, z the latent, n the
latent steps of a cycle, T the cycles of a pass, N_sup the passes. Deep supervision
carries y and z from pass to pass; training does so detached, inference until the halt
head says stop. What is updated by which network is the `architecture`:

- "dual": a reasoning net for z and a solution net for y, each of two layers;
- "paper": one net of two blocks for both, told apart by whether x is in the sum.

References
----------
Jolicoeur-Martineau, A. (2025). Less is More: Recursive Reasoning with Tiny Networks.
arXiv:2510.04871.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trm_bt.config import ModelConfig
from trm_bt.learning.products import affine, column_parts
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.features import FEATURE_NAMES

BLOCK_ROWS: Final = 128
"""Inference always multiplies blocks of so many rows, the last one padded, so that a
row's bits do not depend on how many rows are asked for."""

_HALT_DIM_DIVISOR: Final = 2
_SWIGLU_MULTIPLE: Final = 256
_NORM_EPS: Final = 1e-5
_FIRST_HALT_LOGIT: Final = -5.0
_CUT_DEVIATION: Final = 0.879626
"""Deviation of a standard normal that is cut at two deviations."""


class States(NamedTuple):
    """Answer y and latent z, each of shape (batch, hidden_dim)."""

    answer: Tensor
    latent: Tensor

    def detach(self) -> "States":
        """Cut both off the graph, to carry them into the next pass."""
        return States(self.answer.detach(), self.latent.detach())


@dataclass(frozen=True)
class Pass:
    """What one pass of T cycles gives.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_allocations)
        Unnormalised log-probabilities of the allocations.
    halt_logits : Tensor of shape (batch,)
        Log-odds that the answer is right.
    states : States
        Final answer and latent, still on the graph of the last cycle.
    intermediate : list of States
        On request the states after each of the T (n + 1) updates, else empty.
    """

    logits: Tensor
    halt_logits: Tensor
    states: States
    intermediate: list[States] = field(default_factory=list)


@dataclass(frozen=True)
class Prediction:
    """Inference on rows, each halted on its own.

    Parameters
    ----------
    logits : Tensor of shape (n_rows, n_allocations)
        Logits of the pass after which the row halted.
    halt_logits : Tensor of shape (n_rows,)
        Halt logits of that pass.
    n_steps : Tensor of shape (n_rows,), int64
        Supervision steps that the row took, from 1 to `max_supervision_steps`.
    step_logits : Tensor of shape (max_supervision_steps, n_rows, n_allocations)
        Logits after each pass, NaN in the passes that a row did not take.
    """

    logits: Tensor
    halt_logits: Tensor
    n_steps: Tensor
    step_logits: Tensor


_Cycle = Callable[[States], Iterator[States]]
"""From the states before a cycle to those after each of its n + 1 updates."""


class _DualNets(nn.Module):
    """A net for z and one for y.

    ``z <- z + LN(W2 gelu(W1 [x; y; z]))`` and ``y <- y + LN(W4 gelu(W3 [y; z]))``.
    ``W1 [x; y; z]`` is the sum of three products; that of x is computed once a pass and
    that of y once a cycle.

    The gains of the two update norms start at 1 / n and 1 / T, so that a cycle moves
    the latent, and a pass the answer, by about one unit. With gains of 1 the states
    outgrow the embedded features before the network has learned to read them.
    """

    def __init__(self, config: ModelConfig, n_allocations: int) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_dim
        halt_hidden = max(hidden // _HALT_DIM_DIVISOR, 1)
        self.reason_in = nn.Linear(3 * hidden, hidden)  # W1, columns [x; y; z]
        self.reason_out = nn.Linear(hidden, hidden)  # W2
        self.solve_in = nn.Linear(2 * hidden, hidden)  # W3, columns [y; z]
        self.solve_out = nn.Linear(hidden, hidden)  # W4
        self.readout = nn.Linear(hidden, n_allocations)
        self.halt_in = nn.Linear(hidden, halt_hidden)
        self.halt_out = nn.Linear(halt_hidden, 1)
        self.reason_norm = nn.LayerNorm(hidden)
        self.solve_norm = nn.LayerNorm(hidden)
        self.readout_norm = nn.LayerNorm(hidden)
        nn.init.constant_(self.reason_norm.weight, 1 / config.num_latent_steps)
        nn.init.constant_(self.solve_norm.weight, 1 / config.num_recursion_cycles)

    def initial_states(self, n_rows: int) -> States:
        """Return zeros, shape (n_rows, hidden)."""
        zeros = self.reason_out.weight.new_zeros(n_rows, self.config.hidden_dim)
        return States(zeros, zeros.clone())

    def begin_pass(
        self, embedded: Tensor, dropout: np.random.Generator | None
    ) -> _Cycle:
        """Multiply what stays the same in a pass; return its cycle."""
        w1 = column_parts(self.reason_in.weight, 3)  # each (hidden, hidden): x, y, z
        from_embedded = affine(embedded, w1[0], self.reason_in.bias)
        return partial(self._cycle, from_embedded, w1, dropout)

    def update_answer(
        self, states: States, dropout: np.random.Generator | None
    ) -> Tensor:
        """Return the next y, shape (batch, hidden)."""
        both = torch.cat(states, dim=1)  # (batch, 2 hidden)
        inner = affine(both, self.solve_in.weight, self.solve_in.bias)
        hidden = self._activate(inner, dropout)  # (batch, hidden)
        out = affine(hidden, self.solve_out.weight, self.solve_out.bias)
        change: Tensor = self.solve_norm(out)
        return states.answer + change

    def logits(self, states: States) -> Tensor:
        """Return the logits of y, shape (batch, n_allocations)."""
        logits: Tensor = self.readout(self.readout_norm(states.answer))
        return logits

    def halt_logits(
        self, states: States, dropout: np.random.Generator | None
    ) -> Tensor:
        """Return the halt logits of z, shape (batch,)."""
        hidden = self._activate(self.halt_in(states.latent), dropout)  # (batch, h / 2)
        return torch.as_tensor(self.halt_out(hidden)).squeeze(1)  # (batch,)

    def _cycle(
        self,
        from_embedded: Tensor,
        w1: tuple[Tensor, ...],
        dropout: np.random.Generator | None,
        states: States,
    ) -> Iterator[States]:
        answer, latent = states
        _, w1_answer, w1_latent = w1
        fixed = affine(answer, w1_answer, from_embedded)  # (batch, hidden)
        for _ in range(self.config.num_latent_steps):
            inner = affine(latent, w1_latent, fixed)  # W1 [x; y; z]
            hidden = self._activate(inner, dropout)
            out = affine(hidden, self.reason_out.weight, self.reason_out.bias)
            latent = latent + self.reason_norm(out)
            yield States(answer, latent)
        yield States(self.update_answer(States(answer, latent), dropout), latent)

    def _activate(self, values: Tensor, dropout: np.random.Generator | None) -> Tensor:
        """Apply gelu and, given a generator, dropout."""
        hidden = functional.gelu(values)
        if dropout is None or self.config.dropout == 0:
            return hidden
        return hidden.mul_(_keep_mask(hidden, self.config.dropout, dropout))


class _SharedNet(nn.Module):
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
            start = _draw_cut_normal(torch.empty(hidden), 1.0)
            if config.initial_states == "learned":
                self.register_parameter(name, nn.Parameter(start))
            else:
                self.register_buffer(name, start)

    def initial_states(self, n_rows: int) -> States:
        """Return the one start of every row, shape (n_rows, hidden)."""
        return States(
            self.answer_start.expand(n_rows, -1), self.latent_start.expand(n_rows, -1)
        )

    def begin_pass(self, embedded: Tensor, _: np.random.Generator | None) -> _Cycle:
        """Return the cycle of a pass over `embedded`."""
        return partial(self._cycle, embedded)

    def update_answer(self, states: States, _: np.random.Generator | None) -> Tensor:
        """Return the next y, shape (batch, hidden)."""
        return self._net(states.answer + states.latent)

    def logits(self, states: States) -> Tensor:
        """Return the logits of y, shape (batch, n_allocations)."""
        logits: Tensor = self.readout(states.answer)
        return logits

    def halt_logits(self, states: States, _: np.random.Generator | None) -> Tensor:
        """Return the halt logits of y, shape (batch,)."""
        return torch.as_tensor(self.halt(states.answer)).squeeze(1)  # (batch,)

    def _cycle(self, embedded: Tensor, states: States) -> Iterator[States]:
        answer, latent = states
        fixed = embedded + answer  # x + y
        for _ in range(self.config.num_latent_steps):
            latent = self._net(fixed + latent)
            yield States(answer, latent)
        yield States(self.update_answer(States(answer, latent), None), latent)

    def _net(self, values: Tensor) -> Tensor:
        """Go through the two blocks, shape (batch, hidden) throughout."""
        for gate_up, down in zip(self.gate_up, self.down, strict=True):
            gate, up = gate_up(values).chunk(2, dim=1)  # each (batch, inner)
            change = down(functional.silu(gate) * up)  # (batch, hidden)
            values = functional.rms_norm(
                values + change, values.shape[1:], eps=_NORM_EPS
            )
        return values


class TinyRecursiveModel(nn.Module):
    """Recursive network from standardised features to allocation and halt logits.

    Parameters
    ----------
    config : ModelConfig, optional
        Architecture, sizes, dropout and halting.
    seed : int
        Seed of the initial parameters; the global generator is left as it was.
    n_features, n_allocations : int
        Width of a feature row and number of classes.

    Notes
    -----
    A cycle is n latent updates, then an answer update; a pass is T cycles, of which
    only the last has a gradient. Dropout is applied exactly where a method is given a
    `dropout` generator, whatever `train()` or `eval()` say: randomness is always handed
    in.

    Examples
    --------
    >>> TinyRecursiveModel().n_parameters
    1981449
    >>> TinyRecursiveModel(ModelConfig(architecture="paper")).n_parameters
    4728841
    """

    def __init__(
        self,
        config: ModelConfig | None = None,
        *,
        seed: int = 0,
        n_features: int = len(FEATURE_NAMES),
        n_allocations: int = len(ALLOCATION_NAMES),
    ) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.embedding = nn.Linear(n_features, self.config.hidden_dim)
            self.nets: _DualNets | _SharedNet = (
                _DualNets(self.config, n_allocations)
                if self.config.architecture == "dual"
                else _SharedNet(self.config, n_allocations)
            )
        self.n_allocations = n_allocations

    @property
    def n_parameters(self) -> int:
        """Number of trained scalars."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_states(self, n_rows: int) -> States:
        """Return what recursion starts from, shape (n_rows, hidden_dim)."""
        return self.nets.initial_states(n_rows)

    def latent_recursion(
        self,
        embedded: Tensor,
        states: States,
        dropout: np.random.Generator | None = None,
    ) -> list[States]:
        """Go through one cycle: n latent updates, then one answer update.

        Parameters
        ----------
        embedded : Tensor of shape (batch, hidden_dim)
            The embedded features x.
        states : States
            Answer and latent to start from.
        dropout : Generator, optional
            Source of the dropout masks; none, no dropout.

        Returns
        -------
        list of States
            Answer and latent after each of the n + 1 updates.
        """
        return list(self.nets.begin_pass(embedded, dropout)(states))

    def compute_halt_signal(self, states: States) -> Tensor:
        """Return the halt logits of states, shape (batch,)."""
        return self.nets.halt_logits(states, None)

    def forward(
        self,
        features: Tensor,
        states: States | None = None,
        *,
        dropout: np.random.Generator | None = None,
        return_intermediate: bool = False,
    ) -> Pass:
        """Make one pass of T cycles, the first T - 1 without gradient.

        Parameters
        ----------
        features : Tensor of shape (batch, n_features)
            Standardised features.
        states : States, optional
            Carried from the pass before; the initial ones on the first.
        dropout : Generator, optional
            Source of the dropout masks; none, no dropout.
        return_intermediate : bool
            Whether to keep the states after every update.

        Returns
        -------
        Pass
            Logits, halt logits and final states.
        """
        states = states or self.initial_states(len(features))
        cycle = self.nets.begin_pass(self.embedding(features), dropout)
        trace: list[States] = []
        for index in range(self.config.num_recursion_cycles):
            is_last = index == self.config.num_recursion_cycles - 1
            with torch.set_grad_enabled(is_last and torch.is_grad_enabled()):
                for updated in cycle(states):
                    states = updated
                    if return_intermediate:
                        trace.append(states)
        return Pass(
            self.nets.logits(states),
            self.nets.halt_logits(states, dropout),
            states,
            trace,
        )

    @torch.inference_mode()
    def predict(self, features: Tensor) -> Prediction:
        """Run every row until its halt head says stop.

        A row halts after the first pass whose halt probability reaches
        `halt_threshold`, at the latest after `max_supervision_steps`. Rows are
        independent: any split of the rows gives the same bits.

        Parameters
        ----------
        features : Tensor of shape (n_rows, n_features)
            Standardised features.

        Returns
        -------
        Prediction
            Logits, halt logits and steps of each row.
        """
        n_rows, max_steps = len(features), self.config.max_supervision_steps
        states = States(*(state.clone() for state in self.initial_states(n_rows)))
        logits = features.new_empty(n_rows, self.n_allocations)
        step_logits = features.new_full((max_steps, *logits.shape), math.nan)
        halt_logits = features.new_empty(n_rows)
        n_steps = torch.zeros(n_rows, dtype=torch.int64, device=features.device)
        running = torch.arange(n_rows, device=features.device)
        # Held against logits: a vector's last few sigmoids round unlike its others.
        share = self.config.halt_threshold
        threshold = math.log(share / (1 - share))
        for step in range(max_steps):
            if not len(running):
                break
            output = self._pass_in_blocks(
                features[running], States(*(state[running] for state in states))
            )
            logits[running], halt_logits[running] = output.logits, output.halt_logits
            step_logits[step, running] = output.logits
            states.answer[running], states.latent[running] = output.states
            n_steps[running] = step + 1
            is_done = output.halt_logits >= threshold
            running = running[~is_done]
        return Prediction(logits, halt_logits, n_steps, step_logits)

    def get_strategy_probabilities(self, features: Tensor) -> Tensor:
        """Return allocation probabilities, shape (n_rows, n_allocations)."""
        return self.predict(features).logits.softmax(dim=1)

    def predict_strategy(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most probable allocation and its probability, shapes (n_rows,)."""
        confidence, allocation = self.get_strategy_probabilities(features).max(dim=1)
        return allocation, confidence

    def _pass_in_blocks(self, features: Tensor, states: States) -> Pass:
        """Make a pass over blocks of exactly `BLOCK_ROWS` rows, the last one padded."""
        n_rows = len(features)
        n_padding = -n_rows % BLOCK_ROWS
        blocks = [
            torch.split(functional.pad(rows, (0, 0, 0, n_padding)), BLOCK_ROWS)
            for rows in (features, *states)
        ]
        passes = [
            self(rows, States(answer, latent))
            for rows, answer, latent in zip(*blocks, strict=True)
        ]
        return Pass(
            torch.cat([one.logits for one in passes])[:n_rows],
            torch.cat([one.halt_logits for one in passes])[:n_rows],
            States(
                torch.cat([one.states.answer for one in passes])[:n_rows],
                torch.cat([one.states.latent for one in passes])[:n_rows],
            ),
        )


def _draw_cut_normal(tensor: Tensor, std: float) -> Tensor:
    """Fill with a normal cut at two deviations, which then has the deviation `std`."""
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor).mul_(std / _CUT_DEVIATION)


def _keep_mask(like: Tensor, rate: float, generator: np.random.Generator) -> Tensor:
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
