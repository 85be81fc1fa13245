"""The application, and the options that several commands share, each declared once.

A class of options is flattened into the signature of every command that takes it. The
text below a field is its help.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter, Token
from cyclopts.validators import Number

from trm_bt.config import CrisisSet, Device, TRMConfig
from trm_bt.executors import ExecutorName, Workers
from trm_bt.fields import MAX_SEED
from trm_bt.text import shown

if TYPE_CHECKING:
    from trm_bt.quality.findings import Judgement
    from trm_bt.runfolder.records import RunRequest


def _shown(default: object) -> str | None:
    """Return a default as help shows it, None for a flag."""
    shown = " ".join(default) if isinstance(default, tuple) else str(default)
    return shown if default else None


app = App(
    name="trm-bt",
    help="Train a Tiny Recursive Model on market bars and judge it out of sample.",
    version=lambda: f"trm-bt {version('trm-bt')}",
    help_flags=("--help", "-h"),
    default_parameter=Parameter(negative=(), show_default=_shown, allow_repeating=True),
)
app.register_install_completion_command(help="Install completion for your shell.")


@app.command(name="--show-completion")
def show_completion(
    shell: Literal["bash", "zsh", "fish", "powershell"] | None = None,
) -> None:
    """Print the completion script of a shell, by default yours."""
    print(app.generate_completion(shell=shell))


def whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Return a whole number; 1.5 is none, and is not rounded to one."""
    text = tokens[0].value
    if not re.fullmatch("[+-]?[0-9]+", text, re.ASCII):
        raise ValueError(f"must be a whole number, got {shown(text)}")
    return int(text)


def _between(least: int, most: int) -> Parameter:
    return Parameter(converter=whole_number, validator=Number(gte=least, lte=most))


NotNegative = Annotated[int, _between(0, 1_000_000)]
Positive = Annotated[int, _between(1, 1_000_000)]
Seed = Annotated[int, _between(0, MAX_SEED)]
Once = Parameter(allow_repeating=False)
"""For what a second value would hide, such as bars that are to be checked."""
DeviceOption = Annotated[
    Device,
    Parameter(
        name="--device",
        help="Device on which models decide; where a command trains, cuda also trains.",
    ),
]
ForceOption = Annotated[
    bool, Parameter(name="--force", help="Replace the result of another run.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SpanOptions:
    """Which sessions."""

    start: str | None = None
    """First date, YYYY-MM-DD."""
    end: str | None = None
    """Last date, YYYY-MM-DD."""


@dataclass(frozen=True, kw_only=True)
class BarsOptions(SpanOptions):
    """Which bars."""

    bars: Annotated[str, Once] = "sample"
    """'sample', 'yahoo', or a folder of bars."""
    accept: tuple[str, ...] = ()
    """Override a rule of `trm-bt validate`, as RULE or RULE:SYMBOL; may be repeated."""
    strict: bool = False
    """Also refuse bars with warnings, unless --accept overrides the rule."""

    def judgement(self) -> "Judgement":
        """Return which findings refuse bars."""
        from trm_bt.quality.rules import judge_by

        return judge_by(self.accept, is_strict=self.strict)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """Which settings."""

    config: Path | None = None
    """Settings as JSON; see `trm-bt config`."""
    allocations: Path | None = None
    """Your own allocations instead of the eight: JSON with the shares of equity and
    bond by name; the rest is cash."""

    def settings(self) -> TRMConfig:
        """Return the settings of the files, else the defaults."""
        found = TRMConfig() if self.config is None else TRMConfig.load(self.config)
        if self.allocations is None:
            return found
        from trm_bt.market.allocations import read_allocations

        table = {"allocations": read_allocations(self.allocations)}
        return found.model_copy(
            update={"labels": found.labels.model_copy(update=table)}
        )


@dataclass(frozen=True, kw_only=True)
class SeededSettingsOptions(SettingsOptions):
    """Which settings and seed."""

    seed: Seed | None = None
    """Seed; overrides the one in --config."""

    def settings(self) -> TRMConfig:
        """Return the settings, with the seed if one is given."""
        settings = super().settings()
        if self.seed is None:
            return settings
        return settings.model_copy(update={"seed": self.seed})


@dataclass(frozen=True, kw_only=True)
class InputOptions(SettingsOptions, BarsOptions):
    """Which bars and settings."""

    observed: tuple[str, ...] = ()
    """Require an observed input (members, put_call), which shortens the span; may be
    repeated."""

    def request(self, device: Device = "auto") -> "RunRequest":
        """Return the request that these options make."""
        from trm_bt.runfolder.records import RunRequest

        given: str | tuple[str, ...] = self.bars  # several, where models are trained
        first, *pooled = [given] if isinstance(given, str) else given
        return RunRequest(
            first,
            self.settings(),
            self.start,
            self.end,
            self.observed,
            device,
            accept=self.accept,
            strict=self.strict,
            pooled=tuple(pooled),
        )


@dataclass(frozen=True, kw_only=True)
class CrisesOptions(InputOptions):
    """Which bars, settings and crises."""

    crises: CrisisSet = "twelve"
    """Crises that get their own page: the twelve, or also seven from 1962 to 1990."""

    def request(self, device: Device = "auto") -> "RunRequest":
        """Return the request that these options make."""
        return replace(super().request(device), crises=self.crises)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(SeededSettingsOptions, InputOptions):
    """Which bars, settings and seed a model is trained with."""

    bars: tuple[str, ...] = ("sample",)  # type: ignore[assignment] # several here
    """'sample', 'yahoo', or a folder of bars; may be repeated: models are trained on
    all, and only the first are decided."""
    inputs: tuple[str, ...] = ()
    """Inputs of a model: 'core' is SPY, TLT and VIX with proxies for the rest, 'all'
    every input that the bars have; or members, put_call or symbols by name; may be
    repeated. By default core, and all on the sample."""

    def request(self, device: Device = "auto") -> "RunRequest":
        """Return the request that these options make."""
        request = replace(super().request(device), inputs=self.inputs)
        if device != "cuda":
            return request
        training = request.config.training.model_copy(update={"device": device})
        config = request.config.model_copy(update={"training": training})
        return replace(request, config=config)


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainingOptions, CrisesOptions):
    """Which bars and settings a run is of, and which crises it shows."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Which processes do the work."""

    executor: ExecutorName = "local"
    """Processes on this machine, or a Dask cluster."""
    jobs: Positive | None = None
    """Tasks run at a time on this machine, by default one per processor, and fewer for
    compare, audit and report."""
    scheduler: str | None = None
    """Dask scheduler, as tcp://host:port; by default a cluster on this machine."""
    dashboard: str | None = None
    """Dashboard address of a cluster on this machine, as 127.0.0.1:8787."""

    def workers(self, n_local: int | None = None) -> Workers:
        """Return which processes run the tasks, by default `n_local`."""
        n_jobs = n_local if self.executor == "local" else None
        n_jobs = self.jobs or n_jobs
        return Workers(self.executor, n_jobs, self.scheduler, self.dashboard)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the result goes."""

    out: Path
    """Folder for the result."""
    force: ForceOption = False


def command_line() -> str:
    """Return the command line as a shell would take it."""
    return shlex.join(["trm-bt", *sys.argv[1:]])
