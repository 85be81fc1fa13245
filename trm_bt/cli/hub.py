"""Checkpoints as folders for model hubs, and back."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trm_bt.cli.options import OutputOptions, app
from trm_bt.cli.tables import model_table
from trm_bt.cli.terminal import Terminal


@app.command
def export(
    checkpoint: Path,
    *,
    output: OutputOptions,
    layout: Annotated[Literal["hub"], Parameter(name="--format")] = "hub",
    terminal: Terminal = Terminal(),
) -> None:
    """Write a checkpoint as a folder for a model hub; nothing is uploaded.

    Parameters
    ----------
    checkpoint : Path
        A checkpoint. If a folder holds several models, export each.
    layout : {"hub"}
        A folder with model.safetensors, config.json and README.md.
    """
    from trm_bt.runs.hub import README, export_checkpoint

    record = export_checkpoint(checkpoint, output.out, force=output.force)
    terminal.show(record, model_table(record), path=output.out / README)


@app.command(name="import")
def import_command(
    folder: Path, *, output: OutputOptions, terminal: Terminal = Terminal()
) -> None:
    """Check a folder that `trm-bt export` wrote, and make it a checkpoint again.

    Parameters
    ----------
    folder : Path
        The exported folder.
    """
    from trm_bt.runs.hub import import_checkpoint

    record = import_checkpoint(folder, output.out, force=output.force)
    terminal.show(record, model_table(record), path=output.out)
