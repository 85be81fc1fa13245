"""A small model for the other examples, trained in seconds on part of the sample.

With bars of your own, train once instead, and keep the folder:
trm-bt train --bars FOLDER --end 2006-12-29 --out models/mine
"""

from pathlib import Path

from trm_bt import ModelConfig, RunRequest, TrainingConfig, TRMConfig, train_checkpoint

SMALL = TRMConfig(
    model=ModelConfig(hidden_dim=64, max_supervision_steps=1),
    training=TrainingConfig(epochs=2, n_supervision_steps=2),
)


def train_small(folder: Path, bars: str = "sample") -> Path:
    """Train on 1999 to 2006, and return the folder of the checkpoint."""
    request = RunRequest(bars, SMALL, start="1999-01-01", end="2006-12-29")
    train_checkpoint(request, folder / "model")
    return folder / "model"
