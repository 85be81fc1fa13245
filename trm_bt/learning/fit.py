"""The moving parts of a training, and the one step that moves them all."""

import copy
import math
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trm_bt.config import TRMConfig
from trm_bt.learning.batches import Batches
from trm_bt.learning.gradfilter import GrokFastFilter
from trm_bt.learning.schedule import average_decay, batch_rows, learning_rate

_Net = TypeVar("_Net", bound=nn.Module)


class Fit(Generic[_Net]):
    """Network, averaged network, optimiser, filter, batches and counts.

    Parameters
    ----------
    config : TRMConfig
        Training settings and the seed of all that is drawn.
    n_train : int
        Training rows.
    model : Module
        The network to train, with its initial parameters.

    Attributes
    ----------
    model, average : Module
        What is trained, and the running average of its parameters.
    step : int
        Optimiser steps made.
    rate : float
        Learning rate of the last step made here.
    position : int
        Passes laid out for what was done, those saved by halting early included; the
        schedule follows it.
    """

    def __init__(self, config: TRMConfig, n_train: int, model: _Net) -> None:
        self.config = config.training
        self.generator = np.random.default_rng(config.seed)
        self.model = model
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self._parameters: list[Tensor] = list(self.model.parameters())
        self._averages: list[Tensor] = list(self.average.parameters())
        self._filter = GrokFastFilter(
            self.config.grokfast_alpha, self.config.grokfast_lambda
        )
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            betas=(self.config.beta1, self.config.beta2),
            weight_decay=self.config.weight_decay,
            fused=True,
        )
        n_batches = math.ceil(n_train / batch_rows(n_train, self.config))
        self.largest_batch = math.ceil(n_train / n_batches)
        self.batches = Batches(n_train, n_batches, self.generator)
        self.epoch_batches = min(n_batches, self.config.max_batches_per_epoch)
        self.total_steps = (
            self.config.epochs * self.epoch_batches * self.config.n_supervision_steps
        )
        self.step = 0
        self.position = 0
        self.rate = 0.0

    def rate_at(self, position: int) -> float:
        """Return the learning rate at a position of the schedule."""
        return learning_rate(position, self.total_steps, self.config)

    def n_visited(self, n_epochs: int) -> int:
        """Return how many training rows the first epochs go through at least once."""
        n_batches = self.batches.n_batches
        n_taken = min(n_epochs * self.epoch_batches, n_batches)
        n_rows = len(self.batches.order)
        # the first batches of a sweep have a row more where they cannot all be equal
        return n_taken * (n_rows // n_batches) + min(n_taken, n_rows % n_batches)

    def update(self) -> None:
        """Go one step down the gradients gathered since the last one."""
        gradients = []
        for parameter in self._parameters:
            if parameter.grad is None:  # learned starts, in all passes but the first
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        self._filter.apply(gradients)
        self.rate = self.rate_at(self.position)
        self._optimizer.param_groups[0]["lr"] = self.rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        weight = 1 - average_decay(self.step, self.config)
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._parameters, weight)
        self.step += 1

    def averaged_parameters(self) -> dict[str, Tensor]:
        """Copy the averaged parameters, and the constants that go with them."""
        return {k: v.clone() for k, v in self.average.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state, by a name that says whose it is."""
        by_parameter: Mapping[int, Mapping[str, Tensor]] = self._optimizer.state_dict()[
            "state"
        ]
        return {
            **{f"model.{k}": v for k, v in self.model.state_dict().items()},
            **{f"average.{k}": v for k, v in self.average.state_dict().items()},
            **{f"filter.{i}": mean for i, mean in enumerate(self._filter.means)},
            **{
                f"optimizer.{i}.{key}": value
                for i, values in by_parameter.items()
                for key, value in values.items()
            },
            "order": torch.from_numpy(self.batches.order),
        }

    def counters(self) -> dict[str, Any]:
        """Return the rest of the state as JSON values."""
        return {
            "step": self.step,
            "position": self.position,
            "n_taken": self.batches.n_taken,
            "generator": self.generator.bit_generator.state,
        }

    def restore(
        self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]
    ) -> None:
        """Take up what `tensors` and `counters` returned."""

        def named(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(prefix): value.clone()
                for name, value in tensors.items()
                if name.startswith(prefix)
            }

        self.model.load_state_dict(named("model."))
        self.average.load_state_dict(named("average."))
        means = named("filter.")
        self._filter.means = [means[str(i)] for i in range(len(means))]
        by_parameter: dict[int, dict[str, Tensor]] = {}
        for name, value in named("optimizer.").items():
            i, key = name.split(".")
            by_parameter.setdefault(int(i), {})[key] = value
        state = self._optimizer.state_dict() | {"state": by_parameter}
        self._optimizer.load_state_dict(state)
        self.batches.order = tensors["order"].numpy().copy()
        self.batches.n_taken = counters["n_taken"]
        self.generator.bit_generator.state = counters["generator"]
        self.step, self.position = counters["step"], counters["position"]
