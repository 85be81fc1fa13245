"""Bars: show the sample, fetch, validate."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trm_bt.cli.options import (
    BarsOption,
    EndOption,
    ForceOption,
    JsonOption,
    StartOption,
    app,
)
from trm_bt.cli.tables import (
    fetch_table,
    provenance_table,
    symbol_table,
)
from trm_bt.cli.terminal import console, progress_bars
from trm_bt.errors import BarsError, FetchError


@app.command()
def sample(
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for one CSV file a role.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the embedded sample is derived from; with --out, export it."""
    from trm_bt.feeds import load_bars
    from trm_bt.files import check_replaceable, staged_folder
    from trm_bt.market.bars import ROLES
    from trm_bt.runfolder.records import BarsRecord

    bars = load_bars("sample")
    if out is not None:
        check_replaceable(out, marker="equity.csv", force=force)
        with staged_folder(out) as folder:
            for role in ROLES:
                values = getattr(bars, role)
                if values is not None:
                    values.to_csv(folder / f"{role}.csv")
            (folder / "README.txt").write_text(bars.source + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(BarsRecord.of(bars).model_dump(mode="json")))
    else:
        console().print(provenance_table(BarsRecord.of(bars).model_dump(mode="json")))


@app.command()
def fetch(
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", help="Folder of the bars, else the user's data folder."
        ),
    ] = None,
    symbols: Annotated[
        str, typer.Option("--symbols", help="More symbols, separated by commas.")
    ] = "",
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            min=0.0,
            help="Seconds after which copies must serve, else ten minutes.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the store of raw bars up to date from Yahoo Finance."""
    import pandas as pd

    from trm_bt.feeds.fetch import DEFAULT_SYMBOLS, DEFAULT_TIME_LIMIT, fetch_all
    from trm_bt.feeds.store import BarStore, default_store
    from trm_bt.feeds.yahoo import download

    kept = BarStore(store or default_store())
    added = [name.strip() for name in symbols.split(",") if name.strip()]
    wanted = list(dict.fromkeys([*DEFAULT_SYMBOLS, *added]))
    now = pd.Timestamp.now("UTC")
    with progress_bars() as progress:
        outcomes = fetch_all(
            kept,
            wanted,
            download=download,
            now=now,
            time_limit=DEFAULT_TIME_LIMIT if time_limit is None else time_limit,
            progress=one_bar(progress),
        )
    for outcome in outcomes:
        for message in outcome.messages:
            print(f"trm-bt: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
    else:
        console().print(fetch_table(outcomes, kept))
    missing = [outcome.symbol for outcome in outcomes if outcome.action == "missing"]
    if missing:
        raise FetchError(
            f"{', '.join(missing)} could not be fetched, and {kept.folder} has no "
            "copy. Try again later, or use files of your own with --bars DIR."
        )


@app.command()
def validate(
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold every symbol against the calendar, the rules of prices and its role."""
    from trm_bt.feeds.validate import validate_source

    reports = validate_source(bars, start=start, end=end)
    if as_json:
        print(json.dumps([report.to_dict() for report in reports]))
    else:
        for report in reports:
            console().print(symbol_table(report))
    errors = [f for r in reports for f in r.findings if f.severity == "error"]
    if errors:
        raise BarsError(f"{len(errors)} errors, first: {errors[0].sentence}")


def one_bar(
    advance: Callable[[str, int, int], None],
) -> Callable[[str, int, int], None]:
    """Return a callback that moves one bar and names the symbol."""
    return lambda symbol, done, total: advance(f"fetch {symbol}", done, total)
