"""What the checkpoints of a run say in text: scaling, training history and card.

Only the texts of a checkpoint are read, never its parameters.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from trm_bt.errors import RunError
from trm_bt.reading import read_json, read_text
from trm_bt.runfolder.records import CHECKPOINTS
from trm_bt.text import key_path

_DESCRIPTION: Final = "checkpoint.json"
_CARD: Final = "MODEL_CARD.md"


class _Scaler(BaseModel):
    names: list[str]
    mean: list[float]
    std: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


class _Training(BaseModel):
    best_epoch: int
    history: list[dict[str, Any]]


class _Checkpoint(BaseModel):
    name: str
    scaler: _Scaler
    training: _Training


@dataclass(frozen=True)
class ModelText:
    """One model as its checkpoint describes it.

    Parameters
    ----------
    name : str
        The model.
    mean, std : Series of shape (n_features,)
        What the features are standardised with, by feature.
    low, high : Series of shape (n_features,), or None
        Their range in the training rows; earlier checkpoints lack it.
    history : DataFrame of shape (n_epochs, n_columns)
        One row per epoch.
    best_epoch : int
        The epoch that was kept.
    card : str
        The model card as markdown; empty if there is none.
    """

    name: str
    mean: pd.Series
    std: pd.Series
    history: pd.DataFrame
    best_epoch: int
    card: str
    low: pd.Series | None = None
    high: pd.Series | None = None

    def is_outside(self, features: pd.DataFrame) -> pd.Series:
        """Return whether some feature is outside its range, shape (n_sessions,).

        Parameters
        ----------
        features : DataFrame of shape (n_sessions, n_columns)
            Has a column for each feature.
        """
        if self.low is None or self.high is None:
            return pd.Series(False, features.index)
        values = features[self.mean.index]
        is_out: pd.Series = ((values < self.low) | (values > self.high)).any(axis=1)
        return is_out

    def standardised(self, features: pd.DataFrame) -> pd.DataFrame:
        """Return what the model saw of `features`: z-scores of its training rows.

        Parameters
        ----------
        features : DataFrame of shape (n_sessions, n_columns)
            Has a column for each feature.
        """
        scaled: pd.DataFrame = (features[self.mean.index] - self.mean) / self.std
        return scaled


def read_models(run_dir: Path) -> dict[str, ModelText]:
    """Return the models of a run folder by name, none if it has no checkpoints.

    Raises
    ------
    RunError
        If a checkpoint's description is damaged.
    """
    checkpoints = run_dir / CHECKPOINTS
    found = sorted(
        path
        for pattern in (f"*/{_DESCRIPTION}", f"*/*/{_DESCRIPTION}")
        for path in checkpoints.glob(pattern)
    )
    models = [_read_model(path) for path in found]
    return {model.name: model for model in models}


def _read_model(path: Path) -> ModelText:
    card = path.with_name(_CARD)
    try:
        text = _Checkpoint.model_validate_json(read_json(path))
        scaler = text.scaler
        return ModelText(
            name=text.name,
            mean=pd.Series(scaler.mean, scaler.names, dtype=np.float64),
            std=pd.Series(scaler.std, scaler.names, dtype=np.float64),
            low=pd.Series(scaler.low, scaler.names) if scaler.low else None,
            high=pd.Series(scaler.high, scaler.names) if scaler.high else None,
            history=pd.DataFrame(text.training.history),
            best_epoch=text.training.best_epoch,
            card=read_text(card) if card.is_file() else "",
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = key_path(first["loc"])
        raise RunError(f"{path}: `{key}`: {first['msg']}. Train again.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}. Train again.") from error
