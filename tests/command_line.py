"""The command line as tests call it, and folders of bars to call it on."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from trm_bt.cli import main

SMALL = {
    "model": {"hidden_dim": 16, "num_latent_steps": 1, "num_recursion_cycles": 1},
    "training": {"epochs": 1, "n_supervision_steps": 1, "min_labels": 50},
}
"""Settings with which a model is trained in no time."""


def invoke(*arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    out, error = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["trm-bt", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(error),
    ):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code or 0
    return code, out.getvalue(), error.getvalue()


def call(_monkeypatch, _capsys, *arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    return invoke(*arguments)


def in_a_process(*arguments, **options):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", "from trm_bt.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def write_folder(folder, bars):
    """Write bars as a folder of CSV files, and return it."""
    folder.mkdir()
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": bars.volatility}
    for symbol, frame in frames.items():
        frame.rename_axis("date").to_csv(folder / f"{symbol}.csv")
    return folder


def write_settings(path, settings):
    """Write settings as JSON, and return the path."""
    path.write_text(json.dumps(settings))
    return path


def without_stages(error: str) -> list[str]:
    """Return the lines of the error stream that do not say that a stage is done."""
    stage = re.compile(r"trm-bt: \S+: done in [\d.]+ s")
    return [line for line in error.splitlines() if not stage.fullmatch(line)]
