"""What the pages of docs show: commands that exist, and code that runs."""

import ast
import re
import shlex
import subprocess
import sys

import pytest

import trm_bt
from tests.doc_pages import DOCS, NOTEBOOKS, PAGES, ROOT, blocks
from trm_bt.cli import app

SHELL = [block for page in PAGES for block in blocks(page, "sh")]
PYTHON = {page: blocks(page, "python") for page in PAGES if blocks(page, "python")}
ELSEWHERE = {DOCS / "scale.md", DOCS / "hub.md"}
"""Pages whose blocks need a cluster or a hub: these are parsed only."""
STAGE = """
import backtrader as bt
from trm_bt import add_bars, load_bars
cerebro = bt.Cerebro()
add_bars(cerebro, load_bars("my_bars", start="2006-06-01", inputs="core"))
"""
BEFORE = {
    "drop_in.md": STAGE,
    "labels.md": STAGE,
    "restarts.md": STAGE,
    "audit.md": """
import pandas as pd
known_on, validation_start = pd.bdate_range("2015-01-01", periods=9), "2015-06-01"
validation_start = pd.Timestamp(validation_start)
""",
}
"""What stands before the blocks of a page: the script that they are added to."""
DESK = """
from pathlib import Path
from trm_bt import *
bars = load_bars("sample", start="2003-01-02", end="2009-12-31")
Path("my_bars").mkdir()
for symbol in ("SPY", "TLT", "VIX"):
    role = {"SPY": "equity", "TLT": "bond", "VIX": "volatility"}[symbol]
    getattr(bars, role).to_csv(f"my_bars/{symbol}.csv")
config = TRMConfig(
    model=ModelConfig(hidden_dim=16, max_supervision_steps=1),
    training=TrainingConfig(epochs=1, n_supervision_steps=1),
)
span = {"start": "2003-01-02", "end": "2006-12-29"}
train_checkpoint(RunRequest("my_bars", config, **span), Path("models/mine"))
year = {"start": "2007-09-04", "end": "2010-06-30"}
run(RunRequest("sample", config, **year), "runs/sample", executor=1)
window = '[{"name": "june", "start": "2010-06-01", "end": "2010-06-11"}]'
Path("mine.json").write_text(window)
"""


def commands(text: str) -> list[list[str]]:
    """Return the calls of `trm-bt` in a block of shell, as lists of arguments."""
    joined = text.replace("\\\n", " ")
    parts = [part for line in joined.splitlines() for part in line.split("&&")]
    calls = [shlex.split(part, comments=True) for part in parts]
    return [call[1:] for call in calls if call[:1] == ["trm-bt"]]


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_of_a_page_are_understood(block):
    for call in commands(block.text):
        if call in (["-h"], ["--install-completion"]):
            continue
        command, _, unknown, _ = app.parse_known_args(call)
        assert not unknown, call
        assert command.__module__.startswith("trm_bt.cli"), call


def test_options_in_the_text_of_pages_exist():
    known = {"-h", "-v", "-vv", "-q", "--help", "--version", "--install-completion"}
    for name in app:
        if not name.startswith("-"):
            collection = app[name].assemble_argument_collection()
            known |= {option for argument in collection for option in argument.names}
    for page in PAGES:
        for call in re.findall(r"`trm-bt ([^`]+)`", page.read_text(encoding="utf-8")):
            told = [word for word in call.split() if word.startswith("-")]
            assert not {word.partition("=")[0] for word in told} - known, (page, call)
            first = call.split()[0]
            assert first.startswith("-") or first == "COMMAND" or first in app, call


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.stem)
def test_blocks_of_python_parse_and_import_what_is_there(page):
    for block in PYTHON[page]:
        for node in ast.walk(ast.parse(block.text, str(block))):
            if isinstance(node, ast.ImportFrom) and node.module == "trm_bt":
                assert {alias.name for alias in node.names} <= set(trm_bt.__all__)


@pytest.mark.slow
def test_blocks_of_python_run_page_by_page(tmp_path):
    pages = [page for page in PYTHON if page.parent == DOCS and page not in ELSEWHERE]
    script = ["def read(text, page):"]
    script += ["    exec(compile(text, page, 'exec'), {'__name__': '__main__'})"]
    script.append(f"read({DESK!r}, 'desk')")
    for page in pages:
        text = BEFORE.get(page.name, "")
        text += "".join(block.text for block in PYTHON[page])
        script.append(f"read({text!r}, {page.stem!r})")
    assert len(pages) >= 9
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_there_are_seven_notebooks_and_none_keeps_output():
    assert len(NOTEBOOKS) == 7
    listed = (DOCS / "tutorials" / "index.md").read_text(encoding="utf-8")
    for notebook in NOTEBOOKS:
        assert f"\n{notebook.stem}\n" in listed
        assert not blocks(notebook, "python"), notebook


def test_the_index_for_language_models_lists_every_page():
    told = (DOCS / "llms.txt").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)]+)\.html\)", told))
    pages = {
        str(page.relative_to(DOCS).with_suffix(""))
        for page in DOCS.rglob("*.md")
        if page.parent == DOCS or page.name == "index.md"
    }
    assert pages - linked == {"index"}
    assert linked <= pages


def test_pictures_of_pages_are_there_and_used():
    used = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(
            r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")
        )
    }
    drawn = {path for path in DOCS.iterdir() if path.suffix in {".png", ".svg"}}
    assert used >= drawn
    assert all(path.is_file() for path in used), ROOT
