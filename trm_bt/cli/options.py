"""What the sub-commands have in common: the application, options, and requests."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trm_bt.config import Preset, TRMConfig

if TYPE_CHECKING:
    from trm_bt.runfolder.records import RunRequest

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


def request_of(
    bars: str,
    config: TRMConfig,
    start: str | None,
    end: str | None,
    observed: list[str] | None,
    device: Device = Device.auto,
) -> "RunRequest":
    """Return what a run is asked for by these options."""
    from trm_bt.runfolder.records import RunRequest

    return RunRequest(bars, config, start, end, tuple(observed or ()), device.value)


def command_line() -> str:
    """Return the command line as a shell would take it."""
    return shlex.join(["trm-bt", *sys.argv[1:]])


def settings_of(
    path: Path | None, seed: int | None, preset: Preset = "shipped"
) -> TRMConfig:
    """Return the settings of a file, else of the preset, with the seed if given."""
    settings = TRMConfig.preset(preset) if path is None else TRMConfig.load(path)
    return settings if seed is None else settings.model_copy(update={"seed": seed})
