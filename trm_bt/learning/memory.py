"""What a model and its training will ask of memory, computed before they do."""

from typing import Final

import torch

from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.errors import ConfigError
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.market.allocations import N_ALLOCATIONS

_MAX_BYTES: Final = 2**34
_N_COPIES: Final = 8
"""Of the parameters: gradients, two moments, two averages, the best, and one saved."""
_N_KEPT: Final = {"dual": 8, "paper": 48}
"""Values of `hidden_dim` that an update of a row keeps for its gradient."""


def n_parameters(config: ModelConfig, n_allocations: int = N_ALLOCATIONS) -> int:
    """Return the number of parameters of a model that is not made."""
    with torch.device("meta"):
        return TinyRecursiveModel(config, n_allocations=n_allocations).n_parameters


def training_bytes(config: TRMConfig) -> int:
    """Return about how many bytes a training takes at its peak."""
    model = config.model
    n_kept = _N_KEPT[model.architecture] * model.hidden_dim
    n_updates = model.num_latent_steps + 1  # of the last cycle, which has a gradient
    n_values = _N_COPIES * n_parameters(model)
    n_values += config.training.batch_size * n_updates * n_kept
    return torch.float32.itemsize * n_values


def check_memory(config: TRMConfig) -> None:
    """Raise `ConfigError` if a training would take more than 16 GiB."""
    needed = training_bytes(config)
    if needed > _MAX_BYTES:
        raise ConfigError(
            f"A training must take at most {_MAX_BYTES / 2**30:.0f} GiB, and this one "
            f"would take about {needed / 2**30:,.0f}. Lower `model.hidden_dim`, "
            "`model.num_latent_steps` or `training.batch_size`."
        )
