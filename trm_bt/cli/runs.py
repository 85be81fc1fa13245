"""Whole runs, their pages, and the settings."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trm_bt.cli.options import (
    BarsOption,
    ConfigOption,
    Device,
    DeviceOption,
    EndOption,
    ForceOption,
    JsonOption,
    ObservedOption,
    OutOption,
    SeedOption,
    StartOption,
    app,
    command_line,
    request_of,
    settings_of,
)
from trm_bt.cli.tables import (
    crisis_table,
    strategy_table,
)
from trm_bt.cli.terminal import console, progress_bars
from trm_bt.config import Preset

if TYPE_CHECKING:
    from trm_bt.runfolder.records import Summary


@app.command("run")
def run_command(
    out: OutOption,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go from bars to crisis tearsheets: label, train, backtest and report."""
    from trm_bt.runs.run import run

    request = request_of(bars, settings_of(config, seed), start, end, observed, device)
    with progress_bars() as progress:
        summary = run(
            request, out, command=command_line(), force=force, progress=progress
        )
    if as_json:
        print(json.dumps(summary.model_dump(mode="json")))
    else:
        print_summary(summary, out)


@app.command("report")
def report_command(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Tearsheets made at the same time.")
    ] = 2,
    crises: Annotated[
        Path | None,
        typer.Option("--crises", help="JSON or CSV of windows of your own."),
    ] = None,
) -> None:
    """Build the pages of a finished run again."""
    from trm_bt.market.crises import read_crises
    from trm_bt.report import build

    own = read_crises(crises) if crises else ()
    with progress_bars() as progress:
        build(
            run_folder,
            crises=own,
            jobs=jobs,
            progress=lambda done, total, _: progress("report", done, total),
        )
    print(run_folder / "index.html")


@app.command("config")
def config_command(
    config: ConfigOption = None,
    seed: SeedOption = None,
    preset: Annotated[
        Preset | None,
        typer.Option("--preset", help="Settings of a name instead of a file."),
    ] = None,
) -> None:
    """Print the settings as JSON, ready to edit and pass as --config."""
    if config is not None and preset is not None:
        raise typer.BadParameter("give --config or --preset, not both")
    print(settings_of(config, seed, preset or "shipped").describe())


def print_summary(summary: "Summary", out: Path) -> None:
    """Print the two tables of a run and where its page is."""
    terminal = console()
    terminal.print(summary.bars.source)
    terminal.print(crisis_table(summary.crises))
    terminal.print(strategy_table(summary))
    orders = summary.orders
    terminal.print(
        f"Orders: {orders.submitted} submitted, {orders.completed} completed, "
        f"{orders.rejected} rejected."
    )
    print(out / "index.html")
