"""Signals: one sentence, an exit code, and neither processes nor files left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROC = Path("/proc")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PROC / "self" / "stat").exists(), reason="watches processes in /proc"
    ),
]

MAIN = "from trm_bt.cli import main; main()"
ARGUMENTS = ("--start", "2012-01-01", "--jobs", "2")


def members(session: int) -> list[int]:
    """Return the living processes of a session, its leader included."""
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                after_name = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(after_name[3]) == session and after_name[0] != "Z":
                    found.append(int(folder.name))
    return found


def trainings(session: int) -> list[int]:
    """Return the training processes of a session, known by how they were started."""
    found = []
    for member in members(session):
        with contextlib.suppress(OSError):
            if b"spawn_main" in (PROC / str(member) / "cmdline").read_bytes():
                found.append(member)
    return found


def wait_until(is_done: Callable[[], bool], seconds: float) -> bool:
    """Tell whether something came true within some seconds."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def cpu_seconds(process: int) -> float:
    """Return the processor time of a process; more than a moment's is training."""
    after_name = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def run(tmp_path):
    """A run that has started its training processes, in a session of its own."""
    out = tmp_path / "runs" / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "run", *ARGUMENTS, "--out", out],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert wait_until(lambda: len(trainings(process.pid)) >= 2, 60)
        assert (out / "run.json").is_file()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def wait_for_trainings_at_work(session: int) -> None:
    """Wait until the training processes have done more than import."""
    assert wait_until(
        lambda: all(cpu_seconds(child) > 4 for child in trainings(session)), 60
    )


@pytest.mark.parametrize(
    ("send", "number", "is_at_work", "code"),
    [
        pytest.param(os.killpg, signal.SIGINT, False, 130, id="ctrl-c"),
        pytest.param(os.kill, signal.SIGINT, True, 130, id="interrupt-the-parent"),
        pytest.param(os.kill, signal.SIGTERM, False, 1, id="terminate-the-parent"),
    ],
)
def test_an_interrupted_run_leaves_one_sentence(
    run, tmp_path, send, number, is_at_work, code
):
    if is_at_work:
        wait_for_trainings_at_work(run.pid)

    send(run.pid, number)
    _, errors = run.communicate(timeout=20)

    assert errors == (
        "trm-bt: Interrupted. Run the same command again: trained models are kept.\n"
    )
    assert run.returncode == code
    assert wait_until(lambda: not members(run.pid), 5)
    left = tmp_path / "runs" / "out"  # the same command resumes there
    assert {path.name for path in left.parent.iterdir()} == {"out"}
    assert not json.loads((left / "run.json").read_text())["finished"]


def test_trainings_end_with_a_killed_parent(run):
    os.kill(run.pid, signal.SIGKILL)

    assert wait_until(lambda: not members(run.pid), 5)
