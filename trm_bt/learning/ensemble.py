"""Several policies of one schema, decided by the mean of their probabilities."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from trm_bt.config import Device
from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint import is_checkpoint
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel
from trm_bt.market.decisions import Decision


class EnsemblePolicy:
    """Average what the policies of several seeds say.

    Parameters
    ----------
    members : sequence of TRMPolicy
        At least one, all of one schema, whose models know the same labels.

    Attributes
    ----------
    schema : FeatureSchema
        Schema of the features that `decide` takes.
    models : tuple of TrainedModel
        Models of the first member, oldest first.

    Raises
    ------
    CheckpointError
        If the members differ in schema, in what their models know, or in whether they
        decide in sample.
    """

    def __init__(self, members: Sequence[TRMPolicy]) -> None:
        if not members:
            raise CheckpointError("An ensemble must have a member, got none.")
        self.members = tuple(members)
        self.schema = self.members[0].schema
        self.models = self.members[0].models
        for member in self.members:
            member.check_schema(self.schema)
            _check_alike(self.members[0], member)

    @property
    def in_sample(self) -> bool:
        """Whether decisions inside the training span are given."""
        return self.members[0].in_sample

    def model_for(self, session: pd.Timestamp) -> TrainedModel | None:
        """Return the first member's model that decides at the close of `session`."""
        return self.members[0].model_for(session)

    def check_schema(self, schema: object) -> None:
        """Raise `CheckpointError` if features of `schema` cannot be decided on."""
        self.members[0].check_schema(schema)

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Decide for each row, shape (n_sessions, n_features), as `TRMPolicy` does.

        Probabilities and halt probabilities are means over the members, `n_steps` is
        the largest; the allocation is the likeliest by the mean.
        """
        told = [member.decide(sessions, features) for member in self.members]
        return [_mean(row) for row in zip(*told, strict=True)]


def load_policy(
    path: str | Path, *, device: Device = "auto", allow_in_sample: bool = False
) -> TRMPolicy | EnsemblePolicy:
    """Load a checkpoint, a walk-forward set, or a folder of such sets: an ensemble.

    Parameters
    ----------
    path : str or Path
        What `trm-bt train` or `trm-bt walkforward` wrote.
    device, allow_in_sample
        As in `TRMPolicy.load`.

    Raises
    ------
    CheckpointError
        If a checkpoint cannot be believed, or they do not fit together.
    """
    path = Path(path)
    folders = [] if is_checkpoint(path) or not path.is_dir() else _folders(path)
    is_nested = bool(folders) and not any(map(is_checkpoint, folders))
    sets = folders if is_nested and all(map(_folders, folders)) else [path]
    policies = [
        TRMPolicy.load(folder, device=device, allow_in_sample=allow_in_sample)
        for folder in sets
    ]
    return EnsemblePolicy(policies) if is_nested else policies[0]


def _folders(path: Path) -> list[Path]:
    return sorted(
        p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")
    )


def _check_alike(first: TRMPolicy, other: TRMPolicy) -> None:
    """Refuse a member that abstains, or changes its model, where another does not."""
    if first.in_sample != other.in_sample:
        raise CheckpointError(
            "Members of an ensemble must all decide in sample or none, got both. Load "
            "them with one `allow_in_sample`."
        )
    for ours, theirs in zip_longest(first.models, other.models):
        known = [m and m.record.last_label_known_on for m in (ours, theirs)]
        if known[0] != known[1]:
            names = [m.name if m else "no model" for m in (ours, theirs)]
            raise CheckpointError(
                "Members of an ensemble must have models that know the same labels, "
                f"got {names[0]} (known {known[0]}) beside {names[1]} (known "
                f"{known[1]}). Give every seed the same models."
            )


def _mean(told: Sequence[Decision]) -> Decision:
    first = told[0]
    if len(told) == 1 or first.allocation is None:
        return first
    probabilities = np.mean([d.probabilities for d in told], axis=0)
    return Decision(
        first.decided_on,
        int(probabilities.argmax()),
        probabilities,
        sum(d.halt_prob for d in told) / len(told),
        max(d.n_steps for d in told),
        first.model,
        n_models=len(told),
    )
