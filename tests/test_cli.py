"""The command line as a whole: options, exit codes, one sentence, nothing half-made."""

import inspect
import json
import logging
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest

from tests.command_line import in_a_process, invoke
from trm_bt.cli.options import app


def test_the_sample_says_what_it_is_derived_from(tmp_path):
    code, out, _ = invoke("sample", "--out", tmp_path / "sample")
    words = " ".join(out.split())
    assert code == 0
    assert (
        "derived from S&P 500 and treasury-yield history; not SPY/TLT/VIX quotes"
        in words
    )
    assert (tmp_path / "sample" / "equity.csv").is_file()


LEVELS = ("debug", "info", "warning")


def remove(path):
    path.unlink()


def edit(row, column, value):
    def change(path):
        frame = pd.read_csv(path)
        frame.loc[row, column] = value
        frame.to_csv(path, index=False)

    return change


def drop_low(path):
    pd.read_csv(path).drop(columns="low").to_csv(path, index=False)


def unsort(path):
    frame = pd.read_csv(path)
    pd.concat([frame.iloc[1:], frame.iloc[:1]]).to_csv(path, index=False)


def like_a_fund(path):
    frame = pd.read_csv(path)
    frame[["open", "high", "low", "close"]] *= 50
    frame.to_csv(path, index=False)


BAD = {
    "missing file": (
        "TLT.csv",
        remove,
        "TLT.csv: is needed and missing; there is SPY, VIX",
    ),
    "missing column": ("SPY.csv", drop_low, "column 'low' is missing"),
    "unsorted": ("SPY.csv", unsort, "must be in order, 2001-01-02 comes after"),
    "duplicate": ("SPY.csv", edit(9, "date", "2001-01-12"), "2001-01-12 is repeated"),
    "nan": ("TLT.csv", edit(9, "close", np.nan), "got nan; first 2001-01-16"),
    "negative": ("TLT.csv", edit(9, "close", -1), "got -1.0; first 2001-01-16"),
    "high below low": ("SPY.csv", edit(9, "high", 1), "first 2001-01-16"),
    "VIXY": ("VIX.csv", like_a_fund, "Give the index itself, not a fund such as VIXY"),
}


@pytest.mark.parametrize("command", ["run", "features", "labels", "train"])
@pytest.mark.parametrize("case", BAD)
def test_bad_bars_end_with_one_sentence(bars_folder, tmp_path, command, case):
    name, change, message = BAD[case]
    change(bars_folder / name)
    before = sorted(tmp_path.rglob("*"))
    code, out, error = invoke(command, "--bars", bars_folder, "--out", tmp_path / "out")
    assert code == 2
    assert out == ""
    assert error.count("\n") == 1
    assert message in error
    assert str(bars_folder) in error
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = ("run", "--bars", tmp_path / "empty", "--out", tmp_path / "out")
    code, _, error = invoke(*arguments)
    assert code == 2
    assert "SPY.csv: is needed and missing; there is nothing" in error


def test_a_folder_that_is_no_run_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for command in ("run", "labels", "train", "sample"):
        arguments = (command, "--out", tmp_path, "--force")
        code, _, error = invoke(*arguments)
        assert code == 2
        assert "Choose another --out" in error
        assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_fresh_process_ends_with_a_sentence_and_no_traceback(tmp_path):
    done = in_a_process("run", "--bars", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("trm-bt: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "--outt", "x"), "Did you mean --out instead of --outt?"),
        (("audit", "--cut", "5"), "Unknown option: --cut. Did you mean --cuts?"),
        (("run",), 'Command "run" parameter --out requires an argument.'),
        (("rum",), 'Unknown command "rum". Did you mean "run"?'),
        (("run", "--out", "x", "--seed", "-1"), 'Invalid value "-1" for --seed.'),
        (("run", "--out", "x", "--device", "tpu"), 'Invalid value "tpu" for --device.'),
        (("compare", "x", "--draws", "99"), "Must be >= 100."),
        (("report",), 'Command "report" parameter RUN_FOLDER requires an argument.'),
    ],
)
def test_bad_usage_ends_with_one_sentence(arguments, sentence):
    code, out, error = invoke(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith("trm-bt: ")
    assert sentence in error
    assert error.count("\n") == 1


def test_a_bug_has_its_own_exit_code_and_a_traceback_if_asked(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr("trm_bt.feeds.validate.validate_source", fail)
    code, out, error = invoke("validate")
    assert (code, out) == (70, "")
    assert "This is a bug of trm-bt: ZeroDivisionError: by 0." in error
    assert error.count("\n") == 1
    code, _, error = invoke("validate", "-vv")
    assert code == 70
    assert "Traceback (most recent call last)" in error


def test_every_option_has_a_help_and_shared_ones_the_same():
    other_meaning = {"--bars", "--crises", "--out", "--seed", "--seeds", "--checkpoint"}
    helps = {}
    for name in app:
        if not name.startswith("-"):
            options = app[name].assemble_argument_collection(parse_docstring=True)
            for option in options:
                if option.name != "*":
                    helps.setdefault(option.name, set()).add(option.parameter.help)
    assert {name for name, texts in helps.items() if len(texts) > 1} == other_meaning
    assert all(text for texts in helps.values() for text in texts)


def test_no_command_takes_more_than_six_arguments():
    for name in app:
        function = app[name].default_command
        assert function is None or len(inspect.signature(function).parameters) <= 6


def test_the_last_of_a_repeated_option_counts():
    _, out, _ = invoke("config", "--seed", 5, "--seed", 6)
    assert json.loads(out)["seed"] == 6


@pytest.mark.parametrize("number", ["1.5", "0x10", "1_000", "1e3", "\u0663"])
def test_what_is_no_whole_number_is_not_rounded_to_one(number):
    code, out, error = invoke("config", "--seed", number)
    assert (code, out) == (2, "")
    assert "--seed: must be a whole number, got" in error


@pytest.mark.parametrize(
    "tokens",
    [
        ("validate", "--bars", "nosuch", "--bars", "sample"),
        ("audit", "--features", "my:leak", "--features", "my:sound"),
    ],
)
def test_what_is_to_be_checked_is_given_once(tokens):
    code, out, error = invoke(*tokens)
    assert (code, out) == (2, "")
    assert f"Parameter {tokens[1]} specified multiple times" in error


@pytest.mark.parametrize(
    "option", [("--inputs", "members"), ("--device", "cpu"), ("--bars", "b")]
)
def test_an_audit_of_functions_ignores_no_option(option):
    tokens = ("audit", "--bars", "sample", "--features", "my:own")
    code, _, error = invoke(*tokens, *option)
    assert code == 2
    assert f"`{option[0]}" in error
    assert "is for this set-up, not your own functions" in error


@pytest.mark.parametrize("columns", ["0", "1", "wide"])
def test_a_width_of_no_column_ends_nothing(columns):
    surroundings = {**os.environ, "COLUMNS": columns}
    done = in_a_process("labels", "--help", env=surroundings, timeout=60)
    assert done.returncode == 0
    assert "--allocations" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes the stream")
def test_a_closed_stream_is_no_bug():
    command = '"$0" -c "from trm_bt.cli import main; main()" config >&-'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed(flag):
    code, out, error = invoke(flag)
    assert (code, error) == (0, "")
    assert "walkforward" in out
    code, out, error = invoke("run", flag)
    assert (code, error) == (0, "")
    assert "overrides the one in --config" in out


def test_the_version_is_printed():
    code, out, _ = invoke("--version")
    assert (code, out) == (0, f"trm-bt {version('trm-bt')}\n")


@pytest.mark.slow
def test_bash_completes_commands_and_options(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    environment = os.environ | {"HOME": str(tmp_path)}
    done = in_a_process("--install-completion", "--shell", "bash", env=environment)
    assert done.returncode == 0
    installed = tmp_path / ".local/share/bash-completion/completions/trm-bt"
    code, script, _ = invoke("--show-completion", "bash")
    assert code == 0
    assert script.strip() == installed.read_text().strip()
    assert str(installed.parent) in (tmp_path / ".bashrc").read_text()

    for words, found in (("walk", "walkforward"), ("run --obs", "--observed")):
        typed = ["trm-bt", *words.split()]
        ask = f"COMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1}; _trm_bt"
        answer = subprocess.run(
            [bash, "-c", f"source {installed}; {ask}; echo ${{COMPREPLY[@]}}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.split() == [found]


def test_quiet_prints_the_path_alone(bars_folder, tmp_path):
    out = tmp_path / "labels"
    arguments = ("labels", "--bars", bars_folder, "--out", out)
    assert invoke(*arguments, "-q") == (0, f"{out}\n", "")
    assert invoke("validate", "-q", "--bars", bars_folder) == (0, "", "")


def test_verbose_logs_what_is_done(monkeypatch):
    def validate(*_, **__):
        for level in LEVELS:
            getattr(logging.getLogger("trm_bt.feeds"), level)("a %s", "record")
        return []

    monkeypatch.setattr("trm_bt.feeds.validate.validate_source", validate)
    lines = [f"trm-bt: {level}: a record" for level in LEVELS]
    for flags, n_left_out in (("-q", 3), ("", 2), ("-v", 1), ("-vv", 0), ("-v -v", 0)):
        code, _, error = invoke("validate", *flags.split())
        assert code == 0
        assert error.splitlines() == lines[n_left_out:]


def test_a_closed_pipe_is_no_error():
    command = [sys.executable, "-c", "from trm_bt.cli import main; main()", "config"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
