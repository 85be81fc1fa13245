"""The policy of a run folder: each session is decided by the models of its fold."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from trm_bt.config import Device, TRMConfig
from trm_bt.errors import RunError
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel
from trm_bt.market.decisions import Decision, abstain
from trm_bt.market.features import FeatureSchema
from trm_bt.runfolder.records import CHECKPOINTS, OUT_OF_SAMPLE, RunRecord
from trm_bt.runfolder.tables import read_columns
from trm_bt.text import shorten


class RunPolicy:
    """Decide as a finished run did, and with its newest models after its end.

    Parameters
    ----------
    folder : Path
        The run folder.
    record : RunRecord
        Its `run.json`.
    device : {"auto", "cpu", "cuda"}
        Where the models decide.

    Raises
    ------
    RunError
        If the table of decisions cannot be read.
    """

    def __init__(self, folder: Path, record: RunRecord, device: Device) -> None:
        file = folder / f"{OUT_OF_SAMPLE}.parquet"
        table = read_columns(file, ("session", "fold")).dropna(subset="fold")
        names = {str(name) for name in table["fold"]}
        if not names or any(Path(name).name != name for name in names):
            raise RunError(
                f"{file}: must name the fold of each session, got "
                f"{shorten(sorted(names))}. Repeat the run."
            )
        firsts = table.groupby("fold")["session"].min().sort_values()
        self._names, self._firsts = list(firsts.index), pd.DatetimeIndex(firsts)
        self._folder, self._record, self._device = folder, record, device
        self._policies: dict[int, TRMPolicy] = {}
        self.schema: FeatureSchema = record.feature_schema
        self._n_allocations = len(record.feature_schema.table)

    def check_schema(self, schema: FeatureSchema) -> None:
        """Raise `CheckpointError` if features of `schema` cannot be decided on."""
        self._policy(0).check_schema(schema)

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Decide for each row, by the fold that it falls in; abstain before the first.

        Parameters
        ----------
        sessions : DatetimeIndex of shape (n_sessions,)
        features : ndarray of shape (n_sessions, n_features)
            Raw features of the run's schema.
        """
        decisions = [abstain(session, self._n_allocations) for session in sessions]
        folds = self._firsts.searchsorted(sessions, side="right") - 1
        for fold in np.unique(folds[folds >= 0]).tolist():
            rows = np.flatnonzero(folds == fold)
            made = self._policy(fold).decide(sessions[rows], features[rows])
            for row, decision in zip(rows.tolist(), made, strict=True):
                decisions[row] = decision
        return decisions

    @property
    def config(self) -> TRMConfig:
        """The settings of the run."""
        return self._record.request.config

    @property
    def first(self) -> date:
        """The first session that the run decided."""
        return self._firsts[0].date()

    @property
    def models(self) -> tuple[TrainedModel, ...]:
        """The models of the first fold, the oldest that there are."""
        return self._policy(0).models

    def model_for(self, session: pd.Timestamp) -> TrainedModel | None:
        """Return the first model that decides a session; None before the first fold."""
        fold = int(self._firsts.searchsorted(session, side="right")) - 1
        return None if fold < 0 else self._policy(fold).model_for(session)

    def _policy(self, fold: int) -> TRMPolicy:
        """Load the models of a fold when they are first needed."""
        if fold not in self._policies:
            inner = self._folder / CHECKPOINTS
            folders = [inner]
            config = self._record.request.config
            if self._record.request.schedule == "calendar":
                seeds = range(config.seed, config.seed + config.walkforward.n_seeds)
                folders = [inner / f"seed_{seed}" for seed in seeds]
            models = [[load_checkpoint(f / self._names[fold])] for f in folders]
            self._policies[fold] = TRMPolicy(*models, device=self._device)
        return self._policies[fold]
