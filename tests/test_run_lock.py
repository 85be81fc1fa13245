"""Two walk-forwards in one folder, as processes: the second ends, the first goes on."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.command_line import call, write_folder
from tests.conftest import make_bars

MAIN = "from trm_bt.cli import main; main()"
LONG = {
    "model": {"hidden_dim": 16},
    "training": {"min_labels": 80, "epochs": 1000, "patience": 1000},
}


@pytest.fixture
def arguments(tmp_path):
    """A walk-forward that is still at work when the second one comes."""
    bars = write_folder(tmp_path / "bars", make_bars(300))
    (tmp_path / "long.json").write_text(json.dumps(LONG))
    return [
        *("walkforward", "--bars", str(bars), "--config", str(tmp_path / "long.json")),
        *("--out", str(tmp_path / "runs" / "walk"), "--jobs", "1"),
    ]


@pytest.mark.slow
def test_a_second_walk_forward_ends_at_once_and_a_killed_one_is_no_obstacle(
    monkeypatch, capsys, arguments, tmp_path
):
    out = tmp_path / "runs" / "walk"
    command = [sys.executable, "-c", MAIN, *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        try:
            while first.poll() is None and not (out / "run.json").is_file():
                time.sleep(0.01)
            there = [path.name for path in out.iterdir()]
            code, _, error = call(monkeypatch, capsys, *arguments)
            assert first.poll() is None
        finally:
            first.send_signal(signal.SIGKILL)

    assert code == 2
    assert error == (
        f"trm-bt: {out}: another process is writing it. Wait until it ends, or "
        "choose another --out.\n"
    )
    assert [path.name for path in out.iterdir()] == there

    code, _, error = call(monkeypatch, capsys, *arguments, "--seed", "7")
    assert code == 2
    assert "holds a run with other settings" in error
