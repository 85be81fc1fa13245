"""What the card of a checkpoint tells of its model."""

from collections.abc import Sequence

import pandas as pd

from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import TrainedModel
from trm_bt.market.bars import Bars
from trm_bt.market.crises import CRISES
from trm_bt.market.label_table import describe_labels
from trm_bt.runfolder.records import BarsRecord, versions
from trm_bt.runs.results import model_record


def card_facts(
    model: TrainedModel, labels: pd.DataFrame, bars: Bars
) -> dict[str, object]:
    """Return what the model card tells, as JSON values.

    Bars and labels later than the model knows are left out of all figures.

    Parameters
    ----------
    model : TrainedModel
        The model.
    labels : DataFrame of shape (n_labels, n_columns)
        The table that its rows were taken from, later rows included.
    bars : Bars
        What the labels were made from.
    """
    record, config, schema = model.record, model.config, model.schema
    known_on = pd.Timestamp(record.last_label_known_on)
    training = _between(labels, record.train_start, record.train_end)
    validation = _between(labels, record.validation_start, record.validation_end)
    seen = BarsRecord.of(bars.between(end=known_on))
    return {
        "model": model_record(model).model_dump(mode="json"),
        "bars": seen.model_dump(mode="json"),
        "spans": {
            "train_end": record.train_end.isoformat(),
            "validation_start": record.validation_start.isoformat(),
            "validation_end": record.validation_end.isoformat(),
            "n_epochs": len(record.history),
            "mean_steps": record.best.validation_mean_steps,
        },
        "schema": schema.model_dump(mode="json"),
        "inputs": schema.inputs,
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
        "crises": _crises_seen(training, validation, known_on),
        "config": config.model_dump(mode="json"),
        "settings": config.to_json(),
        "n_parameters": TinyRecursiveModel(
            config.model, n_allocations=len(schema.table)
        ).n_parameters,
        "allocations": schema.table.describe(),
        "n_allocations": len(schema.table),
        "versions": versions(),
    }


def _between(labels: pd.DataFrame, start: object, end: object) -> pd.DataFrame:
    return labels.loc[pd.Timestamp(str(start)) : pd.Timestamp(str(end))]


def _crises_seen(
    training: pd.DataFrame, validation: pd.DataFrame, known_on: pd.Timestamp
) -> Sequence[dict[str, object]]:
    """Say of each crisis how many labels hold through a part of it."""
    rows: list[dict[str, object]] = []
    for crisis in CRISES:
        n_trained, n_validated = (
            int(((part.index <= crisis.end) & (part["known_on"] >= crisis.start)).sum())
            for part in (training, validation)
        )
        verdict = "not in its rows"
        if n_trained or n_validated:
            verdict = "in sample"
        elif crisis.start > known_on:
            verdict = "later than all it knows"
        rows.append(
            {
                "name": crisis.name,
                "n_trained": n_trained,
                "n_validated": n_validated,
                "verdict": verdict,
            }
        )
    return rows
