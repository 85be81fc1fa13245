"""A few of the fuzz script's damages, each way of them: none passes in silence."""

import subprocess
import sys

import pytest

FUZZ = "tests.evidence.fuzz_bars"


@pytest.mark.slow
def test_no_damage_passes_in_silence(market_dir):
    arguments = [market_dir, "--sets", "75", "--clean", "8", "--seed", "7"]
    done = subprocess.run(
        [sys.executable, "-m", FUZZ, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, whole, total = done.stdout.splitlines()
    assert whole.split()[-3:-2] == ["0"], "a sound window was refused"
    assert "75 sets damaged in " in total
    assert "silent" not in total
