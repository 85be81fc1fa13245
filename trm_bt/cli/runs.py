"""Whole runs: train and backtest, compare, report, and the settings."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import ValidationError

from trm_bt.cli.options import (
    DeviceOption,
    ForceOption,
    NotNegative,
    OutputOptions,
    Positive,
    Seed,
    SeededSettingsOptions,
    SpanOptions,
    TrainingOptions,
    WorkerOptions,
    app,
    command_line,
)
from trm_bt.cli.tables import (
    compare_table,
    crisis_table,
    order_line,
    schedule_table,
    strategy_table,
)
from trm_bt.cli.terminal import Terminal
from trm_bt.config import Preset, TRMConfig, WalkForwardConfig, explain
from trm_bt.errors import ConfigError

if TYPE_CHECKING:
    from trm_bt.runfolder.records import RunRequest

_Run = Annotated[Path, Parameter(help="Folder of a finished run.")]


@app.command(name="run")
def run_command(
    inputs: TrainingOptions = TrainingOptions(),
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
    """When a walk-forward retrains and on what; None as the settings say."""

    first_decision: Annotated[str | None, Parameter(name="--from")] = None
    """First session to decide, YYYY-MM-DD."""
    retrain_every: Annotated[Positive | None, Parameter(name="--every")] = None
    """Sessions between trainings."""
    retrain_on: tuple[str, ...] | None = None
    """A date to retrain before, YYYY-MM-DD; may be repeated."""
    window: Positive | None = None
    """Train on this many of the newest labels, by default on all."""
    embargo: NotNegative | None = None
    """Further sessions that give no label before a model's first decision."""
    n_seeds: Annotated[Positive | None, Parameter(name="--seeds")] = None
    """Models averaged in a fold."""

    def apply(self, settings: TRMConfig) -> TRMConfig:
        """Return the settings with what the command line says about the folds."""
        if self.retrain_on and self.retrain_every is not None:
            raise ConfigError(
                "--every and --retrain-on both say when folds begin, got both. "
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
    inputs: TrainingOptions = TrainingOptions(),
    *,
    output: OutputOptions,
    folds: FoldOptions = FoldOptions(),
    device: DeviceOption = "auto",
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Retrain on a schedule, decide out of sample, backtest and report.

    The same command again resumes.
    """
    request = inputs.request(device)
    settings = folds.apply(request.config)
    request = replace(request, config=settings, schedule="calendar")
    _run(request, output, workers, terminal)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ComparisonOptions(SpanOptions):
    """What a run is compared on."""

    bars: str | None = None
    """Where the bars of the run are now, if they have moved."""
    trials: Path | None = None
    """Folder of the trials log, by default trials beside the run."""
    earlier_trials: NotNegative = 0
    """Trials made before the log began."""
    draws: Annotated[int, Parameter(validator=Number(gte=100, lte=100_000))] = 2000
    """Histories drawn for each test."""
    seed: Seed = 0
    """Seed of the draws."""


@app.command(name="compare")
def compare_command(
    run_folder: _Run,
    /,
    *,
    comparison: ComparisonOptions = ComparisonOptions(),
    out: Path | None = None,
    force: ForceOption = False,
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Compare a run with benchmarks, and test its lead.

    Parameters
    ----------
    out : Path, optional
        Folder of the result, by default RUN_FOLDER/comparison.
    """
    from trm_bt.evaluation.assessment import SignificanceSettings
    from trm_bt.runs.compare import PAGE, CompareRequest, compare, target_of

    settings = SignificanceSettings(
        n_draws=comparison.draws,
        seed=comparison.seed,
        n_earlier_trials=comparison.earlier_trials,
    )
    request = CompareRequest(
        run_folder,
        comparison.bars,
        comparison.start,
        comparison.end,
        comparison.trials,
        settings,
    )
    with terminal.progress() as progress:
        record = compare(
            request,
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
        path=target_of(run_folder, out) / PAGE,
    )


@app.command(name="report")
def report_command(
    run_folder: _Run,
    /,
    *,
    crises: Path | None = None,
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Build the pages of a finished run again.

    Parameters
    ----------
    crises : Path, optional
        JSON or CSV of windows of your own.
    """
    from trm_bt.market.crises import read_crises
    from trm_bt.report import build

    own = read_crises(crises) if crises else ()
    with terminal.progress() as progress:
        build(run_folder, crises=own, executor=workers.workers(2), progress=progress)
    page = run_folder / "index.html"
    terminal.show({"page": str(page)}, path=page)


@app.command(name="config")
def config_command(
    given: SeededSettingsOptions = SeededSettingsOptions(),
    *,
    preset: Preset | None = None,
) -> None:
    """Print the settings as JSON, ready to edit and pass as --config.

    Parameters
    ----------
    preset : {"shipped", "seed", "risk"}, optional
        Settings of a name instead of a file.
    """
    settings = given.settings()
    if preset is not None:
        if given.config is not None:
            raise ConfigError("--config and --preset both choose settings. Give one.")
        settings = TRMConfig.preset(preset).model_copy(update={"seed": settings.seed})
    print(settings.describe())


def _run(
    request: "RunRequest",
    output: OutputOptions,
    workers: WorkerOptions,
    terminal: Terminal,
) -> None:
    """Make a run; print its two tables and where its page is."""
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
    terminal.show(
        summary,
        summary.bars.source,
        crisis_table(summary.crises),
        strategy_table(summary),
        schedule_table(summary),
        order_line(summary.orders),
        path=output.out / "index.html",
    )
