"""The Tiny Recursive Model: one small network, applied to its own answer many times.

Symbols of the paper: x is the embedded features, y the answer, z the latent, n the
latent steps of a cycle, T the cycles of a pass, N_sup the passes. Deep supervision
carries y and z from pass to pass; training does so detached, inference until the halt
head says stop. The `architecture` decides which network updates what:

- "dual": a reasoning net for z and a solution net for y, each of two layers;
- "paper": one net of two blocks for both; only the update of z has x in its sum.

References
----------
Jolicoeur-Martineau, A. (2025). Less is More: Recursive Reasoning with Tiny Networks.
arXiv:2510.04871.
"""

import math
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final

import torch
from torch import Tensor, nn

from trm_bt.config import ModelConfig
from trm_bt.learning import nets
from trm_bt.learning.blocks import BLOCK_ROWS, cut, in_blocks
from trm_bt.learning.devices import single_precision
from trm_bt.learning.nets import Cycle, Dropout, DualNets, PaperNet, States, Weights
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.features import FEATURE_NAMES

_AT_ONCE: Final = 64 * BLOCK_ROWS
"""Rows whose states are there at a time: 16 MiB each at the default width."""
_ONE_OF_EACH: Final = {"num_latent_steps": 1, "num_recursion_cycles": 1}


@dataclass(frozen=True)
class Pass:
    """Result of one pass of T cycles.

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
    `dropout` generator, whatever `train()` or `eval()` say.

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
        with torch.random.fork_rng(devices=[]), single_precision():
            torch.default_generator.manual_seed(seed)
            self.embedding = nn.Linear(n_features, self.config.hidden_dim)
            self.nets: DualNets | PaperNet = (
                DualNets(self.config, n_allocations)
                if self.config.architecture == "dual"
                else PaperNet(self.config, n_allocations)
            )
        self.n_allocations = n_allocations

    @property
    def n_parameters(self) -> int:
        """Number of trained scalars."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_states(self, n_rows: int) -> States:
        """Return what recursion starts from, shape (n_rows, hidden_dim)."""
        return self.nets.initial_states(n_rows)

    def weights(self) -> Weights:
        """Return the weights of every product, in inference mode packed for it."""
        weights = {"embedding": self.embedding.weight, **self.nets.weights()}
        return {name: nets.packed(weight) for name, weight in weights.items()}

    def latent_recursion(
        self, embedded: Tensor, states: States, dropout: Dropout = None
    ) -> list[States]:
        """Make one cycle: n latent updates, then one answer update.

        Parameters
        ----------
        embedded : Tensor of shape (batch, hidden_dim)
            The embedded features x.
        states : States
            Answer and latent to start from.
        dropout : Generator, optional
            Source of the dropout masks; None for no dropout.

        Returns
        -------
        list of States
            Answer and latent after each of the n + 1 updates.
        """
        weights = self.weights()
        entered = self.nets.enter(embedded, weights)
        return list(self.nets.begin_pass(entered, weights, dropout)(states))

    def compute_halt_signal(self, states: States) -> Tensor:
        """Return the halt logits of states, shape (batch,)."""
        return self.nets.halt_logits(states, self.weights(), None)

    def forward(
        self,
        features: Tensor,
        states: States | None = None,
        *,
        dropout: Dropout = None,
        return_intermediate: bool = False,
    ) -> Pass:
        """Make one pass of T cycles, the first T - 1 without gradient.

        Parameters
        ----------
        features : Tensor of shape (batch, n_features)
            Standardised features.
        states : States, optional
            Those after the pass before; the initial ones on the first.
        dropout : Generator, optional
            Source of the dropout masks; None for no dropout.
        return_intermediate : bool
            Whether to keep the states after every update.

        Returns
        -------
        Pass
            Logits, halt logits and final states.
        """
        weights = self.weights()
        return self._pass(
            self.nets.begin_pass(self._enter(features, weights), weights, dropout),
            states or self.initial_states(len(features)),
            weights,
            dropout,
            return_intermediate=return_intermediate,
        )

    def _pass(
        self,
        cycle: Cycle,
        states: States,
        weights: Weights,
        dropout: Dropout = None,
        *,
        return_intermediate: bool = False,
    ) -> Pass:
        """Make the T cycles of a pass over rows that have entered."""
        trace: list[States] = []
        for index in range(self.config.num_recursion_cycles):
            is_last = index == self.config.num_recursion_cycles - 1
            with torch.set_grad_enabled(is_last and torch.is_grad_enabled()):
                for updated in cycle(states):
                    states = updated
                    if return_intermediate:
                        trace.append(states)
        return Pass(
            self.nets.logits(states, weights),
            self.nets.halt_logits(states, weights, dropout),
            states,
            trace,
        )

    def _enter(self, features: Tensor, weights: Weights) -> Tensor:
        """Embed rows of features, and return what they add in every latent step."""
        embedded = nets.affine(features, weights["embedding"], self.embedding.bias)
        return self.nets.enter(embedded, weights)

    @torch.inference_mode()
    def predict(
        self, features: Tensor, *, weights: Weights | None = None, n_threads: int = 1
    ) -> Prediction:
        """Run every row until its halt head says stop.

        A row halts after the first pass whose halt probability reaches
        `halt_threshold`, at the latest after `max_supervision_steps`. Rows are
        independent: any split of the rows, and any number of threads over torch with
        one of its own, gives the same bits.

        Parameters
        ----------
        features : Tensor of shape (n_rows, n_features)
            Standardised features.
        weights : mapping of str to Tensor, optional
            What `weights` returned in inference mode; spares packing them again.
        n_threads : int
            Blocks of rows computed at a time.

        Returns
        -------
        Prediction
            Logits, halt logits and steps of each row.
        """
        weights = weights or self.weights()
        made = [
            self._predict(rows, weights, n_threads) for rows in cut(features, _AT_ONCE)
        ]
        return Prediction(
            torch.cat([one.logits for one in made]),
            torch.cat([one.halt_logits for one in made]),
            torch.cat([one.n_steps for one in made]),
            torch.cat([one.step_logits for one in made], dim=1),
        )

    def _predict(
        self, features: Tensor, weights: Weights, n_threads: int
    ) -> Prediction:
        """Run so many rows that their states need little memory."""
        n_rows, max_steps = len(features), self.config.max_supervision_steps
        blocks = partial(
            in_blocks,
            may_be=partial(self._gives_the_bits_of_a_block, features),
            n_threads=n_threads,
        )
        (entered,) = blocks(lambda rows: (self._enter(rows, weights),), [features])
        states = [state.clone() for state in self.initial_states(n_rows)]
        logits = features.new_empty(n_rows, self.n_allocations)
        step_logits = features.new_full((max_steps, *logits.shape), math.nan)
        halt_logits = features.new_empty(n_rows)
        n_steps = torch.zeros(n_rows, dtype=torch.int64, device=features.device)
        running = torch.arange(n_rows, device=features.device)
        # Compared as logits: a vector's last few sigmoids round unlike its others.
        share = self.config.halt_threshold
        threshold = math.log(share / (1 - share))
        for step in range(max_steps):
            if not len(running):
                break
            found = blocks(
                partial(self._answer, weights),
                [rows[running] for rows in (entered, *states)],
            )
            logits[running], halt_logits[running] = found[:2]
            step_logits[step, running] = found[0]
            states[0][running], states[1][running] = found[2:]
            n_steps[running] = step + 1
            running = running[~(found[1] >= threshold)]
        return Prediction(logits, halt_logits, n_steps, step_logits)

    def get_strategy_probabilities(self, features: Tensor) -> Tensor:
        """Return allocation probabilities, shape (n_rows, n_allocations)."""
        return self.predict(features).logits.softmax(dim=1)

    def predict_strategy(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most probable allocation and its probability, shapes (n_rows,)."""
        confidence, allocation = self.get_strategy_probabilities(features).max(dim=1)
        return allocation, confidence

    def _answer(
        self, weights: Weights, entered: Tensor, answer: Tensor, latent: Tensor
    ) -> tuple[Tensor, ...]:
        """Make a pass over a block; return logits, halt logits, answer and latent."""
        cycle = self.nets.begin_pass(entered, weights, None)
        made = self._pass(cycle, States(answer, latent), weights)
        return made.logits, made.halt_logits, *made.states

    def _gives_the_bits_of_a_block(self, rows: Tensor, n_rows: int) -> bool:
        """Tell whether so few rows have the bits that they have in a whole block."""
        if rows.device.type != "cpu":
            return False
        widths = rows.shape[1], self.n_allocations
        blocks = (
            _drawn_answers(size, *_kernels(self.config, widths, rows.dtype))
            for size in (n_rows, BLOCK_ROWS)
        )
        return torch.equal(*blocks)


def kernel_bits(config: ModelConfig, widths: tuple[int, int]) -> bytes:
    """Return bits by which this processor's products of float32 can be told.

    Parameters
    ----------
    config : ModelConfig
        Sizes of the network.
    widths : (int, int)
        Number of features and of allocations.
    """
    kernels = _kernels(config, widths, torch.float32)
    return _drawn_answers(BLOCK_ROWS, *kernels).numpy().tobytes()


def _kernels(
    config: ModelConfig, widths: tuple[int, int], dtype: torch.dtype
) -> tuple[ModelConfig, tuple[int, int], torch.dtype, tuple[bool, int]]:
    """Return what decides by which kernels rows are multiplied, on one processor."""
    one_of_each = config.model_copy(update=_ONE_OF_EACH)
    return one_of_each, widths, dtype, (nets.HAS_ONEDNN, torch.get_num_threads())


@cache
@torch.inference_mode()
def _drawn_answers(
    n_rows: int,
    config: ModelConfig,
    widths: tuple[int, int],
    dtype: torch.dtype,
    _multiplied_by: tuple[bool, int],
) -> Tensor:
    """Return what a network with drawn parameters makes of a block, cut into smaller.

    In which order a product adds up depends on its shape, and never on its numbers:
    this network meets every product of such a model, in every place of a block.
    """
    model = TinyRecursiveModel(config, n_features=widths[0], n_allocations=widths[1])
    drawn = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.normal_(std=parameter.shape[-1] ** -0.5, generator=drawn)
    model = model.to(dtype)
    rows = torch.randn(BLOCK_ROWS, widths[0], generator=drawn).to(dtype)
    starts = torch.randn(2, BLOCK_ROWS, config.hidden_dim, generator=drawn).to(dtype)
    weights = model.weights()

    def answers(rows: Tensor, answer: Tensor, latent: Tensor) -> Tensor:
        entered = model._enter(rows, weights)
        logits, halt_logits, *states = model._answer(weights, entered, answer, latent)
        return torch.cat([entered, logits, halt_logits[:, None], *states], dim=1)

    blocks = zip(*(cut(each, n_rows) for each in (rows, *starts)), strict=True)
    return torch.cat([answers(*block) for block in blocks])
