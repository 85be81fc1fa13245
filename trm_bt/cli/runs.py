"""Whole runs: train and backtest, compare, report, and the settings."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import ValidationError

from trm_bt.cli.options import (
    DeviceOption,
    ForceOption,
    NotNegative,
    OutputOptions,
    Positive,
    RunOptions,
    Seed,
    SeededSettingsOptions,
    SpanOptions,
    WorkerOptions,
    app,
    command_line,
)
from trm_bt.cli.tables import compare_table, order_line, runs_table, summary_parts
from trm_bt.cli.terminal import Terminal
from trm_bt.config import Preset, TRMConfig, WalkForwardConfig, explain
from trm_bt.errors import ConfigError

if TYPE_CHECKING:
    from trm_bt.runfolder.records import RunRequest
    from trm_bt.runs.compare import CompareRequest

_Run = Annotated[Path, Parameter(help="Folder of a finished run.")]


@app.command(name="run")
def run_command(
    inputs: RunOptions = RunOptions(),
    *,
    output: OutputOptions,
    device: DeviceOption = "auto",
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Go from bars to crisis tearsheets: label, train, backtest and report."""
    _run(inputs.request(device), output, workers, terminal)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FoldOptions:
    """When a walk-forward retrains and on what; None for the settings."""

    first_decision: Annotated[str | None, Parameter(name="--from")] = None
    """First session to decide, YYYY-MM-DD."""
    retrain_every: Annotated[Positive | None, Parameter(name="--every")] = None
    """Sessions between trainings."""
    retrain_on: tuple[str, ...] | None = None
    """Date before which to retrain, YYYY-MM-DD; may be repeated."""
    window: Positive | None = None
    """Number of newest labels to train on, by default all."""
    embargo: NotNegative | None = None
    """Additional sessions without labels before a model's first decision."""
    n_seeds: Annotated[Positive | None, Parameter(name="--seeds")] = None
    """Models averaged per fold."""

    def apply(self, settings: TRMConfig) -> TRMConfig:
        """Return the settings with the fold options of the command line."""
        if self.retrain_on and self.retrain_every is not None:
            raise ConfigError(
                "--every and --retrain-on both set when folds begin, got both. "
                "Give one."
            )
        given = {key: value for key, value in asdict(self).items() if value is not None}
        if self.retrain_every is not None:  # takes the place of dates in the settings
            given["retrain_on"] = ()
        folds = settings.walkforward.model_dump() | given
        try:
            changed = WalkForwardConfig.model_validate(folds)
        except ValidationError as error:
            raise ConfigError(explain(WalkForwardConfig, error)) from error
        return settings.model_copy(update={"walkforward": changed})


@app.command(name="walkforward")
def walkforward_command(
    inputs: RunOptions = RunOptions(),
    *,
    output: OutputOptions,
    folds: FoldOptions = FoldOptions(),
    device: DeviceOption = "auto",
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Retrain on a schedule, decide out of sample, backtest and report.

    Run the same command again to resume.
    """
    request = inputs.request(device)
    settings = folds.apply(request.config)
    request = replace(request, config=settings, schedule="calendar")
    _run(request, output, workers, terminal)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ComparisonOptions(SpanOptions):
    """How a run is compared."""

    bars: str | None = None
    """Where the bars of the run are now, if they were moved."""
    trials: Path | None = None
    """Folder of the trials log, by default trials next to the run."""
    earlier_trials: NotNegative = 0
    """Trials made before the log began."""
    draws: Annotated[int, Parameter(validator=Number(gte=100, lte=100_000))] = 2000
    """Resampled histories per test."""
    seed: Seed = 0
    """Seed of the draws."""

    def request(self, run_folder: Path) -> "CompareRequest":
        """Return what is compared, and how."""
        from trm_bt.evaluation.assessment import SignificanceSettings
        from trm_bt.runs.compare import CompareRequest

        settings = SignificanceSettings(
            n_draws=self.draws, seed=self.seed, n_earlier_trials=self.earlier_trials
        )
        span = (self.start, self.end)
        return CompareRequest(run_folder, self.bars, *span, self.trials, settings)


@app.command(name="compare")
def compare_command(
    *run_folders: Annotated[Path, Parameter(help="Folders of finished runs.")],
    comparison: ComparisonOptions = ComparisonOptions(),
    out: Path | None = None,
    force: ForceOption = False,
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Compare a run with benchmarks and test its lead, or put runs side by side.

    Parameters
    ----------
    out : Path, optional
        Folder for the result, by default RUN_FOLDER/comparison, or a folder beside the
        first of several runs.
    """
    if not run_folders:
        raise ConfigError("`compare` needs the folder of a finished run, got none.")
    if len(run_folders) == 1:
        _compare_one(run_folders[0], comparison, out, workers, terminal, force=force)
        return
    if comparison != ComparisonOptions():
        raise ConfigError(
            f"Options for a comparison with benchmarks apply to one run, got "
            f"{len(run_folders)}. Give only --out and --force."
        )
    from trm_bt.runs.side_by_side import PAGE, place_beside, place_runs_beside

    target = out or place_beside(run_folders)
    content = place_runs_beside(run_folders, out=target, force=force)
    differing = [f"{key}: {' | '.join(it)}" for key, it in content.differing.items()]
    terminal.show(
        content.to_dict(),
        runs_table(content),
        *(["Settings that differ, in that order:", *differing] if differing else []),
        path=target / PAGE,
    )


def _compare_one(
    run_folder: Path,
    comparison: ComparisonOptions,
    out: Path | None,
    workers: WorkerOptions,
    terminal: Terminal,
    *,
    force: bool,
) -> None:
    """Compare one run with its benchmarks."""
    from trm_bt.runfolder.records import COMPARISON_PAGE
    from trm_bt.runs.compare import compare, target_of

    with terminal.progress() as progress:
        record = compare(
            comparison.request(run_folder),
            out=out,
            force=force,
            progress=progress,
            executor=workers.workers(1),
        )
    terminal.show(
        record.to_dict(),
        str(record.bars["source"]),
        compare_table(record),
        *[f"Left out: {name} {why}" for name, why in record.left_out.items()],
        *record.verdict,
        path=target_of(run_folder, out) / COMPARISON_PAGE,
    )


@app.command(name="report")
def report_command(
    run_folder: _Run,
    /,
    *,
    crises: Path | None = None,
    quantstats: Literal["measures", "full"] = "measures",
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Rebuild the pages of a finished run.

    Parameters
    ----------
    crises : Path, optional
        JSON or CSV file of your own windows.
    quantstats : {"measures", "full"}
        'full' also links each tearsheet to the unmodified QuantStats page.
    """
    from trm_bt.market.crises import read_crises
    from trm_bt.report import build

    own = read_crises(crises) if crises else ()
    with terminal.progress() as progress:
        build(
            run_folder,
            crises=own,
            executor=workers.workers(2),
            quantstats=quantstats,
            progress=progress,
        )
    page = run_folder / "index.html"
    terminal.show({"page": str(page)}, path=page)


@app.command(name="config")
def config_command(
    given: SeededSettingsOptions = SeededSettingsOptions(),
    *,
    preset: Preset | None = None,
    explain_all: Annotated[bool, Parameter(name="--explain")] = False,
) -> None:
    """Print the settings as JSON, ready to edit and pass as --config.

    Parameters
    ----------
    preset : {"shipped", "seed", "risk"}, optional
        Named settings instead of a file.
    explain_all : bool
        Print what each setting does and its range instead.
    """
    settings = given.settings()
    if preset is not None:
        if given.config is not None:
            raise ConfigError("--config and --preset both choose settings. Give one.")
        settings = TRMConfig.preset(preset).model_copy(update={"seed": settings.seed})
    if not explain_all:
        print(settings.describe())
        return
    from trm_bt.setting_notes import explained

    for note in explained(settings):
        value = "none" if note.value is None else note.value
        print(f"{note.name} = {value}   ({note.allowed})")
        print(fill(note.sentence, initial_indent="    ", subsequent_indent="    "))


def _run(
    request: "RunRequest",
    output: OutputOptions,
    workers: WorkerOptions,
    terminal: Terminal,
) -> None:
    """Make a run, then print its tables and the path of its page."""
    from trm_bt.runs.run import run

    with terminal.progress() as progress:
        summary = run(
            request,
            output.out,
            command=command_line(),
            force=output.force,
            executor=workers.workers(),
            progress=progress,
        )
    parts = *summary_parts(summary), order_line(summary.orders)
    terminal.show(summary, *parts, path=output.out / "index.html")
