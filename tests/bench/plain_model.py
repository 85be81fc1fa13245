"""The dual network as one would write it down first; benchmarks measure against it.

Inputs are joined and multiplied whole in every step, dropout is torch's, and every
layer is a module. Parameters have the names of `TinyRecursiveModel`.
"""

import torch
from torch import Tensor, nn

from trm_bt.config import ModelConfig
from trm_bt.learning.model import TinyRecursiveModel


class PlainNets(nn.Module):
    """The layers, one module each."""

    def __init__(self, config: ModelConfig, n_allocations: int) -> None:
        super().__init__()
        hidden = config.hidden_dim
        self.reason_in = nn.Linear(3 * hidden, hidden)
        self.reason_out = nn.Linear(hidden, hidden)
        self.solve_in = nn.Linear(2 * hidden, hidden)
        self.solve_out = nn.Linear(hidden, hidden)
        self.readout = nn.Linear(hidden, n_allocations)
        self.halt_in = nn.Linear(hidden, hidden // 2)
        self.halt_out = nn.Linear(hidden // 2, 1)
        self.reason_norm = nn.LayerNorm(hidden)
        self.solve_norm = nn.LayerNorm(hidden)
        self.readout_norm = nn.LayerNorm(hidden)
        self.gelu = nn.GELU()
        self.dropout = nn.Dropout(config.dropout)


class PlainModel(nn.Module):
    """A copy of a model's parameters in the plain form."""

    def __init__(self, model: TinyRecursiveModel) -> None:
        super().__init__()
        self.config = model.config
        self.embedding = nn.Linear(model.embedding.in_features, self.config.hidden_dim)
        self.nets = PlainNets(self.config, model.n_allocations)
        self.load_state_dict(model.state_dict())

    def forward(
        self, features: Tensor, y: Tensor, z: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Make one pass; return logits, halt logits, answer and latent."""
        nets, x = self.nets, self.embedding(features)
        with torch.no_grad():
            for _ in range(self.config.num_recursion_cycles - 1):
                y, z = self.cycle(x, y, z)
        y, z = self.cycle(x, y, z)
        halt = nets.halt_out(nets.dropout(nets.gelu(nets.halt_in(z))))
        return nets.readout(nets.readout_norm(y)), halt[:, 0], y, z

    def cycle(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Update the latent n times and the answer once."""
        nets = self.nets
        for _ in range(self.config.num_latent_steps):
            inner = nets.reason_in(torch.cat([x, y, z], dim=1))
            z = z + nets.reason_norm(nets.reason_out(nets.dropout(nets.gelu(inner))))
        inner = nets.solve_in(torch.cat([y, z], dim=1))
        y = y + nets.solve_norm(nets.solve_out(nets.dropout(nets.gelu(inner))))
        return y, z
