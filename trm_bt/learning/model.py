"""The Tiny Recursive Model: one small network, applied to its own answer many times.

Symbols of the paper: x is the embedded features, y the answer, z the latent, n the
latent steps of a cycle, T the cycles of a pass. Deep supervision carries y and z from
pass to pass; training does so detached, inference until the halt head says stop.

References
----------
Jolicoeur-Martineau, A. (2025). Less is More: Recursive Reasoning with Tiny Networks.
arXiv:2510.04871.
"""

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trm_bt.config import ModelConfig
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.features import FEATURE_NAMES

BLOCK_ROWS: Final = 64
"""Inference always multiplies blocks of so many rows, the last one padded, so that a
row's bits do not depend on how many rows are asked for."""

_HALT_DIM_DIVISOR: Final = 2


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
    """

    logits: Tensor
    halt_logits: Tensor
    n_steps: Tensor


class _SplitW1(NamedTuple):
    """The columns of W1 that meet x, y and z, each of shape (hidden, hidden)."""

    embedded: Tensor
    answer: Tensor
    latent: Tensor


class TinyRecursiveModel(nn.Module):
    """Recursive network from standardised features to allocation and halt logits.

    Parameters
    ----------
    config : ModelConfig, optional
        Sizes, dropout and halting.
    seed : int
        Seed of the initial parameters; the global generator is left as it was.
    n_features, n_allocations : int
        Width of a feature row and number of classes.

    Notes
    -----
    ``z <- z + LN(W2 gelu(W1 [x; y; z]))`` n times, then
    ``y <- y + LN(W4 gelu(W3 [y; z]))``: a cycle. ``W1 [x; y; z]`` is the sum of three
    products; that of x is computed once a pass and that of y once a cycle. Dropout
    follows each gelu exactly where a method is given a `dropout` generator, whatever
    `train()` or `eval()` say: randomness is always handed in.

    The gains of the two update norms start at 1 / n and 1 / T, so that a cycle moves
    the latent, and a pass the answer, by about one unit. With gains of 1 the states
    outgrow the embedded features before the network has learned to read them.
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
        hidden = self.config.hidden_dim
        halt_hidden = max(hidden // _HALT_DIM_DIVISOR, 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.embedding = nn.Linear(n_features, hidden)
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
        nn.init.constant_(self.reason_norm.weight, 1 / self.config.num_latent_steps)
        nn.init.constant_(self.solve_norm.weight, 1 / self.config.num_recursion_cycles)

    @property
    def n_parameters(self) -> int:
        """Number of trained scalars."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_states(self, n_rows: int) -> States:
        """Return the zeros that recursion starts from, shape (n_rows, hidden_dim)."""
        weight = self.reason_out.weight
        zeros = weight.new_zeros(n_rows, self.config.hidden_dim)
        return States(zeros, zeros.clone())

    def reasoning_update(
        self,
        embedded: Tensor,
        states: States,
        dropout: np.random.Generator | None = None,
    ) -> Tensor:
        """Return the next latent, all shapes (batch, hidden_dim)."""
        w1 = self._split_w1()
        fixed = self._from_embedded(embedded, w1) + states.answer @ w1.answer.t()
        return self._reason(fixed, states.latent, w1, dropout)

    def solution_update(
        self, states: States, dropout: np.random.Generator | None = None
    ) -> Tensor:
        """Return the next answer, shape (batch, hidden_dim)."""
        both = torch.cat(states, dim=1)  # (batch, 2 hidden)
        hidden = self._activate(self.solve_in(both), dropout)
        change: Tensor = self.solve_norm(self.solve_out(hidden))
        return states.answer + change

    def latent_recursion(
        self,
        embedded: Tensor,
        states: States,
        dropout: np.random.Generator | None = None,
    ) -> States:
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
        States
            Answer and latent after the cycle.
        """
        w1 = self._split_w1()
        return self._cycle(self._from_embedded(embedded, w1), states, w1, dropout)[-1]

    def compute_halt_signal(
        self, latent: Tensor, dropout: np.random.Generator | None = None
    ) -> Tensor:
        """Return the halt logits, shape (batch,), of a latent (batch, hidden_dim)."""
        hidden = self._activate(self.halt_in(latent), dropout)  # (batch, halt_hidden)
        return torch.as_tensor(self.halt_out(hidden)).squeeze(1)

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
            Carried from the pass before; zeros on the first.
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
        w1 = self._split_w1()
        from_embedded = self._from_embedded(self.embedding(features), w1)
        trace: list[States] = []
        with torch.no_grad():
            for _ in range(self.config.num_recursion_cycles - 1):
                trace += self._cycle(from_embedded, states, w1, dropout)
                states = trace[-1]
                if not return_intermediate:
                    trace.clear()
        trace += self._cycle(from_embedded, states, w1, dropout)
        states = trace[-1]
        return Pass(
            self.readout(self.readout_norm(states.answer)),
            self.compute_halt_signal(states.latent, dropout),
            states,
            trace if return_intermediate else [],
        )

    @torch.no_grad()
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
        n_rows = len(features)
        states = self.initial_states(n_rows)
        logits = features.new_empty(n_rows, self.readout.out_features)
        halt_logits = features.new_empty(n_rows)
        n_steps = torch.zeros(n_rows, dtype=torch.int64, device=features.device)
        running = torch.arange(n_rows, device=features.device)
        # Held against logits: a vector's last few sigmoids round unlike its others.
        share = self.config.halt_threshold
        threshold = math.log(share / (1 - share))
        for step in range(1, self.config.max_supervision_steps + 1):
            if not len(running):
                break
            output = self._pass_in_blocks(
                features[running], States(*(state[running] for state in states))
            )
            logits[running], halt_logits[running] = output.logits, output.halt_logits
            states.answer[running], states.latent[running] = output.states
            n_steps[running] = step
            is_done = output.halt_logits >= threshold
            running = running[~is_done]
        return Prediction(logits, halt_logits, n_steps)

    def get_strategy_probabilities(self, features: Tensor) -> Tensor:
        """Return allocation probabilities, shape (n_rows, n_allocations)."""
        return self.predict(features).logits.softmax(dim=1)

    def predict_strategy(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most probable allocation and its probability, shapes (n_rows,)."""
        confidence, allocation = self.get_strategy_probabilities(features).max(dim=1)
        return allocation, confidence

    def _split_w1(self) -> _SplitW1:
        """Split W1 once a pass, so that its gradient is put together once."""
        return _SplitW1(*self.reason_in.weight.chunk(3, dim=1))

    def _from_embedded(self, embedded: Tensor, w1: _SplitW1) -> Tensor:
        return functional.linear(embedded, w1.embedded, self.reason_in.bias)

    def _cycle(
        self,
        from_embedded: Tensor,
        states: States,
        w1: _SplitW1,
        dropout: np.random.Generator | None,
    ) -> list[States]:
        """Return the states after each of the n + 1 updates of a cycle."""
        answer, latent = states
        fixed = torch.addmm(from_embedded, answer, w1.answer.t())  # (batch, hidden)
        trace = []
        for _ in range(self.config.num_latent_steps):
            latent = self._reason(fixed, latent, w1, dropout)
            trace.append(States(answer, latent))
        answer = self.solution_update(trace[-1], dropout)
        return [*trace, States(answer, latent)]

    def _reason(
        self,
        fixed: Tensor,
        latent: Tensor,
        w1: _SplitW1,
        dropout: np.random.Generator | None,
    ) -> Tensor:
        """Update the latent, given W1's products with what stays fixed in a cycle."""
        hidden = self._activate(torch.addmm(fixed, latent, w1.latent.t()), dropout)
        change: Tensor = self.reason_norm(self.reason_out(hidden))
        return latent + change

    def _activate(self, values: Tensor, dropout: np.random.Generator | None) -> Tensor:
        """Apply gelu and, given a generator, dropout."""
        hidden = functional.gelu(values)
        if dropout is None or self.config.dropout == 0:
            return hidden
        return hidden.mul_(_keep_mask(hidden, self.config.dropout, dropout))

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
