"""A finished run against every benchmark."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trm_bt.cli.options import ForceOption, JsonOption, SeedOption, app
from trm_bt.cli.tables import compare_table
from trm_bt.cli.terminal import console, progress_bars


@app.command("compare")
def compare_command(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    bars: Annotated[
        str | None,
        typer.Option("--bars", help="Where its bars are now, if they have moved."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="First session to compare.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="Last session to compare.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where it goes, else RUN_FOLDER/comparison."),
    ] = None,
    trials: Annotated[
        Path | None,
        typer.Option(
            "--trials", help="Trials log, else the folder trials beside the run."
        ),
    ] = None,
    earlier_trials: Annotated[
        int,
        typer.Option(
            "--earlier-trials", min=0, help="Trials made before the log began."
        ),
    ] = 0,
    draws: Annotated[
        int, typer.Option("--draws", min=100, help="Histories drawn for each test.")
    ] = 2000,
    seed: SeedOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare a run with every benchmark, and test what of its lead is luck."""
    from trm_bt.evaluation.assessment import SignificanceSettings
    from trm_bt.runs.compare import PAGE, CompareRequest, compare, target_of

    settings = SignificanceSettings(
        n_draws=draws, seed=seed or 0, n_earlier_trials=earlier_trials
    )
    request = CompareRequest(run_folder, bars, start, end, trials, settings)
    with progress_bars() as progress:
        record = compare(request, out=out, force=force, progress=progress)
    if as_json:
        print(json.dumps(record.to_dict()))
        return
    terminal = console()
    terminal.print(record.bars["source"])
    terminal.print(compare_table(record))
    for name, why in record.left_out.items():
        print(f"Left out: {name} {why}")
    for sentence in record.verdict:
        print(sentence)
    print(target_of(run_folder, out) / PAGE)
