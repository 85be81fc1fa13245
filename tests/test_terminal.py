"""The terminal: whole numbers at any width, and one line per stage in a pipe."""

import io
import re

import pytest
from rich.console import Console
from rich.progress import Progress

from tests.command_line import invoke
from tests.comparisons import comparison
from tests.fakes_run import write_fake_run
from tests.test_compare_page import record_of
from trm_bt.cli import _how_to_resume
from trm_bt.cli.models import EpochLines
from trm_bt.cli.tables import (
    compare_table,
    crisis_table,
    runs_table,
    schedule_table,
    strategy_table,
)
from trm_bt.cli.terminal import Stages
from trm_bt.learning.records import EpochRecord, TrainingProgress
from trm_bt.report.runs_page import RunsContent
from trm_bt.runfolder.store import read_run

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_fake_run(folder, start="2008-09-12", end="2010-06-30")
    return read_run(folder)


@pytest.fixture(scope="module")
def compared():
    return record_of(comparison())


def printed(table, width):
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("kind", ["crises", "strategies", "schedules", "compare"])
def test_no_number_is_cut_at_any_width(run, compared, kind, width):
    table = {
        "crises": lambda: crisis_table(run.summary.crises),
        "strategies": lambda: strategy_table(run.summary),
        "schedules": lambda: schedule_table(run.summary),
        "compare": lambda: compare_table(compared),
    }[kind]()
    whole = [cell for column in table.columns for cell in column.cells]
    text = printed(table, width)
    assert ELLIPSIS not in text
    assert all(len(line) <= width for line in text.splitlines())
    shown = text.split()
    left = [cell for column in table.columns for cell in column.cells]
    for cell in left:
        assert not cell or cell.split()[-1] in shown
    if width == 160:
        assert left == whole  # a wide terminal gets all of it


def test_a_narrow_comparison_keeps_what_matters(compared):
    table = compare_table(compared)
    printed(table, 80)
    kept = [str(column.header) for column in table.columns]
    assert kept[:4] == ["strategy", "Sharpe", "lead", "p"]
    assert "drawdown" in kept
    assert "accuracy" not in kept


def test_crises_without_data_share_one_line(run):
    text = printed(crisis_table(run.summary.crises), 120)
    assert sum("no data" in line.lower() for line in text.splitlines()) == 1
    covered = [crisis.name for crisis in run.summary.crises if crisis.covered]
    for crisis in run.summary.crises:
        assert crisis.name in " ".join(text.split())
    rows = [line for line in text.splitlines() if re.search(r"\d+\.\d%", line)]
    assert len(rows) == len(covered)


def test_runs_stand_side_by_side_at_80_columns(run, tmp_path):
    write_fake_run(tmp_path / "other", start="2010-01-04", end="2010-12-30", seed=9)
    content = RunsContent([run, read_run(tmp_path / "other")])
    text = printed(runs_table(content), 80)
    assert ELLIPSIS not in text
    assert "other" in text


def stages(width=80, is_terminal=False):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=is_terminal)
    return Stages(Progress(console=console, disable=True), quiet=False), out


def test_a_pipe_gets_one_line_a_stage():
    told, out = stages()
    for done in range(4):
        told(f"training brexit, epoch {done}", done, 3)
    told("training", 3, 3)
    told("report", 1, 1)
    assert [re.sub(r"[\d.]+ s", "", line) for line in out.getvalue().splitlines()] == [
        "trm-bt: training: done in ",
        "trm-bt: report: done in ",
    ]


def test_a_terminal_gets_no_such_line():
    told, out = stages(is_terminal=True)
    told("report", 1, 1)
    assert out.getvalue() == ""


@pytest.mark.parametrize("width", [80, 140])
def test_lines_of_an_epoch_fit_the_terminal(width):
    told, out = stages(width, is_terminal=True)
    figures = dict.fromkeys(EpochRecord.model_fields, 0.25) | {"epoch": 3}
    epoch = EpochRecord.model_validate(figures | {"n_optimizer_steps": 40})
    EpochLines(told)(TrainingProgress("brexit", 4, 8, 3, 2.0, epoch, 0.5, 1e-4))
    head, line = out.getvalue().splitlines()
    assert max(len(head), len(line)) <= width
    assert "25.0%" in line
    assert "50.0%" in line


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["run", "--out", "x"], "trained models are kept"),
        (["walkforward"], "trained models are kept"),
        (["train", "--out", "x"], "Run it again with --resume"),
        (["train", "--out", "x", "--resume"], "Run the same command again"),
        (["fetch"], "fetched bars are kept"),
        (["report", "x"], "No partial result was left"),
    ],
)
def test_an_interrupt_says_how_to_resume(command, said):
    assert said in _how_to_resume(command)


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "nowhere"),
        ("compare", "nowhere"),
        ("run", "--bars", "nowhere", "--out", "x"),
        ("run", "--config", "nowhere.json", "--out", "x"),
        ("report", "{run}", "--crises", "nowhere.json"),
        ("decide", "nowhere"),
        ("compare",),
        ("compare", "{run}", "{run}"),
    ],
)
def test_no_error_speaks_of_none_or_of_numbers_of_a_system(run, arguments, tmp_path):
    words = [word.format(run=run.path) for word in arguments]
    code, _, error = invoke(*words)
    assert code != 0
    assert "None" not in error
    assert "Errno" not in error
    assert error.count("\n") == 1
