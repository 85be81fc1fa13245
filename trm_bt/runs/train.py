"""The training stage: bars in, a checkpoint with card, history and picture out."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from trm_bt import report
from trm_bt.analyzers.allocation_labeler import label_bars
from trm_bt.errors import BarsError, RunError
from trm_bt.files import check_replaceable
from trm_bt.learning.checkpoint import check_overwrite, save_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import ProgressCallback, TrainedModel
from trm_bt.learning.resume import is_unfinished
from trm_bt.learning.self_check import Check, self_check
from trm_bt.learning.trainer import train
from trm_bt.market.bars import Bars
from trm_bt.market.crises import CRISES
from trm_bt.market.features import FeatureSchema, compute_features
from trm_bt.market.label_table import describe_labels
from trm_bt.runfolder.records import BarsRecord, RunRequest, versions
from trm_bt.runs.request import requested_bars
from trm_bt.runs.results import model_record


def train_checkpoint(
    request: RunRequest,
    out: Path,
    *,
    force: bool = False,
    resume: bool = False,
    progress: ProgressCallback | None = None,
) -> TrainedModel:
    """Train one model on every label of the bars and save it.

    Parameters
    ----------
    request : RunRequest
        Bars and settings; `end` decides what the model may know.
    out : Path
        The checkpoint folder. While the training lasts its state is kept beside it, in
        ``<out>.unfinished``.
    force : bool
        Replace a checkpoint, or the state of an unfinished training, that is there.
    resume : bool
        Go on with an unfinished training of the same bars and settings.
    progress : callable, optional
        Called as the training moves on.

    Returns
    -------
    TrainedModel
        What was saved.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    request.config.check_trainable()
    out = out.resolve()
    unfinished = out.with_name(f"{out.name}.unfinished")
    has_state = is_unfinished(unfinished)
    may_replace = force or (resume and has_state)
    check_replaceable(out, marker="manifest.json", force=may_replace)
    check_overwrite(out, force=may_replace)
    if has_state and not (resume or force):
        raise RunError(
            f"{unfinished}: is the state of an unfinished training. Pass --resume "
            "to go on with it, or --force to train from the start."
        )
    bars = requested_bars(request)
    labels, schema = _labels_of(bars, request)
    minimum = request.config.training.min_labels
    if len(labels) < minimum:
        raise BarsError(
            f"A model needs {minimum} labels, the bars give {len(labels)}. Give more "
            "history or lower `min_labels`."
        )
    if unfinished.exists() and not resume:
        shutil.rmtree(unfinished)
    model = train(
        samples_from_labels(labels),
        schema,
        request.config,
        name=out.name,
        progress=progress,
        unfinished=unfinished,
    )
    save_trained(model, labels, bars, out, force=may_replace)
    shutil.rmtree(unfinished)
    return model


def check_training(
    request: RunRequest, *, progress: ProgressCallback | None = None
) -> list[Check]:
    """Check that the settings can train at all; see `trm_bt.learning.self_check`."""
    request.config.check_trainable()
    labels, _ = _labels_of(requested_bars(request), request)
    return self_check(samples_from_labels(labels), request.config, progress=progress)


def save_trained(
    model: TrainedModel,
    labels: pd.DataFrame,
    bars: Bars,
    folder: Path,
    *,
    force: bool = False,
) -> None:
    """Save a checkpoint with its model card, its history and a picture of it.

    Parameters
    ----------
    model : TrainedModel
        What to save.
    labels : DataFrame of shape (n_labels, n_columns)
        The table that its rows were taken from, later rows included.
    bars : Bars
        What the labels were made from.
    folder : Path
        The checkpoint folder.
    force : bool
        Replace a checkpoint that is there.
    """
    record = model.record
    history = [epoch.model_dump() for epoch in record.history]
    yardsticks = {
        "accuracy": record.majority_accuracy,
        "utility": record.best_fixed_utility,
    }
    extras = {
        "MODEL_CARD.md": report.model_card(card_facts(model, labels, bars)).encode(),
        "history.json": (json.dumps(history, indent=2) + "\n").encode(),
        "training.png": report.loss_curve(history, yardsticks),
    }
    save_checkpoint(model, folder, extras=extras, force=force)


def card_facts(
    model: TrainedModel, labels: pd.DataFrame, bars: Bars
) -> dict[str, object]:
    """Return what the model card tells, as JSON values.

    Bars and labels later than the model knows are left out of all figures.
    """
    record, config, schema = model.record, model.config, model.schema
    seen = bars.between(end=str(record.last_label_known_on))
    training = _within(labels, record.train_start, record.train_end)
    validation = _within(labels, record.validation_start, record.validation_end)
    return {
        "model": model_record(model).model_dump(mode="json"),
        "bars": BarsRecord.of(seen).model_dump(mode="json"),
        "spans": {
            "train_end": record.train_end.isoformat(),
            "validation_start": record.validation_start.isoformat(),
            "validation_end": record.validation_end.isoformat(),
            "n_epochs": len(record.history),
            "mean_steps": record.best.validation_mean_steps,
        },
        "schema": schema.model_dump(mode="json"),
        "features": [
            (name, status, mean, std)
            for (name, status), mean, std in zip(
                schema.status_by_name.items(),
                model.scaler.mean.tolist(),
                model.scaler.std.tolist(),
                strict=True,
            )
        ],
        "labels": describe_labels(training, config.labels),
        "crises": _crises_seen(training, validation, record.last_label_known_on),
        "config": config.model_dump(mode="json"),
        "settings": config.to_json(),
        "n_parameters": TinyRecursiveModel(config.model).n_parameters,
        "versions": versions(),
    }


def _labels_of(bars: Bars, request: RunRequest) -> tuple[pd.DataFrame, FeatureSchema]:
    """Compute features and labels of the bars."""
    config = request.config
    features = compute_features(bars, config.features)
    return label_bars(bars, config.features, config.labels), features.schema


def _within(labels: pd.DataFrame, start: object, end: object) -> pd.DataFrame:
    return labels.loc[pd.Timestamp(str(start)) : pd.Timestamp(str(end))]


def _crises_seen(
    training: pd.DataFrame, validation: pd.DataFrame, known_on: object
) -> Sequence[Mapping[str, object]]:
    """Say of each crisis how many labels hold through a part of it."""
    rows = []
    for crisis in CRISES:
        n_trained, n_validated = (
            int(((part.index <= crisis.end) & (part["known_on"] >= crisis.start)).sum())
            for part in (training, validation)
        )
        if n_trained or n_validated:
            verdict = "in sample"
        elif crisis.start > pd.Timestamp(str(known_on)):
            verdict = "later than all it knows"
        else:
            verdict = "not in its rows"
        rows.append(
            {
                "name": crisis.name,
                "n_trained": n_trained,
                "n_validated": n_validated,
                "verdict": verdict,
            }
        )
    return rows
