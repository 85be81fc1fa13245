"""The training stage: bars in, a checkpoint with card, history and picture out."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from trm_bt import report
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, RunError
from trm_bt.evaluation.benchmarks import baselines
from trm_bt.files import exclusive_lock, remove_folder
from trm_bt.learning.checkpoint import check_overwrite, save_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import ProgressCallback, TrainedModel
from trm_bt.learning.resume import STATE_FILE, is_unfinished
from trm_bt.learning.self_check import Check, self_check
from trm_bt.learning.trainer import train
from trm_bt.manifest import check_replaceable
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.market.crises import CRISES
from trm_bt.market.features import describe_provenance
from trm_bt.market.label_table import summarize_labels
from trm_bt.market.labels import features_and_labels
from trm_bt.report.cards import CardFacts
from trm_bt.runfolder.records import BarsRecord, RunRequest, versions
from trm_bt.runs.pooled import check_pooled, training_universes, with_pooled
from trm_bt.runs.request import training_bars
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
        Bars and settings; `end` limits what the model may know.
    out : Path
        The checkpoint folder. During training, its state is kept next to it, in
        ``<out>.unfinished``.
    force : bool
        Replace an existing checkpoint, or the state of an unfinished training.
    resume : bool
        Resume an unfinished training of the same bars and settings.
    progress : callable, optional
        Called as the training advances.

    Returns
    -------
    TrainedModel
        The saved model.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad, or another process trains to `out`; nothing is then
        written.
    """
    request.config.check_trainable()
    allocations = Allocations.of(request.config.labels.allocations)
    baselines(allocations)  # refuses a name that is taken
    with exclusive_lock(out):
        unfinished = out.with_name(f"{out.name}.unfinished")
        may_replace = force or (resume and is_unfinished(unfinished))
        check_overwrite(out, force=may_replace)
        _check_unfinished(unfinished, may_replace=may_replace)
        bars, pooled = training_universes(request)
        features, labels = features_and_labels(bars, request.config)
        schema = features.schema
        samples = samples_from_labels(_enough(labels, request.config))
        samples = with_pooled(samples, pooled, schema, request.config)
        check_pooled([samples], request.config)
        if not resume:
            remove_folder(unfinished)
        model = train(
            samples,
            schema,
            request.config,
            name=out.name,
            progress=progress,
            unfinished=unfinished,
        )
        save_trained(model, labels, bars, out, force=may_replace)
        remove_folder(unfinished)
    return model


def _enough(labels: pd.DataFrame, config: TRMConfig) -> pd.DataFrame:
    """Return labels, refusing too few."""
    minimum = config.training.min_labels
    if len(labels) < minimum:
        raise BarsError(
            f"A model needs {minimum} labels, the bars give {len(labels)}. Give more "
            "history or lower `min_labels`."
        )
    return labels


def _check_unfinished(unfinished: Path, *, may_replace: bool) -> None:
    """Refuse what is not the state of a training, or one still to be resumed."""
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
    _, labels = features_and_labels(training_bars(request), request.config)
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
    # what is said of the bars is no later than what the model knows
    seen = describe_provenance(
        bars.between(end=pd.Timestamp(record.last_label_known_on))
    )
    schema = model.schema.model_copy(update={"provenance": seen})
    model = replace(model, schema=schema)
    history = [epoch.model_dump() for epoch in record.history]
    baselines = {
        "accuracy": record.majority_accuracy,
        "utility": record.best_fixed_utility,
    }
    extras = {
        "MODEL_CARD.md": report.model_card(card_facts(model, labels, bars)).encode(),
        "history.json": (json.dumps(history, indent=2) + "\n").encode(),
        "training.png": report.loss_curve(history, baselines, record.best_epoch),
    }
    save_checkpoint(model, folder, extras=extras, force=force)


def card_facts(model: TrainedModel, labels: pd.DataFrame, bars: Bars) -> CardFacts:
    """Return what the model card says.

    Bars and labels later than the model knows are left out of all figures.

    Parameters
    ----------
    model, labels, bars
        As in `save_trained`.
    """
    record, config = model.record, model.config
    known_on = pd.Timestamp(record.last_label_known_on)
    training = labels.loc[str(record.train_start) : str(record.train_end)]
    validation = labels.loc[str(record.validation_start) : str(record.validation_end)]
    scaling = model.scaler.mean.tolist(), model.scaler.std.tolist()
    return CardFacts(
        model=model_record(model),
        bars=BarsRecord.of(bars.between(end=known_on)),
        train_end=record.train_end,
        validation_start=record.validation_start,
        validation_end=record.validation_end,
        n_epochs=len(record.history),
        mean_steps=record.best.validation_mean_steps,
        schema=model.schema,
        features=[
            (name, status, mean, std)
            for (name, status), mean, std in zip(
                model.schema.status_by_name.items(), *scaling, strict=True
            )
        ],
        labels=summarize_labels(training, config.labels),
        crises=list(_crises_seen(training, validation, known_on)),
        config=config,
        n_parameters=TinyRecursiveModel(
            config.model, n_allocations=len(model.schema.table)
        ).n_parameters,
        versions=versions(),
    )


def _crises_seen(
    training: pd.DataFrame, validation: pd.DataFrame, known_on: pd.Timestamp
) -> Iterator[tuple[str, int, int, str]]:
    """Return for each crisis how many labels overlap it."""
    for crisis in CRISES:
        n_trained, n_validated = (
            int(((part.index <= crisis.end) & (part["known_on"] >= crisis.start)).sum())
            for part in (training, validation)
        )
        verdict = "not in its training span"
        if n_trained or n_validated:
            verdict = "in sample"
        elif crisis.start > known_on:
            verdict = "after everything it knows"
        yield crisis.name, n_trained, n_validated, verdict
