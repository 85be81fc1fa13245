"""The examples run as a user would run them, in an empty folder, offline."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
EXAMPLES = [path for path in SCRIPTS if path.stem != "small_model"]
PRINTED = {
    "quickstart": ("orders rejected  0",),
    "drop_in": ("before ", "after "),
    "own_allocations": (
        "chooses from     shelter, careful, even, bold, all_in",
        "kept in schema   True",
        "on the page      True",
        "orders rejected  0",
    ),
    "own_rules": ("TRMAllocator ", "Cautious "),
    "optimise": ("band  confidence", "  0.10         0.9"),
    "live_like": ("bit for bit      100%", "held through     ['2008", "rejected  0"),
    "custom_universe": ("GROWTH and SHORT: on another pair", "orders rejected  0"),
    "cerebro_plot": ("picture ",),
}


def test_every_example_is_short():
    for script in SCRIPTS:
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 80, script
    assert {path.stem for path in EXAMPLES} == set(PRINTED)


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(script, tmp_path):
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
    for text in PRINTED[script.stem]:
        assert text in done.stdout
