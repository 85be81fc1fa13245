"""The command line: one sub-command a stage, and the only module that prints.

Exit codes: 0 done, 1 the job failed, 2 bad usage or bad input.
"""

import json
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from trm_bt.config import TRMConfig
from trm_bt.errors import (
    BarsError,
    BarsWarning,
    ConfigError,
    FetchError,
    LookAheadError,
    RunError,
    TRMError,
)
from trm_bt.tables import (
    audit_table,
    crisis_table,
    fetch_table,
    figure_table,
    label_tables,
    provenance_table,
    strategy_table,
    symbol_table,
)

if TYPE_CHECKING:
    from trm_bt.runfolder import RunRequest

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train a Tiny Recursive Model on market bars and judge it out of sample.",
)


class Device(StrEnum):
    """Where a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


BarsOption = Annotated[
    str, typer.Option("--bars", help="'sample', 'yahoo', or a folder of bars.")
]
StartOption = Annotated[
    str | None, typer.Option("--start", help="First date of the bars, YYYY-MM-DD.")
]
EndOption = Annotated[
    str | None, typer.Option("--end", help="Last date of the bars, YYYY-MM-DD.")
]
ObservedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--observed",
        help="Insist on an observed input (members, put_call); shortens the span.",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings as JSON; see `trm-bt config`.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Overrides it.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where models decide.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one machine-readable object instead.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace what another run has written.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Where the result goes.")]

_TYPER_INTERRUPTED = 130
"""Exit code into which Typer turns a KeyboardInterrupt, without a word."""


def main() -> None:
    """Run the command line and turn errors into one sentence and an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app()
    except TRMError as error:
        # a leak that was found is an answer, not a mistake of the one who asked
        is_bad_input = isinstance(error, ValueError)
        is_bad_input &= not isinstance(error, LookAheadError)
        _fail(str(error), 2 if is_bad_input else 1)
    except OSError as error:
        _fail(f"The job failed: {error}.", 1)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _TYPER_INTERRUPTED:
            raise
        _fail("Interrupted.", 1)


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
    from trm_bt.pipeline import run

    request = _request(bars, _settings(config, seed), start, end, observed, device)
    with _progress_bars() as progress:
        summary = run(
            request, out, command=_command_line(), force=force, progress=progress
        )
    if as_json:
        print(json.dumps(summary))
    else:
        _print_summary(summary, out)


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
    from trm_bt.runfolder import describe_bars

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
        print(json.dumps(describe_bars(bars)))
    else:
        _console().print(provenance_table(describe_bars(bars)))


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
        float,
        typer.Option(
            "--time-limit", min=0.0, help="Seconds after which copies must serve."
        ),
    ] = 600.0,
    as_json: JsonOption = False,
) -> None:
    """Bring the store of raw bars up to date from Yahoo Finance."""
    import pandas as pd

    from trm_bt.feeds.fetch import DEFAULT_SYMBOLS, fetch_all
    from trm_bt.feeds.store import BarStore, default_store
    from trm_bt.feeds.yahoo import download

    kept = BarStore(store or default_store())
    added = [name.strip() for name in symbols.split(",") if name.strip()]
    wanted = list(dict.fromkeys([*DEFAULT_SYMBOLS, *added]))
    now = pd.Timestamp.now("UTC")
    with _progress_bars() as progress:
        outcomes = fetch_all(
            kept,
            wanted,
            download=download,
            now=now,
            time_limit=time_limit,
            progress=_one_bar(progress),
        )
    for outcome in outcomes:
        for message in outcome.messages:
            print(f"trm-bt: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
    else:
        _console().print(fetch_table(outcomes, kept))
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
            _console().print(symbol_table(report))
    errors = [f for r in reports for f in r.findings if f.severity == "error"]
    if errors:
        raise BarsError(f"{len(errors)} errors, first: {errors[0].sentence}")


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
    from trm_bt.runfolder import save_features

    if out.suffix in {".csv", ".parquet"}:
        raise RunError(
            f"{out}: must be a folder, which gets features.parquet, features.csv, "
            f"features.json and features.png. Choose --out {out.with_suffix('')}."
        )
    check_replaceable(out, marker="features.json", force=force)
    request = _request(bars, _settings(config, None), start, end, observed)
    loaded = request.load()
    computed = compute_features(loaded, request.config.features)
    with staged_folder(out) as folder:
        facts = save_features(computed, loaded, folder)
        feature_picture(computed, folder / "features.png")
    if as_json:
        print(json.dumps(facts))
        return
    _console().print(loaded.source)
    table = figure_table(
        f"{facts['rows']} rows of features in {out}",
        ("feature", "status", "min", "median", "max"),
    )
    for name, status in computed.schema.status_by_name.items():
        values = computed.frame[name]
        figures = (values.min(), values.median(), values.max())
        table.add_row(name, status, *[f"{value:.4g}" for value in figures])
    _console().print(table)


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
    from trm_bt.pipeline import write_labels

    request = _request(bars, _settings(config, None), start, end, observed)
    summary = write_labels(request, out, only_crises=crises, force=force)
    if as_json:
        print(json.dumps(summary))
        return
    console = _console()
    console.print(summary["bars"]["source"])
    for table in label_tables(summary, out):
        console.print(table)


@app.command("train")
def train_command(
    out: OutOption,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train one model on all labels of the bars and save it as a checkpoint."""
    from trm_bt.pipeline import train_checkpoint
    from trm_bt.runfolder import model_facts

    request = _request(bars, _settings(config, seed), start, end, observed)
    with _progress_bars() as progress:
        model = train_checkpoint(request, out, force=force, progress=progress)
    facts = model_facts(model)
    if as_json:
        print(json.dumps(facts))
        return
    table = Table("what", "value", title=f"Checkpoint {out}")
    for key, value in facts.items():
        if isinstance(value, Mapping):
            for name, figure in value.items():
                table.add_row(f"{key} {name}", f"{figure:.5g}")
        else:
            table.add_row(key, str(value))
    _console().print(table)


@app.command()
def backtest(
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="A checkpoint, or a folder of them.")
    ],
    out: OutOption,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    device: DeviceOption = Device.auto,
    allow_in_sample: Annotated[
        bool,
        typer.Option(
            "--allow-in-sample",
            help="Also decide what the model was trained on; stamped everywhere.",
        ),
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Backtest a checkpoint that is there already, beside SPY and the fixed mixes."""
    from trm_bt.pipeline import backtest_checkpoint

    request = _request(bars, _settings(config, None), start, end, observed, device)
    with _progress_bars() as progress:
        summary: Mapping[str, Any] = backtest_checkpoint(
            request,
            checkpoint,
            out,
            allow_in_sample=allow_in_sample,
            force=force,
            progress=progress,
        )
    if as_json:
        print(json.dumps(summary))
        return
    console = _console()
    console.print(summary["bars"]["source"])
    console.print(strategy_table(summary))
    print(out / "summary.json")


@app.command()
def audit(
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    device: DeviceOption = Device.auto,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Whose decisions and trades to audit."),
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="module:function, from Bars.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", help="module:function, from Bars.")
    ] = None,
    training: Annotated[
        str | None,
        typer.Option("--training", help="module:function, from Bars and a freeze."),
    ] = None,
    cerebro: Annotated[
        str | None, typer.Option("--cerebro", help="module:function, from Bars.")
    ] = None,
    cuts: Annotated[
        str, typer.Option("--cuts", help="Sessions to cut after, or 'all'.")
    ] = "200",
    rtol: Annotated[
        float, typer.Option("--rtol", min=0, help="Lets your numbers differ by this.")
    ] = 1e-6,
    as_json: JsonOption = False,
) -> None:
    """Look for look-ahead in this set-up, or in functions of your own."""
    from trm_bt.evaluation.audit import AuditSettings
    from trm_bt.evaluation.named_audit import audit_named
    from trm_bt.evaluation.setup_audit import audit_setup
    from trm_bt.learning.policy import TRMPolicy

    settings = _settings(config, seed)
    kinds = {"features": features, "policy": policy}
    kinds |= {"training": training, "cerebro": cerebro}
    names = {kind: name for kind, name in kinds.items() if name is not None}
    if names and checkpoint is not None:
        raise ConfigError("`--checkpoint` goes with this set-up, not with your own.")
    n_cuts = _n_cuts(cuts)
    loaded = _request(bars, settings, start, end, observed).load()
    with _progress_bars() as progress:
        how = AuditSettings(n_cuts, settings.seed, rtol, progress)
        if names:
            results = list(audit_named(names, loaded, how))
        else:
            used = None
            if checkpoint is not None:
                used = TRMPolicy.load(checkpoint, device=device.value)
            results = list(audit_setup(loaded, settings, how, used))
    if as_json:
        print(json.dumps([result.to_dict() for result in results]))
    else:
        _console().print(loaded.source)
        _console().print(audit_table(results))
    leaks = [result for result in results if result.difference is not None]
    if leaks:
        raise LookAheadError(
            f"{len(leaks)} of {len(results)} checks found what depends on the future, "
            f"first {leaks[0].name}: {leaks[0].difference}."
        )


@app.command("report")
def report_command(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
) -> None:
    """Build the pages of a finished run again."""
    from trm_bt.report import build

    with _progress_bars() as progress:
        build(
            run_folder, progress=lambda done, total, _: progress("report", done, total)
        )
    print(run_folder / "index.html")


@app.command("config")
def config_command(config: ConfigOption = None, seed: SeedOption = None) -> None:
    """Print the settings as JSON, ready to edit and pass as --config."""
    print(_settings(config, seed).describe())


def _request(
    bars: str,
    config: TRMConfig,
    start: str | None,
    end: str | None,
    observed: list[str] | None,
    device: Device = Device.auto,
) -> "RunRequest":
    from trm_bt.runfolder import RunRequest

    return RunRequest(bars, config, start, end, tuple(observed or ()), device.value)


def _settings(path: Path | None, seed: int | None) -> TRMConfig:
    settings = TRMConfig() if path is None else TRMConfig.load(path)
    return settings if seed is None else settings.model_copy(update={"seed": seed})


def _n_cuts(text: str) -> int | None:
    """Return a number of cuts, None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"`--cuts` must be a number above 0 or 'all', got '{text}'.")
    return int(text)


@contextmanager
def _progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback that draws one bar a stage on a terminal, nothing in a pipe.

    A stage is the first of the words it is called with; the others say what is done.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(words: str, done: int, total: int) -> None:
            stage = words.split()[0]
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total, description=words)

        yield advance


def _one_bar(
    advance: Callable[[str, int, int], None],
) -> Callable[[str, int, int], None]:
    """Return a callback that moves one bar and names the symbol."""
    return lambda symbol, done, total: advance(f"fetch {symbol}", done, total)


def _command_line() -> str:
    return shlex.join(["trm-bt", *sys.argv[1:]])


def _print_summary(summary: Mapping[str, Any], out: Path) -> None:
    console = _console()
    console.print(summary["bars"]["source"])
    console.print(crisis_table(summary["crises"]))
    console.print(strategy_table(summary))
    orders = summary["orders"]
    console.print(
        f"Orders: {orders['submitted']} submitted, {orders['completed']} completed, "
        f"{orders['rejected']} rejected."
    )
    print(out / "index.html")


def _console() -> Console:
    """Return a console; a pipe gets lines wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _show_warning(
    message: Warning | str, category: type[Warning], *where: object, **_: object
) -> None:
    """Print our own warnings as one sentence, and others with their place."""
    place = "" if issubclass(category, BarsWarning) else f"{where[0]}:{where[1]}: "
    print(f"trm-bt: warning: {place}{message}", file=sys.stderr)


def _interrupt(*_: object) -> None:
    """Stop at the first signal, and let no second one disturb the tidying up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _fail(sentence: str, code: int) -> None:
    print(f"trm-bt: {sentence}", file=sys.stderr)
    raise SystemExit(code)
