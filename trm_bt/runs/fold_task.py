"""One fold of a walk-forward in one task: what one model decides, as bytes.

A fold is done with the settings that it reads and no others, and its key is the hash of
all that it is given: trials that differ in anything else share it.
"""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from trm_bt.config import (
    BacktestConfig,
    BarsConfig,
    FeatureConfig,
    LabelConfig,
    StrategyConfig,
    TrainingConfig,
    TRMConfig,
    WalkForwardConfig,
)
from trm_bt.errors import RunError
from trm_bt.keys import key_of
from trm_bt.learning.dataset import Samples, samples_from_labels
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.splits import Split
from trm_bt.learning.workers import Lesson, TrainingJob, train_job
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import Features
from trm_bt.market.labels import features_and_labels
from trm_bt.parquet import open_parquet
from trm_bt.reading import check_json
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.pooled import Pooled, with_pooled
from trm_bt.runs.work import arrange, decide_span

_KEY: Final = b"trm_bt.fold"
_PREPARED: Final = 64
"""Features and labels that a process keeps."""


@dataclass(frozen=True)
class HashedBars:
    """Bars with their digest, by which they are told apart.

    Parameters
    ----------
    bars : Bars
    digest : str
        Their `sha256`, or a hash of those of all universes.
    pooled : mapping of str to Bars
        Further universes that are trained on.
    """

    bars: Bars = field(compare=False)
    digest: str
    pooled: Pooled = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, bars: Bars, pooled: Pooled | None = None) -> Self:
        """Hash bars, and further universes to train on if there are any."""
        digest, further = bars.sha256(), pooled or {}
        if further:
            named = {name: one.sha256() for name, one in further.items()}
            digest = key_of(digest, json.dumps(named))
        return cls(bars, digest, further)


@dataclass(frozen=True)
class Fold:
    """A split, and the model of one seed that decides it.

    Parameters
    ----------
    split : Split
        The sessions that are decided.
    job : TrainingJob
        Name, rows and seed of the model.
    """

    split: Split
    job: TrainingJob

    @property
    def n_labels(self) -> int:
        """How many labels the model may see."""
        return int(self.job.rows.stop - self.job.rows.start)


def trained_settings(config: TRMConfig) -> TRMConfig:
    """Return the settings with all that a fold does not read at its default.

    The digest says which bars they are, and the fold which sessions, rows and seed;
    how decisions become weights, and these become trades, matters after it.
    """
    needed = TrainingConfig.model_fields["min_labels"].default
    unread = {
        "seed": 0,
        "bars": BarsConfig(),
        "training": config.training.model_copy(update={"min_labels": needed}),
        "walkforward": WalkForwardConfig(),
        "strategy": StrategyConfig(),
        "backtest": BacktestConfig(),
    }
    return config.model_copy(update=unread)


def folds_by_key(bars: HashedBars, config: TRMConfig) -> dict[str, Fold]:
    """Return the folds of a walk-forward, seed by seed, by the keys of their results.

    Raises
    ------
    BarsError
        If no fold can be laid out.
    """
    features, labels, samples = _prepared(bars, config.features, config.labels)
    request = RunRequest("", config, schedule="calendar")
    work = arrange(request, bars.bars, features, labels, samples)
    if bars.pooled:
        work.check_jobs()  # no fold alone could tell that none uses a universe
    settings = trained_settings(config).to_json()
    folds = [
        Fold(split, work.job(split, seed))
        for seed in work.seeds
        for split in work.splits
    ]
    return {key_of("fold", bars.digest, settings, _text(fold)): fold for fold in folds}


def _text(fold: Fold) -> str:
    """Return all that a fold says of itself."""
    split, rows = fold.split, fold.job.rows
    pooled = {name: [own.start, own.stop] for name, own in fold.job.pooled.items()}
    return json.dumps(
        {
            "model": fold.job.name,
            "seed": fold.job.seed,
            "labels": [rows.start, rows.stop],
            **({"pooled": pooled} if pooled else {}),
            "frozen_on": split.frozen_on.isoformat(),
            "first": split.first.isoformat(),
            "last": split.last.isoformat(),
        }
    )


def decide_fold(bars: HashedBars, config: TRMConfig, fold: Fold) -> bytes:
    """Train the model of a fold and decide its sessions, in this process.

    Parameters
    ----------
    bars : HashedBars
    config : TRMConfig
        What `trained_settings` returns.
    fold : Fold

    Returns
    -------
    bytes
        A parquet table with a row a session: probabilities, halt probability and
        number of steps; its metadata say of which fold.
    """
    features, _, samples = _prepared(bars, config.features, config.labels)
    schema = features.schema.choosing(config.labels)
    model = train_job(fold.job, Lesson(samples, schema, config))
    # nobody asks this model again
    policy = TRMPolicy([model], device=config.training.device, keeps_answers=False)
    return _packed(decide_span(policy, features, fold.split), fold)


@lru_cache(maxsize=_PREPARED)
def _prepared(
    bars: HashedBars, features: FeatureConfig, labels: LabelConfig
) -> tuple[Features, pd.DataFrame, Samples]:
    """Return features, labels and training rows, computed once in a process."""
    settings = TRMConfig(features=features, labels=labels)
    computed, table = features_and_labels(bars.bars, settings)
    samples = samples_from_labels(table)
    return (
        computed,
        table,
        with_pooled(samples, bars.pooled, computed.schema, settings),
    )


def _packed(decisions: list[Decision], fold: Fold) -> bytes:
    probabilities = np.array([decision.probabilities for decision in decisions])
    table = pa.table(
        {
            "session": pa.array([decision.decided_on for decision in decisions]),
            **{f"prob_{k}": column for k, column in enumerate(probabilities.T)},
            "halt_prob": [decision.halt_prob for decision in decisions],
            "n_steps": [decision.n_steps for decision in decisions],
        },
        metadata={_KEY: _text(fold)},
    )
    out = BytesIO()
    # no two probabilities are alike, and nobody searches them
    parquet.write_table(table, out, use_dictionary=False, write_statistics=False)
    return out.getvalue()


def read_fold(content: bytes) -> list[Decision]:
    """Return the decisions that `decide_fold` packed; raise `RunError` if none are.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    list of Decision
        One a session of the fold, in order.
    """
    try:
        file = open_parquet(content)
        stated = file.metadata.metadata[_KEY]
        check_json(stated)
        table = file.read(use_threads=False)
        names = [name for name in table.column_names if name.startswith("prob_")]
        probabilities = np.column_stack([table[name].to_numpy() for name in names])
        rows = zip(
            pd.DatetimeIndex(table["session"].to_numpy()),
            probabilities,
            table["halt_prob"].to_pylist(),
            table["n_steps"].to_pylist(),
            strict=True,
        )
        model = json.loads(stated)["model"]
        return [
            Decision(session, int(row.argmax()), row, halt_prob, n_steps, model)
            for session, row, halt_prob, n_steps in rows
        ]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(
            "The result of a fold must be a table of decisions, and cannot be read: "
            f"{error}. Remove its file, and it is done again."
        ) from error
