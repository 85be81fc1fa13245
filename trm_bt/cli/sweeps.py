"""Many runs: sweep over settings, and list what a folder holds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cyclopts import Parameter
from rich.console import Console
from rich.live import Live

from trm_bt.cli.options import (
    DeviceOption,
    OutputOptions,
    Positive,
    Seed,
    TrainingOptions,
    WorkerOptions,
    app,
    command_line,
)
from trm_bt.cli.sweep_tables import ranking_table, run_table, state_line, state_table
from trm_bt.cli.terminal import Terminal
from trm_bt.config import Device, SamplerName, SweepUtility
from trm_bt.executors import n_available_cpus

if TYPE_CHECKING:
    from trm_bt.runfolder.records import RunRequest
    from trm_bt.runs.progress import OnState, SweepState
    from trm_bt.runs.sweep import Estimate

_SECONDS_BETWEEN_LINES: Final = 10.0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SweepInputs(TrainingOptions):
    """Which universes, settings and seed a sweep begins with."""

    bars: tuple[str, ...] = ("sample",)
    """'sample', 'yahoo', or a folder of bars; may be repeated, each is a universe."""

    def requests(self, device: Device) -> "tuple[RunRequest, ...]":
        """Return a walk-forward of each universe."""
        given = ({"bars": (bars,)} for bars in self.bars)
        alone = [TrainingOptions(**vars(self) | bars) for bars in given]
        return tuple(replace(one.request(device), schedule="calendar") for one in alone)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What is tried, and how it is ranked."""

    grid: Path
    """JSON: a list of values for each setting by dotted name, such as
    {"labels.horizon": [5, 10]}, or a list of objects of settings."""
    seeds: Positive = 1
    """Seeds per setting."""
    sampler: SamplerName = "grid"
    """All points, a random draw, or what optuna proposes."""
    points: Positive | None = None
    """Points that random and optuna try."""
    sampler_seed: Seed = 0
    """Seed of random and optuna."""
    utility: SweepUtility = "sharpe"
    """What settings are ranked by: the annual Sharpe ratio in excess of cash, or the
    mean minus 1.5 times the variance."""
    dry_run: bool = False
    """Only check the settings, run one fold and estimate the time of all."""


@app.command(name="sweep")
def sweep_command(
    inputs: SweepInputs = SweepInputs(),
    *,
    swept: SweepOptions,
    output: OutputOptions,
    device: DeviceOption = "auto",
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Try settings, seeds and universes, each by a walk-forward, and rank them.

    Run the same command again to resume.
    """
    from trm_bt.runs.grid import Sampler, SweepRequest, read_grid
    from trm_bt.runs.sweep import measure, sweep

    sampler = Sampler(swept.sampler, swept.points, swept.sampler_seed)
    request = SweepRequest(
        inputs.requests(device),
        read_grid(swept.grid),
        sampler,
        swept.seeds,
        swept.utility,
    )
    out = output.out
    if swept.dry_run:
        found = measure(request, out, command=command_line(), force=output.force)
        terminal.show(asdict(found), _estimate(found, workers), path=out)
        return
    with _live(terminal) as on_state:
        judged = sweep(
            request,
            out,
            command=command_line(),
            force=output.force,
            executor=workers.workers(),
            on_state=on_state,
        )
    page = out / "index.html"
    terminal.show(judged.to_dict(), ranking_table(judged), *judged.verdict, path=page)


def _estimate(found: "Estimate", workers: WorkerOptions) -> str:
    """Say how long all folds would take, by the time that one took."""
    one = (
        f"{found.n_trials:,} trials of {found.n_folds:,} different folds; one fold "
        f"took {found.seconds:.1f} s in one process: all would take about"
    )
    seconds, then = found.seconds * found.n_folds, "plus a backtest per trial."
    if workers.scheduler:
        hours = seconds / 3600
        return f"{one} {hours:.1f} hours divided by the number of workers, {then}"
    n_jobs = workers.jobs or n_available_cpus()
    return f"{one} {seconds / n_jobs / 60:.1f} minutes with --jobs {n_jobs}, {then}"


@contextmanager
def _live(terminal: Terminal) -> "Iterator[OnState]":
    """Yield what shows a sweep: a table on a terminal, else a line at intervals."""
    console = Console(stderr=True)
    if terminal.quiet:
        yield id
        return
    if not console.is_terminal:
        yield _Lines()
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield lambda state: live.update(state_table(state))


class _Lines:
    """Prints a line at the start, every ten seconds, and at the end."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, state: "SweepState") -> None:
        """Print how far a sweep is, if that is due."""
        if time.monotonic() >= self._due or state.trials.n_left == 0:
            self._due = time.monotonic() + _SECONDS_BETWEEN_LINES
            print(f"trm-bt: {state_line(state)}", file=sys.stderr)


@app.command(name="runs")
def runs_command(folder: Path, /, *, terminal: Terminal = Terminal()) -> None:
    """List the runs, sweeps and checkpoints in a folder.

    Parameters
    ----------
    folder : Path
        Folder to list.
    """
    from trm_bt.runs.listing import list_runs

    entries = list_runs(folder)
    terminal.show([asdict(entry) for entry in entries], run_table(entries))
