"""The training stage: bars in, a checkpoint with card, history and picture out."""

import json
from pathlib import Path

import pandas as pd

from trm_bt import report
from trm_bt.errors import BarsError, RunError
from trm_bt.files import exclusive_lock, remove_folder
from trm_bt.learning.checkpoint import check_overwrite, save_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.records import ProgressCallback, TrainedModel
from trm_bt.learning.resume import STATE_FILE, is_unfinished
from trm_bt.learning.self_check import Check, self_check
from trm_bt.learning.trainer import train
from trm_bt.manifest import check_replaceable
from trm_bt.market.bars import Bars
from trm_bt.market.features import FeatureSchema, compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.cards import card_facts
from trm_bt.runs.request import requested_bars


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
        Replace an existing checkpoint, or the state of an unfinished training.
    resume : bool
        Resume an unfinished training of the same bars and settings.
    progress : callable, optional
        Called as the training moves on.

    Returns
    -------
    TrainedModel
        What was saved.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad, or another process trains to `out`; nothing is written
        then.
    """
    request.config.check_trainable()
    with exclusive_lock(out):
        unfinished = out.with_name(f"{out.name}.unfinished")
        may_replace = force or (resume and is_unfinished(unfinished))
        check_overwrite(out, force=may_replace)
        _check_unfinished(unfinished, may_replace=may_replace)
        bars = requested_bars(request)
        labels, schema = _labels_of(bars, request)
        minimum = request.config.training.min_labels
        if len(labels) < minimum:
            raise BarsError(
                f"A model needs {minimum} labels, the bars give {len(labels)}. Give "
                "more history or lower `min_labels`."
            )
        if not resume:
            remove_folder(unfinished)
        model = train(
            samples_from_labels(labels),
            schema,
            request.config,
            name=out.name,
            progress=progress,
            unfinished=unfinished,
        )
        save_trained(model, labels, bars, out, force=may_replace)
        remove_folder(unfinished)
    return model


def _check_unfinished(unfinished: Path, *, may_replace: bool) -> None:
    """Refuse what is no state of a training, or the state of one nobody gave up."""
    if is_unfinished(unfinished) and not may_replace:
        raise RunError(
            f"{unfinished}: is the state of an unfinished training. Pass --resume to "
            "resume it, or --force to train from the start."
        )
    check_replaceable(unfinished, marker=STATE_FILE, force=True)


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
        Replace an existing checkpoint.
    """
    record = model.record
    history = [epoch.model_dump() for epoch in record.history]
    baselines = {
        "accuracy": record.majority_accuracy,
        "utility": record.best_fixed_utility,
    }
    extras = {
        "MODEL_CARD.md": report.model_card(card_facts(model, labels, bars)).encode(),
        "history.json": (json.dumps(history, indent=2) + "\n").encode(),
        "training.png": report.loss_curve(history, baselines),
    }
    save_checkpoint(model, folder, extras=extras, force=force)


def _labels_of(bars: Bars, request: RunRequest) -> tuple[pd.DataFrame, FeatureSchema]:
    """Compute features and labels of the bars."""
    config = request.config
    features = compute_features(bars, config.features)
    return compute_labels(bars, features, config.labels), features.schema
