"""What a model learns from: features and labels."""

import json
from typing import Annotated

import typer

from trm_bt.cli.options import (
    BarsOption,
    ConfigOption,
    EndOption,
    ForceOption,
    JsonOption,
    ObservedOption,
    OutOption,
    StartOption,
    app,
    request_of,
    settings_of,
)
from trm_bt.cli.tables import (
    figure_table,
    label_tables,
)
from trm_bt.cli.terminal import console
from trm_bt.errors import RunError


@app.command()
def features(
    out: OutOption,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the ten features: parquet, CSV, JSON and a picture in one folder."""
    from trm_bt.files import check_replaceable, staged_folder
    from trm_bt.market.features import compute_features
    from trm_bt.report import feature_picture
    from trm_bt.runs.request import requested_bars
    from trm_bt.runs.results import save_features

    if out.suffix in {".csv", ".parquet"}:
        raise RunError(
            f"{out}: must be a folder, which gets features.parquet, features.csv, "
            f"features.json and features.png. Choose --out {out.with_suffix('')}."
        )
    check_replaceable(out, marker="features.json", force=force)
    request = request_of(bars, settings_of(config, None), start, end, observed)
    loaded = requested_bars(request)
    computed = compute_features(loaded, request.config.features)
    with staged_folder(out) as folder:
        facts = save_features(computed, loaded, folder)
        feature_picture(computed, folder / "features.png")
    if as_json:
        print(json.dumps(facts))
        return
    console().print(loaded.source)
    table = figure_table(
        f"{facts['rows']} rows of features in {out}",
        ("feature", "status", "min", "median", "max"),
    )
    for name, status in computed.schema.status_by_name.items():
        values = computed.frame[name]
        figures = (values.min(), values.median(), values.max())
        table.add_row(name, status, *[f"{value:.4g}" for value in figures])
    console().print(table)


@app.command()
def labels(
    out: OutOption,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    crises: Annotated[
        bool, typer.Option("--crises", help="Only sessions inside the twelve crises.")
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label every session with the allocation that was best over the horizon."""
    from trm_bt.runs.run import write_labels

    request = request_of(bars, settings_of(config, None), start, end, observed)
    summary = write_labels(request, out, only_crises=crises, force=force)
    if as_json:
        print(json.dumps(summary))
        return
    terminal = console()
    terminal.print(summary["bars"]["source"])
    for table in label_tables(summary, out):
        terminal.print(table)
