"""A decision at the close of a session, and the protocol of a policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from trm_bt.market._typing import (
    FloatAllocations,
    FloatArray,
    FloatFeatures,
    FloatSessionsByFeature,
)
from trm_bt.market.features import FeatureSchema

IN_SAMPLE: Final = " (in sample)"
"""What stands after the name of a model that decides what it was trained on."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One allocation decision, known at the close of `decided_on`.

    Parameters
    ----------
    decided_on : Timestamp
        The session after whose close the decision was taken.
    allocation : int or None
        Class index of the most probable allocation; None when the policy abstains
        because the session lies inside the span that its model was trained on.
    probabilities : ndarray of shape (n_allocations,)
        Probability of each allocation, summing to 1; NaN when the policy abstains.
    halt_prob : float
        Probability the halt head gives to the answer being right, in [0, 1].
    n_steps : int
        Supervision steps used before the halt head stopped the recursion.
    model : str
        Name of the model that decided, the first one where several decide by the mean
        of their probabilities; empty when the policy abstains.
    z_scores : ndarray of shape (n_features,) or None
        The standardised features that the model saw, where the policy gives them.
    step_probabilities : ndarray of shape (n_steps, n_allocations) or None
        Probabilities after each supervision step, where the policy gives them.
    n_models : int
        Models that decided together.
    """

    decided_on: pd.Timestamp
    allocation: int | None
    probabilities: FloatAllocations
    halt_prob: float
    n_steps: int
    model: str
    z_scores: FloatFeatures | None = None
    step_probabilities: FloatArray | None = None
    n_models: int = 1

    @property
    def decided_by(self) -> str:
        """The model by name, and of how many the probabilities are the mean."""
        if self.n_models == 1:
            return self.model
        return f"{self.model}, mean of {self.n_models}"

    @property
    def confidence(self) -> float:
        """The largest allocation probability, NaN when the policy abstains."""
        return float(self.probabilities.max())


def abstain(session: pd.Timestamp, n_allocations: int) -> Decision:
    """Return the decision of a policy that abstains."""
    nothing = np.full(n_allocations, np.nan)
    return Decision(session, None, nothing, float("nan"), 0, "")


def mean_decision(made: Sequence[Decision]) -> Decision:
    """Return what several models decide together for one session.

    Probabilities and halt probabilities are their means, the allocation is the most
    probable by the mean, and `n_steps` is the largest; one alone decides as it does.

    Parameters
    ----------
    made : sequence of Decision
        One a model, at least one; the first one's model names it.
    """
    if len(made) == 1:
        return made[0]
    probabilities = np.mean([d.probabilities for d in made], axis=0)
    return Decision(
        made[0].decided_on,
        int(probabilities.argmax()),
        probabilities,
        sum(d.halt_prob for d in made) / len(made),
        max(d.n_steps for d in made),
        made[0].model,
        n_models=len(made),
    )


@runtime_checkable
class Policy(Protocol):
    """Anything that turns feature rows into decisions, row by row.

    A policy must be row-independent: the decision of a session may depend on that
    session's features alone, so that deciding in one batch or bar by bar is the same.
    """

    @property
    def schema(self) -> FeatureSchema:
        """The schema of the features that the policy reads."""

    def check_schema(self, schema: FeatureSchema) -> None:
        """Raise `CheckpointError` if features of `schema` cannot be decided on."""

    def decide(
        self, sessions: pd.DatetimeIndex, features: FloatSessionsByFeature
    ) -> list[Decision]:
        """Decide for each row of `features`, shape (n_sessions, n_features)."""
