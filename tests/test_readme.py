"""What the README shows runs, and what it links to is there."""

import re
import shlex
from pathlib import Path

import pytest

from tests.command_line import SMALL
from trm_bt.cli.options import app
from trm_bt.config import TRMConfig
from trm_bt.market.allocations import ALLOCATIONS
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.train import train_checkpoint

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [block for language, block in BLOCKS if language == "python"]
SHELL = [
    line.partition("#")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
]
COMMANDS = [line for line in SHELL if line.startswith("trm-bt ")]


@pytest.fixture(scope="module")
def after_make_run(tmp_path_factory):
    """A folder where `runs/sample/checkpoints` holds a model, small and of old data."""
    folder = tmp_path_factory.mktemp("clone")
    request = RunRequest(
        "sample", TRMConfig.model_validate(SMALL), start="2006-01-03", end="2007-12-31"
    )
    train_checkpoint(request, folder / "runs" / "sample" / "checkpoints" / "before")
    return folder


def test_there_are_blocks_of_both_languages():
    assert PYTHON
    assert len(COMMANDS) > 4


@pytest.mark.parametrize("block", PYTHON)
def test_a_python_block_runs(block, after_make_run, monkeypatch, capsys):
    monkeypatch.chdir(after_make_run)
    exec(compile(block, "README.md", "exec"), {})
    assert "2017-03-2" in capsys.readouterr().out
    assert "<h1>Tearsheet</h1>" in Path("tearsheet.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_line_parses(line):
    app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)


def test_targets_of_make_exist():
    targets = [line.split()[1] for line in SHELL if line.startswith("make ")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == ["run", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_lead_to_files():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    local = [link for link in links if not link.startswith("https://")]
    assert len(local) > 20
    for link in local:
        assert (ROOT / link.partition("#")[0]).exists(), link


def test_the_table_of_allocations_is_that_of_the_code():
    rows = re.findall(r"^\| (\w+) \| (\d+)% \| (\d+)% \| (\d+)% \|$", TEXT, re.M)
    shown = {name: tuple(int(w) / 100 for w in weights) for name, *weights in rows}
    assert shown == dict(ALLOCATIONS)
