"""The examples run as a user would run them, in an empty folder, offline."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs(script, tmp_path):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 80
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not SPY/TLT/VIX quotes" in done.stdout
    assert not list(tmp_path.iterdir())
    if script.stem == "quickstart":
        assert "orders rejected  0" in done.stdout
    else:
        assert [line.split()[0] for line in done.stdout.splitlines()][:2] == [
            "before",
            "after",
        ]
