"""From feature rows to decisions, by the models of one seed or of several."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from datetime import date
from itertools import pairwise, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trm_bt.config import Device
from trm_bt.errors import CheckpointError
from trm_bt.learning.answers import Answers, model_fingerprint
from trm_bt.learning.checkpoint import is_checkpoint, load_checkpoint
from trm_bt.learning.devices import cpu_threads, pick_device
from trm_bt.learning.records import TrainedModel
from trm_bt.manifest import MANIFEST
from trm_bt.market._typing import FloatArray
from trm_bt.market.decisions import IN_SAMPLE, Decision, abstain, mean_decision
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema
from trm_bt.text import reason_of

_Models = tuple[TrainedModel, ...]


class TRMPolicy:
    """Decide with the newest models whose labels were all known before the session.

    A session up to and including the oldest model's `last_label_known_on` has no such
    model: the policy abstains there, unless it may decide in sample.

    Parameters
    ----------
    *members : sequence of TrainedModel
        The models of each seed: at least one, in any order, all of one schema. The
        models of all members must know the same labels.
    device : {"auto", "cpu", "cuda"}
        Where to compute; "auto" takes CUDA where there is one.
    allow_in_sample : bool
        Whether the oldest model may decide sessions it was trained on. Everything
        made from such decisions must be marked "in sample".
    keeps_answers : bool
        Whether to keep what a model answers to a row, and to take what is kept: the
        bits are the same.

    Attributes
    ----------
    members : tuple of tuple of TrainedModel
        The models of each seed, oldest first.
    in_sample : bool
        Whether decisions inside the training span are given.
    device : {"auto", "cpu", "cuda"}
        As given.

    Raises
    ------
    CheckpointError
        If there is no model, or the members differ in schema or in the labels that
        their models know.
    ConfigError
        If the device is unknown or not available.
    """

    def __init__(
        self,
        *members: Sequence[TrainedModel],
        device: Device = "auto",
        allow_in_sample: bool = False,
        keeps_answers: bool = True,
    ) -> None:
        self.members: tuple[_Models, ...] = tuple(
            tuple(sorted(models, key=_known_on)) for models in members
        )
        _check_members(self.members)
        self.in_sample = allow_in_sample
        self.device = device
        self._device = pick_device(device)
        self._is_kept = keeps_answers
        self._by_model: dict[tuple[int, int], Answers] = {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: Device = "auto",
        allow_in_sample: bool = False,
        keeps_answers: bool = True,
    ) -> "TRMPolicy":
        """Load a checkpoint, a walk-forward set, or a folder with one set per seed.

        Parameters
        ----------
        path : str or Path
            A checkpoint folder, a folder of checkpoint folders, or a folder of such
            sets, whose probabilities are averaged.
        device, allow_in_sample, keeps_answers
            As in the class.

        Raises
        ------
        CheckpointError
            If a checkpoint cannot be trusted, or they do not fit together.
        ConfigError
            If the device is unknown or not available.
        """
        path = Path(path).expanduser()
        inner = [] if is_checkpoint(path) or not path.is_dir() else _folders(path)
        is_nested = not any(map(is_checkpoint, inner)) and all(map(_folders, inner))
        with cpu_threads(1):
            members = [
                _load_set(folder)
                for folder in (inner if inner and is_nested else [path])
            ]
        return cls(
            *members,
            device=device,
            allow_in_sample=allow_in_sample,
            keeps_answers=keeps_answers,
        )

    @property
    def models(self) -> _Models:
        """The models of the first member, oldest first."""
        return self.members[0]

    @property
    def schema(self) -> FeatureSchema:
        """Schema of the features that `decide` takes."""
        return self.models[0].schema

    @property
    def fingerprints(self) -> list[str]:
        """SHA-256 of each model: of its parameters and of what it takes for usual."""
        return [model_fingerprint(model) for models in self.members for model in models]

    def check_schema(self, schema: FeatureSchema) -> None:
        """Raise `CheckpointError` if features of `schema` cannot be decided on."""
        difference = self.schema.difference(schema)
        if difference is not None:
            raise CheckpointError(
                f"Model {self.models[0].name} must decide on features of its own "
                f"schema, this run differs (model against run): {difference}. Train "
                "on these bars, or give the bars it was trained on."
            )

    def model_for(self, session: pd.Timestamp) -> TrainedModel | None:
        """Return the first member's model that decides at the close of `session`.

        None means that the policy abstains.
        """
        position = self._position(session)
        return None if position is None else self.models[position]

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Decide for each row; any batching of the rows gives the same bits.

        Several members decide by their mean: see `mean_decision`.

        Parameters
        ----------
        sessions : DatetimeIndex of shape (n_sessions,)
            The deciding sessions; each row is known at the close of its session.
        features : ndarray of shape (n_sessions, n_features)
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
        n_allocations = len(self.schema.table)
        decisions = [abstain(session, n_allocations) for session in sessions]
        positions = [self._position(session) for session in sessions]
        for position in {p for p in positions if p is not None}:
            rows = [row for row, p in enumerate(positions) if p == position]
            by_member = [
                self._decide_with(number, position, sessions[rows], features[rows])
                for number in range(len(self.members))
            ]
            for row, made in zip(rows, zip(*by_member, strict=True), strict=True):
                decisions[row] = mean_decision(made)
        return decisions

    def _position(self, session: pd.Timestamp) -> int | None:
        """Find the newest model that knew all its labels before `session`."""
        n_known = bisect_left(self.models, session.date(), key=_known_on)
        if n_known:
            return n_known - 1
        return 0 if self.in_sample else None

    def _decide_with(
        self,
        member: int,
        position: int,
        sessions: pd.DatetimeIndex,
        features: np.ndarray,
    ) -> list[Decision]:
        """Run one model over its rows."""
        trained = self.members[member][position]
        z_scores = trained.scaler.transform(features)
        answers = self._answers(member, position).to(z_scores)
        n_steps = answers["n_steps"].tolist()
        # (n_rows, max_steps, n_allocations), NaN after a row has halted
        by_step = _probabilities(answers["step_logits"])
        probabilities = by_step[np.arange(len(answers)), answers["n_steps"] - 1]
        # One by one: a vector's last few elements round differently from its others.
        halt_probs = [
            0.5 + 0.5 * math.tanh(0.5 * logit)
            for logit in answers["halt_logit"].tolist()
        ]
        is_bad = ~np.isfinite(np.column_stack([probabilities, halt_probs])).all(axis=1)
        if is_bad.any():
            raise CheckpointError(
                f"Model {trained.name}: must give finite probabilities, but does not "
                f"on {sessions[int(is_bad.argmax())].date()}: its weights or its "
                "scaler are out of range. Train it again."
            )
        return [
            Decision(
                session,
                int(probabilities[row].argmax()),
                probabilities[row],
                halt_probs[row],
                n_steps[row],
                _stamp(trained, session),
                z_scores[row],
                by_step[row, : n_steps[row]],
            )
            for row, session in enumerate(sessions)
        ]

    def _answers(self, member: int, position: int) -> Answers:
        """Return what a model answers, itself unpacked when it is first needed."""
        key = member, position
        if key not in self._by_model:
            self._by_model[key] = Answers(
                self.members[member][position], self._device, is_kept=self._is_kept
            )
        return self._by_model[key]


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder, without hidden ones."""
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {reason_of(error)}.") from error
    return [p for p in entries if p.is_dir() and not p.name.startswith(".")]


def _load_set(path: Path) -> list[TrainedModel]:
    """Load one checkpoint, or every checkpoint of a walk-forward set."""
    if not path.is_dir():
        raise CheckpointError(f"{path}: a checkpoint must be a folder, got none.")
    folders = [path] if is_checkpoint(path) else _folders(path)
    if not folders:
        raise CheckpointError(
            f"{path}: must hold {MANIFEST} or checkpoint folders, got none."
        )
    return [load_checkpoint(folder) for folder in folders]


def _check_members(members: Sequence[_Models]) -> None:
    """Refuse models whose order or meaning is not clear."""
    if not members or not members[0]:
        raise CheckpointError("A policy needs at least one trained model, got none.")
    first = members[0]
    for older, newer in pairwise(first):
        if _known_on(older) == _known_on(newer):
            raise CheckpointError(
                "Models of a set must differ in the last label they know, "
                f"{older.name} and {newer.name} both end on {_known_on(newer)}. Take "
                "one out."
            )
    for model in (model for models in members for model in models):
        difference = first[0].schema.difference(model.schema)
        if difference is not None:
            raise CheckpointError(
                f"Models of a policy must share one feature schema, {first[0].name} "
                f"and {model.name} differ: {difference}."
            )
        tables = first[0].schema.table, model.schema.table
        if not tables[0].is_same(tables[1]):
            raise CheckpointError(
                f"Models of a policy must choose from the same allocations, "
                f"{first[0].name} has {tables[0].describe()}, and {model.name} "
                f"{tables[1].describe()}."
            )
    for models in members[1:]:
        for ours, theirs in zip_longest(first, models):
            known = [m and _known_on(m) for m in (ours, theirs)]
            if known[0] != known[1]:
                names = [m.name if m else "no model" for m in (ours, theirs)]
                raise CheckpointError(
                    "Members of an ensemble must have models that know the same "
                    f"labels, got {names[0]} (known {known[0]}) beside {names[1]} "
                    f"(known {known[1]}). Give every seed the same models."
                )


def _probabilities(logits: FloatArray) -> FloatArray:
    """Return the softmax of logits over their last axis, computed in float64."""
    shares: FloatArray = torch.from_numpy(logits).double().softmax(dim=-1).numpy()
    return shares


def _known_on(model: TrainedModel) -> date:
    return model.record.last_label_known_on


def _stamp(model: TrainedModel, session: pd.Timestamp) -> str:
    """Name the model that decided, and say so if it was trained on the session."""
    is_in_sample = session.date() <= _known_on(model)
    return f"{model.name}{IN_SAMPLE}" if is_in_sample else model.name


def _check_rows(sessions: pd.DatetimeIndex, features: np.ndarray) -> None:
    """Refuse rows that are no feature rows."""
    expected = (len(sessions), len(FEATURE_NAMES))
    if features.shape != expected:
        raise CheckpointError(
            f"`features` must have shape {expected}, one row per session, got "
            f"{features.shape}."
        )
    is_bad = ~np.isfinite(features)
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        raise CheckpointError(
            f"Feature {FEATURE_NAMES[column]} must be finite, got "
            f"{features[row, column]} on {sessions[row].date()}."
        )
