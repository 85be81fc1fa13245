"""Bars: show the sample, fetch, validate."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from trm_bt.cli.options import BarsOptions, ForceOption, SpanOptions, app
from trm_bt.cli.tables import (
    fetch_table,
    finding_lines,
    provenance_table,
    symbol_table,
    verdict_line,
    verdict_table,
)
from trm_bt.cli.terminal import Terminal
from trm_bt.errors import BarsError, FetchError


@app.command
def sample(
    span: SpanOptions = SpanOptions(),
    *,
    out: Path | None = None,
    force: ForceOption = False,
    terminal: Terminal = Terminal(),
) -> None:
    """Show what the embedded sample is derived from; with --out, export it.

    It begins in 1990, or in 1962 if --start is earlier.

    Parameters
    ----------
    out : Path, optional
        Folder for one CSV file per role.
    """
    from trm_bt.feeds import load_bars
    from trm_bt.files import staged_folder
    from trm_bt.manifest import check_replaceable
    from trm_bt.runfolder.records import RUN, BarsRecord

    bars = load_bars("sample", start=span.start, end=span.end)
    if out is not None:
        check_replaceable(out, marker="equity.csv", without=RUN, force=force)
        with staged_folder(out) as folder:
            for role, values in bars.by_role().items():
                values.to_csv(folder / f"{role}.csv")
            (folder / "README.txt").write_text(bars.source + "\n", encoding="utf-8")
    record = BarsRecord.of(bars)
    terminal.show(record, provenance_table(record), path=out)


@app.command
def fetch(
    *,
    store: Path | None = None,
    symbols: str = "",
    time_limit: Annotated[float | None, Parameter(validator=Number(gte=0))] = None,
    terminal: Terminal = Terminal(),
) -> None:
    """Update the store of raw bars from Yahoo Finance.

    Parameters
    ----------
    store : Path, optional
        Folder of the bars, by default in the user's data folder.
    symbols : str
        More symbols, separated by commas.
    time_limit : float, optional
        Seconds after which existing copies are used, by default ten minutes.
    """
    import pandas as pd

    from trm_bt.feeds.fetch import DEFAULT_TIME_LIMIT, fetch_all
    from trm_bt.feeds.store import default_store
    from trm_bt.feeds.vendors import VENDORS

    vendor = VENDORS["yahoo"](store or default_store())
    added = [name.strip() for name in symbols.split(",") if name.strip()]
    with terminal.progress() as progress:
        outcomes = fetch_all(
            vendor,
            list(dict.fromkeys([*vendor.default_symbols, *added])),
            now=pd.Timestamp.now("UTC"),
            time_limit=DEFAULT_TIME_LIMIT if time_limit is None else time_limit,
            progress=lambda symbol, *done: progress(f"fetch {symbol}", *done),
        )
    for outcome in outcomes:
        for message in outcome.messages:
            print(f"trm-bt: {message}", file=sys.stderr)
    terminal.show(
        [asdict(outcome) for outcome in outcomes], fetch_table(outcomes, vendor.store)
    )
    missing = [outcome.symbol for outcome in outcomes if outcome.action == "missing"]
    if missing:
        raise FetchError(
            f"{', '.join(missing)} could not be fetched, and {vendor.folder} has no "
            "copy. Try again later, or use your own files with --bars DIR."
        )


@app.command
def validate(
    source: BarsOptions = BarsOptions(), terminal: Terminal = Terminal()
) -> None:
    """Check every symbol against the calendar, the price rules and its role.

    Prints one line per symbol, then the findings; with --verbose every rule checked.
    """
    from trm_bt.feeds.validate import validate_source

    reports = validate_source(
        source.bars, start=source.start, end=source.end, judgement=source.judgement()
    )
    hidden = {"findings": {"__all__": {"rows", "what"}}}
    facts = [report.model_dump(mode="json", exclude=hidden) for report in reports]
    rules = map(symbol_table, reports) if terminal.verbose else ()
    terminal.show(
        facts,
        verdict_table(reports),
        *finding_lines(reports),
        *rules,
        verdict_line(reports),
    )
    errors = [f for r in reports for f in r.findings if f.severity == "error"]
    if errors:
        raise BarsError(f"{len(errors)} errors, first: {errors[0].sentence}")
