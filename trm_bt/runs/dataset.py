"""Features and labels of bars, and the files that hold them."""

from pathlib import Path

import pandas as pd

from trm_bt.config import LabelConfig
from trm_bt.errors import BarsError
from trm_bt.files import staged_folder
from trm_bt.manifest import check_replaceable
from trm_bt.market._typing import JsonObject
from trm_bt.market.bars import Bars
from trm_bt.market.features import Features
from trm_bt.market.label_table import LABELS_FILE, summarize_labels
from trm_bt.market.labels import features_and_labels
from trm_bt.runfolder.records import RUN, BarsRecord, LabelsRecord, RunRequest
from trm_bt.runfolder.store import write_json
from trm_bt.runs.request import requested_bars


def write_labels(
    request: RunRequest, out: Path, *, only_crises: bool = False, force: bool = False
) -> LabelsRecord:
    """Label the bars and write the table as parquet and CSV, with a summary.

    Parameters
    ----------
    request : RunRequest
        Bars and settings.
    out : Path
        The folder of the three files.
    only_crises : bool
        Keep the labels of sessions inside the twelve crises only. They look ahead as
        any others do: the last ones of a crisis are known after its end.
    force : bool
        Replace existing labels.

    Returns
    -------
    LabelsRecord
        What labels_summary.json holds.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_replaceable(out, marker="labels.csv", without=RUN, force=force)
    config, bars = request.config, requested_bars(request)
    features, labels = features_and_labels(bars, config)
    if only_crises:
        labels = labels[labels["crises"] != ""]
        if labels.empty:
            raise BarsError(
                "The bars must give labels inside at least one crisis, but give none: "
                f"they run from {bars.sessions[0].date()} to "
                f"{bars.sessions[-1].date()}. Give more history."
            )
    with staged_folder(out) as folder:
        return save_labels(labels, features, bars, config.labels, folder)


def save_labels(
    labels: pd.DataFrame,
    features: Features,
    bars: Bars,
    config: LabelConfig,
    folder: Path,
) -> LabelsRecord:
    """Write labels.parquet, labels.csv and labels_summary.json into `folder`.

    The labels have shape (n_labels, n_columns); the parquet file carries the feature
    schema too.

    Returns
    -------
    LabelsRecord
        What labels_summary.json holds.
    """
    described = labels.copy(deep=False)
    schema = features.schema.choosing(config)
    described.attrs = {"feature_schema": schema.model_dump(mode="json")}
    described.to_parquet(folder / LABELS_FILE)
    labels.to_csv(folder / "labels.csv")
    summary = LabelsRecord(
        **dict(summarize_labels(labels, config)),
        features=features.schema.status_by_name,
        n_zero_denominators=features.n_zero_denominators,
        bars=BarsRecord.of(bars),
    )
    write_json(folder / "labels_summary.json", summary)
    return summary


def save_features(features: Features, bars: Bars, folder: Path) -> JsonObject:
    """Write features.parquet, features.csv and features.json into `folder`.

    The parquet file carries the schema too, as `Features` says. Returns what the JSON
    file holds: span, schema, status by feature, and the provenance of the bars.
    """
    features.frame.to_parquet(folder / "features.parquet")
    features.frame.to_csv(folder / "features.csv", index_label="session")
    facts: JsonObject = {
        "rows": len(features.frame),
        "start": features.frame.index[0].date().isoformat(),
        "end": features.frame.index[-1].date().isoformat(),
        "status": features.schema.status_by_name,
        "schema": features.schema.model_dump(mode="json"),
        "n_zero_denominators": features.n_zero_denominators,
        "bars": BarsRecord.of(bars).model_dump(mode="json"),
    }
    write_json(folder / "features.json", facts)
    return facts
