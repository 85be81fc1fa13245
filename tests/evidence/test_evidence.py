"""The long checks, each a script that says what it does and fails by its exit code.

Run them by hand before a release: ``pytest -m evidence`` takes about an hour.
"""

import subprocess
import sys

import pytest

CHECKS = {
    "audit_evidence": ("sample", "2012-01-03"),
    "fuzz_bars": ("{market}",),
    "fuzz_checkpoint": ("sample",),
    "fuzz_inputs": (),
    "inject_faults": (),
    "kill_checkpoint": ("sample",),
    "kill_cluster": (),
    "kill_commands": (),
    "kill_fetch": ("{market}",),
    "kill_training": ("sample",),
    "null_markets": ("--learner", "logistic", "--histories", "100"),
    "order_grid": ("sample",),
}


@pytest.mark.evidence
@pytest.mark.usefixtures("all_processors")
@pytest.mark.parametrize("script", CHECKS)
def test_evidence_holds(script, market_dir):
    arguments = [word.format(market=market_dir) for word in CHECKS[script]]
    command = [sys.executable, "-m", f"tests.evidence.{script}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
