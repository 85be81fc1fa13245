"""What `checkpoint.json` holds: all of a trained model but its parameters."""

import sys
from typing import Annotated, Self

import numpy as np
import safetensors
import torch
from pydantic import BaseModel, Field, model_validator

from trm_bt.config import TRMConfig
from trm_bt.learning.dataset import Scaler
from trm_bt.learning.records import TrainedModel, TrainingRecord
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema

_N = len(FEATURE_NAMES)
_Positive = Annotated[float, Field(gt=0)]


class Scaling(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Mean, deviation and range of each feature, in the order of `names`.

    Checkpoints of earlier versions have no range.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...] = Field(min_length=_N, max_length=_N)
    std: tuple[_Positive, ...] = Field(min_length=_N, max_length=_N)
    low: tuple[float, ...] | None = Field(None, exclude_if=lambda value: value is None)
    high: tuple[float, ...] | None = Field(None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.names != FEATURE_NAMES:
            raise ValueError("`names` must be the features of this release")
        return self

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("`low` and `high` must be given together")
        if self.low is None or self.high is None:
            return self
        if len(self.low) != _N or len(self.high) != _N:
            raise ValueError(f"`low` and `high` must hold {_N} values")
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("`low` must not lie above `high`")
        return self

    @classmethod
    def of(cls, scaler: Scaler) -> Self:
        """Describe what standardises features."""
        return cls(
            names=FEATURE_NAMES,
            mean=tuple(scaler.mean.tolist()),
            std=tuple(scaler.std.tolist()),
            low=None if scaler.low is None else tuple(scaler.low.tolist()),
            high=None if scaler.high is None else tuple(scaler.high.tolist()),
        )

    def scaler(self) -> Scaler:
        """Return what standardises features."""
        return Scaler(
            np.array(self.mean),
            np.array(self.std),
            None if self.low is None else np.array(self.low),
            None if self.high is None else np.array(self.high),
        )


class Description(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """All of a trained model but its parameters."""

    name: str
    config: TRMConfig
    feature_schema: FeatureSchema
    scaler: Scaling
    training: TrainingRecord
    versions: dict[str, str]

    @classmethod
    def of(cls, trained: TrainedModel) -> Self:
        """Describe a trained model, and what it is stored with."""
        return cls(
            name=trained.name,
            config=trained.config,
            feature_schema=trained.schema,
            scaler=Scaling.of(trained.scaler),
            training=trained.record,
            versions={
                "python": ".".join(map(str, sys.version_info[:3])),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "safetensors": safetensors.__version__,
            },
        )
