"""The examples run as a user would run them, in an empty folder, offline."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import describe_examples

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
EXAMPLES = [path for path in SCRIPTS if path.stem != "small_model"]
PRINTED = {
    "quickstart": ("allocator  ", "60/40  ", "rejected 0\n"),
    "drop_in": ("before  ", "after   ", "  SPY\n", "  SPY, TLT\n"),
    "own_allocations": ("shelter  ", "all_in  ", "5 of the five", "rejected  0"),
    "own_rules": ("sessions are the same: 100%", "50% held", "changed "),
    "optimise": ("band  confidence", "  chosen\n", "of 9 there."),
    "live_like": ("the same bits    100% of ", "no bond: held", "rejected 0"),
    "custom_universe": ("GROWTH and SHORT: on another pair", "rejected  0", "GROWTH  "),
    "cerebro_plot": ("picture          plot.png", "rejected 0"),
}
ZEROS = ("changed 0 of", "100% of 0 ")
"""What an example prints whose point is lost."""
ALONE = {"optimise", "cerebro_plot"}
"""One forks and one chooses a backend; the others share the imports of a process."""
TOGETHER = """
import contextlib, io, json, pathlib, runpy, sys
printed = {}
for script in map(pathlib.Path, sys.argv[1:]):
    sys.argv = [str(script)]
    sys.path[0] = str(script.parent)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str(script), run_name="__main__")
    printed[script.stem] = out.getvalue()
    assert not list(pathlib.Path().iterdir()), script
print(json.dumps(printed))
"""


def test_every_example_is_short():
    for script in SCRIPTS:
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 80, script
    assert {path.stem for path in EXAMPLES} == set(PRINTED)


def stdout_of(folder, *arguments):
    """Run Python in an empty folder with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return done.stdout


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What the examples print that run one after another in one process."""
    scripts = [path for path in EXAMPLES if path.stem not in ALONE]
    out = stdout_of(tmp_path_factory.mktemp("empty"), "-c", TOGETHER, *scripts)
    return json.loads(out)


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(script, together, tmp_path):
    is_alone = script.stem in ALONE
    printed = stdout_of(tmp_path, script) if is_alone else together[script.stem]
    assert "not SPY/TLT/VIX quotes" in printed
    for text in PRINTED[script.stem]:
        assert text in printed
    assert not [text for text in ZEROS if text in printed]
    assert printed.splitlines()[-1].startswith("Shown: ")


def test_the_page_describes_the_examples_as_they_are():
    assert sorted(describe_examples.NAMES) == sorted(path.stem for path in EXAMPLES)
    text = describe_examples.PAGE.read_text(encoding="utf-8")
    outputs = describe_examples.outputs_in(text)

    assert text == describe_examples.page(outputs), "run scripts/describe_examples.py"
    for name, output in outputs.items():
        assert output.splitlines()[-1].startswith("Shown: "), name
        assert all(part in output for part in PRINTED[name] if "plot.png" not in part)


def test_pictures_on_the_page_are_small():
    for path in describe_examples.PICTURES.values():
        assert path.stat().st_size < 60_000, path
