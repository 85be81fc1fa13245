"""From feature rows to decisions, by one model or by a walk-forward set of models."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trm_bt.config import Device
from trm_bt.errors import CheckpointError, ConfigError
from trm_bt.learning.checkpoint import load_checkpoints
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.threads import cpu_threads
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema
from trm_bt.processes import is_fork


class TRMPolicy:
    """Decide with the newest model whose labels were all known before the session.

    A session up to and including the oldest model's `last_label_known_on` has no such
    model: the policy abstains there, unless it may decide in sample.

    Parameters
    ----------
    models : list of TrainedModel
        At least one, of one schema.
    device : {"auto", "cpu", "cuda"}
        Where to compute; "auto" takes CUDA where there is one.
    allow_in_sample : bool
        Whether the oldest model may decide sessions it was trained on. Everything
        made from such decisions must be marked "in sample".

    Attributes
    ----------
    schema : FeatureSchema
        Schema of the features that `decide` takes.
    models : tuple of TrainedModel
        Oldest first.
    in_sample : bool
        Whether decisions inside the training span are given.
    """

    def __init__(
        self,
        models: list[TrainedModel],
        *,
        device: Device = "auto",
        allow_in_sample: bool = False,
    ) -> None:
        self.models = tuple(sorted(models, key=_known_on))
        self.schema: FeatureSchema = self.models[0].schema
        self.in_sample = allow_in_sample
        self._device = _pick_device(device)
        self._networks: dict[int, TinyRecursiveModel] = {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: Device = "auto",
        allow_in_sample: bool = False,
    ) -> "TRMPolicy":
        """Load a checkpoint folder, or a walk-forward set: a folder of such folders.

        Raises
        ------
        CheckpointError
            If a checkpoint is missing, damaged, or of another schema than the others.
        ConfigError
            If the device is unknown or not there.
        """
        with cpu_threads(1):
            models = load_checkpoints(Path(path))
        return cls(models, device=device, allow_in_sample=allow_in_sample)

    def check_schema(self, schema: object) -> None:
        """Raise `CheckpointError` if features of `schema` cannot be decided on."""
        if not isinstance(schema, FeatureSchema):
            raise CheckpointError(
                "A feature schema must be a FeatureSchema, got "
                f"{type(schema).__name__}."
            )
        difference = self.schema.difference(schema)
        if difference is not None:
            raise CheckpointError(
                f"Model {self.models[0].name} must decide on features of its own "
                f"schema, this run differs (model against run): {difference}. Train "
                "on these bars, or give the bars it was trained on."
            )

    def model_for(self, session: pd.Timestamp) -> TrainedModel | None:
        """Return the model that decides at the close of `session`, None to abstain."""
        position = self._position(session)
        return None if position is None else self.models[position]

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Decide for each row; any batching of the rows gives the same bits.

        Parameters
        ----------
        sessions : DatetimeIndex of shape (n_sessions,)
            The deciding sessions; each row is known at the close of its session.
        features : ndarray of shape (n_sessions, 10)
            Raw features of the policy's schema.

        Returns
        -------
        list of Decision
            One per session, in order; an abstention has `allocation` None.

        Raises
        ------
        CheckpointError
            If the shape is not that of feature rows, or a feature is not finite.
        """
        _check_rows(sessions, features)
        decisions = [_abstain(session) for session in sessions]
        positions = [self._position(session) for session in sessions]
        for position in {p for p in positions if p is not None}:
            rows = [row for row, p in enumerate(positions) if p == position]
            made = self._decide_with(position, sessions[rows], features[rows])
            for row, decision in zip(rows, made, strict=True):
                decisions[row] = decision
        return decisions

    def _position(self, session: pd.Timestamp) -> int | None:
        """Find the newest model that knew all its labels before `session`."""
        n_known = bisect_left(self.models, session.date(), key=_known_on)
        if n_known:
            return n_known - 1
        return 0 if self.in_sample else None

    def _decide_with(
        self, position: int, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Run one model over its rows."""
        trained = self.models[position]
        z_scores = trained.scaler.transform(features)
        n_threads = trained.config.training.num_threads
        with cpu_threads(n_threads), _full_precision():
            rows = torch.from_numpy(z_scores).to(self._device)
            prediction = self._network(position).predict(rows)
            # (max_steps, n_rows, n_allocations), NaN after a row has halted
            by_step = _probabilities(prediction.step_logits)
            probabilities = _probabilities(prediction.logits)
        # One by one: a vector's last few elements round differently from its others.
        halt_probs = [
            0.5 + 0.5 * math.tanh(0.5 * logit)
            for logit in prediction.halt_logits.tolist()
        ]
        n_steps = prediction.n_steps.tolist()
        return [
            Decision(
                session,
                int(probabilities[row].argmax()),
                probabilities[row],
                halt_probs[row],
                n_steps[row],
                _stamp(trained, session),
                z_scores[row],
                by_step[: n_steps[row], row],
            )
            for row, session in enumerate(sessions)
        ]

    def _network(self, position: int) -> TinyRecursiveModel:
        """Build a model's network when it is first needed."""
        if position not in self._networks:
            trained = self.models[position]
            network = TinyRecursiveModel(trained.config.model)
            network.load_state_dict(trained.parameters)
            self._networks[position] = network.eval().to(self._device)
        return self._networks[position]


def _probabilities(logits: torch.Tensor) -> np.ndarray:
    """Return the softmax of logits over their last axis, made in float64."""
    shares: np.ndarray = logits.double().cpu().softmax(dim=-1).numpy()
    return shares


def _known_on(model: TrainedModel) -> date:
    return model.record.last_label_known_on


def _stamp(model: TrainedModel, session: pd.Timestamp) -> str:
    """Name the model that decided, and say so where it had seen the session."""
    is_in_sample = session.date() <= _known_on(model)
    return f"{model.name} (in sample)" if is_in_sample else model.name


def _abstain(session: pd.Timestamp) -> Decision:
    nothing = np.full(len(ALLOCATION_NAMES), np.nan)
    return Decision(session, None, nothing, float("nan"), 0, "")


def _check_rows(sessions: pd.DatetimeIndex, features: np.ndarray) -> None:
    """Refuse rows that are no feature rows."""
    expected = (len(sessions), len(FEATURE_NAMES))
    if features.shape != expected:
        raise CheckpointError(
            f"`features` must have shape {expected}, one row a session, got "
            f"{features.shape}."
        )
    is_bad = ~np.isfinite(features)
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        raise CheckpointError(
            f"Feature {FEATURE_NAMES[column]} must be finite, got "
            f"{features[row, column]} on {sessions[row].date()}."
        )


def _pick_device(device: str) -> torch.device:
    """Resolve "auto"; refuse CUDA where there is none."""
    has_cuda = torch.cuda.is_available() and not is_fork()  # CUDA survives no fork
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"`device` must be auto, cpu or cuda, got {device!r}.")
    if device == "cuda" and not has_cuda:
        raise ConfigError(
            "`device` cuda needs a CUDA device, this machine offers none to torch. "
            "Use auto or cpu."
        )
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")


@contextmanager
def _full_precision() -> Iterator[None]:
    """Have float32 products made in float32, not TF32, inside the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
