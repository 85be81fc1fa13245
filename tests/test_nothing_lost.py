"""No command deletes what is not its own, and none begins that could not end."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import SMALL, in_a_process, invoke, write_folder, write_settings
from tests.conftest import make_bars
from trm_bt.cli.options import app
from trm_bt.evaluation.trials import LOG_NAME
from trm_bt.files import staged_folder


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("bars") / "bars", make_bars(300))


@pytest.fixture
def train(bars, tmp_path):
    """The arguments of a training that takes no time."""
    settings = write_settings(tmp_path / "small.json", SMALL)
    options = ("--bars", bars, "--config", settings)
    return ("train", *options, "--out", tmp_path / "mine")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("options", [(), ("--force",), ("--resume",)])
def test_a_folder_of_the_users_beside_a_training_stays(train, tmp_path, options):
    unfinished = tmp_path / "mine.unfinished"
    unfinished.mkdir()
    (unfinished / "thesis.txt").write_text("years of work")
    code, out, error = invoke(*train, *options)
    assert (code, out) == (2, "")
    assert "mine.unfinished/thesis.txt is not" in error
    assert contents(unfinished) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("options", [(), ("--force",), ("--resume",)])
@pytest.mark.parametrize("name", ["mine", "mine.unfinished"])
def test_what_a_link_leads_to_stays(train, tmp_path, name, options):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("years of work")
    (tmp_path / name).symlink_to(elsewhere)
    code, _, error = invoke(*train, *options)
    assert code == 2
    assert "must not be a symbolic link" in error
    assert contents(elsewhere) == {"thesis.txt": b"years of work"}
    assert (tmp_path / name).is_symlink()


@pytest.mark.slow
def test_a_training_leaves_its_checkpoint_and_nothing_else(train, tmp_path):
    before = {*tmp_path.iterdir()}
    assert invoke(*train)[0] == 0
    assert {*tmp_path.iterdir()} - before == {tmp_path / "mine"}
    (tmp_path / "mine" / "notes.md").write_text("mine")
    code, _, error = invoke(*train, "--force")
    assert code == 2
    assert "notes.md" in error
    (tmp_path / "mine" / "notes.md").unlink()
    assert invoke(*train, "--force")[0] == 0


@pytest.mark.slow
def test_the_second_of_two_trainings_ends_at_once(train, bars, tmp_path):
    long = {**SMALL, "training": {"min_labels": 50, "epochs": 10_000, "patience": 9999}}
    settings = write_settings(tmp_path / "long.json", long)
    main = "from trm_bt.cli import main; main()"
    command = [sys.executable, "-c", main, "train", "--bars", str(bars)]
    command += ["--config", str(settings), "--out", str(tmp_path / "mine")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        while first.poll() is None and not (tmp_path / "mine.unfinished").exists():
            time.sleep(0.01)
        code, _, error = invoke(*train, "--force")
        assert first.poll() is None
        first.kill()
    assert code == 2
    assert "another process is writing it" in error


STAGES = ("labels", "features", "sample")


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_force_does_not_delete_what_is_foreign(bars, tmp_path, stage):
    out = tmp_path / "result"
    given = () if stage == "sample" else ("--bars", bars)
    assert invoke(stage, *given, "--out", out)[0] == 0
    assert invoke(stage, *given, "--out", out, "--force")[0] == 0
    (out / "notes.md").write_text("mine")
    before = contents(out)
    code, _, error = invoke(stage, *given, "--out", out, "--force")
    assert code == 2
    assert "notes.md is not" in error
    assert contents(out) == before
    marker = {"labels": "labels.csv", "features": "features.json"}
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / marker.get(stage, "equity.csv")).write_text("mine")
    assert invoke(stage, *given, "--out", foreign, "--force")[0] == 2
    assert len(contents(foreign)) == 1


OUTS = {
    "the root": "/",
    "a loop": "loop/run",
    "a file": "small.json",
    "below a file": "small.json/run",
    "bytes that are no text": b"r\xff",
    "too long a name": "x" * 250,
}


@pytest.mark.parametrize("command", ["run", "walkforward", "train", "labels"])
@pytest.mark.parametrize("case", OUTS)
def test_a_bad_target_is_found_before_the_bars_are_read(
    monkeypatch, train, tmp_path, command, case
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")

    def fail(*_, **__):
        raise AssertionError("the bars were read")

    monkeypatch.setattr("trm_bt.runs.request.load_bars", fail)
    code, out, error = invoke(command, *train[1:-1], os.fsdecode(OUTS[case]))
    assert (code, out) == (2, "")
    assert error.count("\n") == 1
    assert error.isascii()


def damaged_trial(log):
    (log / "x.parquet").write_bytes(b"PAR1")


def pipe_for_a_trial(log):
    os.mkfifo(log / "x.parquet")


def log_of_old(log):
    log.rmdir()
    log.write_text("{}\n")


def linked_log(log):
    log.rmdir()
    log.symlink_to(log.parent)


@pytest.mark.parametrize(
    "damage", [damaged_trial, pipe_for_a_trial, log_of_old, linked_log]
)
@pytest.mark.parametrize("command", ["run", "walkforward"])
def test_a_run_that_could_not_be_counted_does_not_begin(
    monkeypatch, train, tmp_path, command, damage
):
    def fail(*_, **__):
        raise AssertionError("the bars were read")

    monkeypatch.setattr("trm_bt.runs.request.load_bars", fail)
    (tmp_path / LOG_NAME).mkdir()
    damage(tmp_path / LOG_NAME)
    code, _, error = invoke(command, *train[1:])
    assert code == 2
    assert str(tmp_path / LOG_NAME) in error
    assert not (tmp_path / "mine").exists()


def test_a_bug_says_where_its_traceback_is_and_what_to_do(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise ZeroDivisionError("by 0\n" + "x" * 500)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("trm_bt.feeds.validate.validate_source", fail)
    code, out, error = invoke("validate")
    assert (code, out) == (70, "")
    assert error.count("\n") == 1
    (path,) = tmp_path.iterdir()
    assert f"Please open an issue and attach its traceback, {path}." in error
    assert "Traceback (most recent call last)" in path.read_text()
    assert "ZeroDivisionError: by 0" in path.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "--bars", "\x1b[31mred\nline"),
        ("validate", "--start", "x" * 10_000),
        ("report", "\x1b[2J" + "y" * 1000),
        ("run", "--" + "z" * 10_000),
        ("run", "--out", "x", "--seed", "9" * 10_000),
        ("config", "--seed=" + "x" * 500),
        ("sample", "--force=1" + "0" * 400),
        ("audit", "--cuts", "9" * 10_000),
    ],
)
def test_a_value_is_quoted_short_and_in_one_line(arguments):
    code, _, error = invoke(*arguments)
    assert code in {1, 2}
    assert error.count("\n") == 1
    assert error[:-1].isprintable()
    assert max(map(len, error.split())) <= 90


@pytest.mark.slow
def test_a_locale_without_utf_8_is_no_bug(tmp_path):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = in_a_process("sample", env=os.environ | locale, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = in_a_process("validate", "--bars", "grün", env=os.environ | locale)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_page_says_of_every_command_what_it_may_delete():
    page = (Path(__file__).parents[1] / "docs" / "files.md").read_text()
    rows = page.partition("| command |")[2].partition("\n\n")[0].splitlines()
    named = [
        name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])
    ]
    assert sorted(named) == sorted(name for name in app if not name.startswith("-"))


@pytest.mark.parametrize(
    ("command", "marker", "other"),
    [
        ("sample", "equity.csv", "run.json"),
        ("labels", "labels.csv", "run.json"),
        ("backtest", "equity.parquet", "checkpoints/model/checkpoint.json"),
    ],
)
def test_force_does_not_replace_a_result_of_another_kind(
    tmp_path, command, marker, other
):
    out = tmp_path / "run"
    with staged_folder(out) as folder:
        for name in (marker, other):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("hours of training")
    before = contents(out)
    options = ("--checkpoint", out) if command == "backtest" else ()
    code, _, error = invoke(command, *options, "--out", out, "--force")
    assert code == 2
    assert "or a result of the same kind, but holds" in error
    assert contents(out) == before


@pytest.mark.parametrize("command", ["sample", "labels", "train"])
def test_nothing_is_written_into_a_checkpoint(tmp_path, command):
    with staged_folder(tmp_path / "model") as folder:
        (folder / "checkpoint.json").write_text("{}")
    before = contents(tmp_path)
    out = tmp_path / "model/inner/out"
    code, _, error = invoke(command, "--out", out, "--end", "1991-12-31")
    assert code == 2
    assert f"must not be in the checkpoint {tmp_path / 'model'}" in error
    assert contents(tmp_path) == before


def test_a_home_folder_that_the_shell_left_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    code, _, _ = invoke("sample", "--out=~/sample", "--end", "1990-06-30")
    assert code == 0
    assert (tmp_path / "home/sample/equity.csv").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
