"""A policy that says again what was decided before."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError, CheckpointError
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FeatureSchema


class RecordedPolicy:
    """Give the recorded decision of each session.

    Parameters
    ----------
    schema : FeatureSchema
        Schema of the features that the decisions were taken on.
    decisions : iterable of Decision
        One a session.
    """

    def __init__(self, schema: FeatureSchema, decisions: Iterable[Decision]) -> None:
        self.schema = schema
        self._told = {decision.decided_on: decision for decision in decisions}

    def check_schema(self, schema: FeatureSchema) -> None:
        """Raise `CheckpointError` if features are not those that were decided on."""
        difference = self.schema.difference(schema)
        if difference is not None:
            raise CheckpointError(
                "Recorded decisions must be replayed on features of their own schema, "
                f"these differ (decided on against given): {difference}."
            )

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Return the recorded decisions of `sessions`; the features are not read.

        Raises
        ------
        BarsError
            If a session was not decided.
        """
        missing = [session for session in sessions if session not in self._told]
        if missing:
            raise BarsError(
                f"Decisions are recorded from {min(self._told).date()} to "
                f"{max(self._told).date()}, and none for {missing[0].date()}. Replay "
                "no other sessions."
            )
        return [self._told[session] for session in sessions]
