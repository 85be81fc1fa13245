"""Walk forward: retrain, decide what comes next, and judge all of it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

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
from trm_bt.cli.runs import print_summary
from trm_bt.cli.terminal import progress_bars
from trm_bt.config import TRMConfig, WalkForwardConfig, explain
from trm_bt.errors import ConfigError


@app.command("walkforward")
def walkforward_command(
    out: OutOption,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    first_decision: Annotated[
        str | None, typer.Option("--from", help="First session to decide, YYYY-MM-DD.")
    ] = None,
    retrain_every: Annotated[
        int | None, typer.Option("--every", min=1, help="Sessions between trainings.")
    ] = None,
    retrain_on: Annotated[
        list[str] | None,
        typer.Option("--retrain-on", help="A date to retrain before; may be repeated."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, help="Newest labels trained on; else all."),
    ] = None,
    embargo: Annotated[
        int | None, typer.Option("--embargo", min=0, help="Sessions left out as well.")
    ] = None,
    n_seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Models averaged in a fold.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Models trained at a time.")
    ] = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Retrain again and again, decide out of sample, backtest and report.

    The same command again goes on where it was stopped.
    """
    from trm_bt.runs.walkforward import run_walkforward

    given = {
        "first_decision": first_decision,
        "retrain_every": retrain_every,
        "retrain_on": _dates(retrain_on, retrain_every),
        "window": window,
        "embargo": embargo,
        "n_seeds": n_seeds,
    }
    settings = _with_folds(settings_of(config, seed), given)
    request = request_of(bars, settings, start, end, observed, device)
    with progress_bars() as progress:
        summary = run_walkforward(
            request,
            out,
            command=command_line(),
            force=force,
            n_processes=jobs,
            progress=progress,
        )
    if as_json:
        print(json.dumps(summary.model_dump(mode="json")))
    else:
        print_summary(summary, Path(out))


def _dates(retrain_on: list[str] | None, retrain_every: int | None) -> object:
    """Return the dates on which folds begin, None for those of the settings.

    Folds of so many sessions, where asked for, take the place of dates in the settings.
    """
    if retrain_on and retrain_every is not None:
        raise ConfigError(
            "--every and --retrain-on both say when folds begin, got both. Give one."
        )
    return retrain_on or (None if retrain_every is None else ())


def _with_folds(settings: TRMConfig, given: Mapping[str, object]) -> TRMConfig:
    """Return the settings with what the command line says about the folds."""
    asked = {key: value for key, value in given.items() if value is not None}
    folds = settings.walkforward.model_dump() | asked
    try:
        changed = WalkForwardConfig.model_validate(folds)
    except ValidationError as error:
        raise ConfigError(explain(WalkForwardConfig, error)) from error
    return settings.model_copy(update={"walkforward": changed})
