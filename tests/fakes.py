"""Small stand-ins whose answers fit on a napkin."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pandas as pd

from trm_bt.errors import CheckpointError
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, schema_for

VIX = FEATURE_NAMES.index("vix_level")
N_ALLOCATIONS = len(ALLOCATION_WEIGHTS)


@dataclass
class FakePolicy:
    """Choose class int(10 * volatility) mod 8, with a confidence that varies too.

    Parameters
    ----------
    schema : FeatureSchema
        The only schema it accepts.
    abstains : tuple of 2 Timestamps or None
        First and last session on which it abstains.
    batches : list of int
        Rows of each call, kept for the tests.
    """

    schema: FeatureSchema = field(default_factory=FeatureSchema)
    abstains: tuple[pd.Timestamp, pd.Timestamp] | None = None
    batches: list[int] = field(default_factory=list)

    @classmethod
    def reading(cls, bars: Bars) -> Self:
        """Return a policy for the features of `bars`."""
        return cls(schema_for(bars))

    def check_schema(self, schema: FeatureSchema) -> None:
        difference = self.schema.difference(schema)
        if difference:
            raise CheckpointError(f"The policy's features differ: {difference}.")

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        self.batches.append(len(features))
        return [
            self._decide_one(session, row)
            for session, row in zip(sessions, features, strict=True)
        ]

    def _decide_one(self, session: pd.Timestamp, row: np.ndarray) -> Decision:
        if self.abstains and self.abstains[0] <= session <= self.abstains[1]:
            nothing = np.full(N_ALLOCATIONS, np.nan)
            return Decision(session, None, nothing, float("nan"), 0, "")
        tenths = int(10 * row[VIX])
        confidence = 0.3 + 0.05 * (tenths % 10)
        probabilities = np.full(N_ALLOCATIONS, (1 - confidence) / (N_ALLOCATIONS - 1))
        probabilities[tenths % N_ALLOCATIONS] = confidence
        return Decision(session, tenths % N_ALLOCATIONS, probabilities, 0.5, 1, "fake")
