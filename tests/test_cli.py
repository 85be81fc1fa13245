"""The command line: exit codes, one sentence, and nothing left half-written."""

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

from tests.conftest import make_bars
from trm_bt.cli import main
from trm_bt.cli.options import app
from trm_bt.config import TRMConfig
from trm_bt.market.features import FEATURE_NAMES
from trm_bt.market.label_table import load_labels


def call(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["trm-bt", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stopped:
        code = stopped.code or 0
    streams = capsys.readouterr()
    return code, streams.out, streams.err


@pytest.fixture
def folder(tmp_path, bars):
    """A sound folder of random bars."""
    return write_folder(tmp_path / "bars", bars)


@pytest.fixture
def longer_folder(tmp_path):
    """Random bars from 2001 to 2003: two crises, and half a year after them."""
    return write_folder(tmp_path / "longer", make_bars(600))


def write_folder(inputs, bars):
    inputs.mkdir()
    for symbol, frame in (
        ("SPY", bars.equity),
        ("TLT", bars.bond),
        ("VIX", bars.volatility),
    ):
        frame.rename_axis("date").to_csv(inputs / f"{symbol}.csv")
    return inputs


def test_config_prints_settings_that_load_back(monkeypatch, capsys, tmp_path):
    code, out, _ = call(monkeypatch, capsys, "config", "--seed", 5)
    assert code == 0
    assert json.loads(out)["model"]["effective_depth"] == 42
    path = tmp_path / "config.json"
    path.write_text(out)
    assert TRMConfig.load(path) == TRMConfig(seed=5)


def test_config_prints_a_preset(monkeypatch, capsys, tmp_path):
    path = tmp_path / "seed.json"
    code, out, _ = call(monkeypatch, capsys, "config", "--preset", "seed", "--seed", 5)
    assert code == 0
    path.write_text(out)
    assert TRMConfig.load(path) == TRMConfig.preset("seed").model_copy(
        update={"seed": 5}
    )
    code, _, err = call(
        monkeypatch, capsys, "config", "--preset", "seed", "--config", path
    )
    assert code == 2
    assert "--config and --preset both choose settings. Give one." in err


def test_features_are_written_in_every_form(monkeypatch, capsys, folder, tmp_path):
    out = tmp_path / "new" / "features"
    arguments = ("features", "--bars", folder, "--out", out)
    code, text, _ = call(monkeypatch, capsys, *arguments, "--json")
    assert code == 0
    assert list(out.parent.iterdir()) == [out]
    assert {path.name for path in out.iterdir()} == {
        "features.parquet",
        "features.csv",
        "features.json",
        "features.png",
    }
    parquet = pd.read_parquet(out / "features.parquet")
    csv = pd.read_csv(
        out / "features.csv", index_col="session", float_precision="round_trip"
    )
    assert tuple(parquet.columns) == FEATURE_NAMES
    np.testing.assert_array_equal(parquet, csv)
    assert [str(s.date()) for s in parquet.index] == csv.index.tolist()
    facts = json.loads((out / "features.json").read_text())
    assert facts == json.loads(text)
    assert facts["rows"] == len(parquet) == 341
    assert facts["schema"] == parquet.attrs["feature_schema"]
    assert facts["status"]["gini_coefficient"] == "proxy"
    assert set(facts["bars"]["roles"]) == {"equity", "bond", "volatility"}


def test_features_replace_only_features(monkeypatch, capsys, folder, tmp_path):
    out = tmp_path / "features"
    arguments = ("features", "--bars", folder, "--out", out)
    assert call(monkeypatch, capsys, *arguments)[0] == 0
    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "is there already" in error
    assert call(monkeypatch, capsys, *arguments, "--force")[0] == 0
    code, _, error = call(monkeypatch, capsys, "features", "--out", folder, "--force")
    assert code == 2
    assert "one that holds features.json" in error
    for name in ("f.csv", "f.parquet"):
        code, _, error = call(monkeypatch, capsys, "features", "--out", tmp_path / name)
        assert code == 2
        assert "must be a folder, which gets features.parquet" in error
        assert f"Choose --out {tmp_path / 'f'}." in error


def test_labels_are_written_with_a_summary(monkeypatch, capsys, folder, tmp_path):
    out = tmp_path / "labels"
    arguments = ("labels", "--bars", folder, "--out", out)
    code, text, _ = call(monkeypatch, capsys, *arguments)
    assert code == 0
    assert "aggressive_growth" in text
    summary = json.loads((out / "labels_summary.json").read_text())
    labels = pd.read_parquet(out / "labels.parquet")
    assert summary["n_labels"] == len(labels) == len(pd.read_csv(out / "labels.csv"))
    wins = {name: row["n_wins"] for name, row in summary["by_class"].items()}
    assert wins["ultra_defensive"] == (labels["winner"] == 0).sum()
    assert summary["features"]["market_breadth"] == "proxy"

    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "is there already" in error
    assert call(monkeypatch, capsys, *arguments, "--force")[0] == 0


def test_labels_of_the_crises_alone_are_some_of_all(
    monkeypatch, capsys, longer_folder, tmp_path
):
    config = tmp_path / "sharpe.json"
    config.write_text('{"labels": {"objective": "sharpe"}}')
    source = ("labels", "--bars", longer_folder, "--config", config)
    assert call(monkeypatch, capsys, *source, "--out", tmp_path / "all")[0] == 0
    arguments = (*source, "--crises", "--out", tmp_path / "crises")
    code, text, _ = call(monkeypatch, capsys, *arguments, "--json")
    assert code == 0
    summary = json.loads(text)
    whole = load_labels(tmp_path / "all")
    inside = load_labels(tmp_path / "crises" / "labels.csv")
    pd.testing.assert_frame_equal(
        inside, whole[whole["crises"] != ""], check_freq=False
    )
    assert 0 < len(inside) < len(whole)
    assert summary["n_labels"] == len(inside)
    assert summary["objective"] == "sharpe"
    counted = {name: row["n_labels"] for name, row in summary["by_crisis"].items()}
    assert counted["dot_com_crash"] == len(inside)
    assert counted["september_11"] == 5
    assert counted["brexit"] == 0


def test_bars_without_a_crisis_have_no_labels_of_crises(
    monkeypatch, capsys, longer_folder, tmp_path
):
    out = tmp_path / "none"
    code, _, error = call(
        monkeypatch,
        capsys,
        *("labels", "--bars", longer_folder, "--start", "2002-10-10"),
        *("--crises", "--out", out),
    )
    assert code == 2
    assert "inside at least one crisis, and give none: they run from" in error
    assert not out.exists()


def test_the_sample_says_what_it_is_derived_from(monkeypatch, capsys, tmp_path):
    code, out, _ = call(monkeypatch, capsys, "sample", "--out", tmp_path / "sample")
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
    pd.read_csv(path).iloc[::-1].to_csv(path, index=False)


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
    "unsorted": ("SPY.csv", unsort, "must be in order, 2002-08-07 comes after"),
    "duplicate": ("SPY.csv", edit(9, "date", "2001-01-12"), "2001-01-12 is repeated"),
    "nan": ("TLT.csv", edit(9, "close", np.nan), "got nan; first 2001-01-16"),
    "negative": ("TLT.csv", edit(9, "close", -1), "got -1.0; first 2001-01-16"),
    "high below low": ("SPY.csv", edit(9, "high", 1), "first 2001-01-16"),
    "VIXY": ("VIX.csv", like_a_fund, "Give the index itself, not a fund such as VIXY"),
}


@pytest.mark.parametrize("command", ["run", "features", "labels", "train"])
@pytest.mark.parametrize("case", BAD)
def test_bad_bars_end_with_one_sentence(
    monkeypatch, capsys, folder, tmp_path, command, case
):
    name, change, message = BAD[case]
    change(folder / name)
    before = sorted(tmp_path.rglob("*"))
    code, out, error = call(
        monkeypatch, capsys, command, "--bars", folder, "--out", tmp_path / "out"
    )
    assert code == 2
    assert out == ""
    assert error.count("\n") == 1
    assert message in error
    assert str(folder) in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bars", "none"), "none: must be a folder"),
        (("--config", "none.json"), "none.json: cannot be read"),
        (("--start", "2017-01-01"), "Labels need 66 sessions of bars, got 60"),
        (
            ("--start", "2012-08-01", "--end", "2015-01-30"),
            "cover at least one crisis",
        ),
        (("--observed", "put_call"), "has no observed 'put_call'"),
        (("--observed", "members"), "has no observed 'members'"),
        (("--start", "2015-02-30"), "`start` must be a date as YYYY-MM-DD, got '2015-"),
        (("--bars", ".", "--end", "soon"), "`end` must be a date as YYYY-MM-DD"),
    ],
)
def test_bad_requests_end_with_one_sentence(
    monkeypatch, capsys, tmp_path, arguments, message
):
    code, _, error = call(
        monkeypatch, capsys, "run", *arguments, "--out", tmp_path / "out"
    )
    assert code == 2
    assert message in error
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_refused(monkeypatch, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = ("run", "--bars", tmp_path / "empty", "--out", tmp_path / "out")
    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "SPY.csv: is needed and missing; there is nothing" in error


def test_too_few_labels_are_refused(monkeypatch, capsys, folder, tmp_path):
    arguments = ("train", "--bars", folder, "--out", tmp_path / "model")
    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "A model needs 504 labels, the bars give 335" in error
    assert not (tmp_path / "model").exists()


@pytest.fixture
def checkpoint(monkeypatch, capsys, folder, tmp_path):
    """A small checkpoint of the folder's first 300 sessions."""
    settings = {
        "model": {"hidden_dim": 16},
        "training": {"epochs": 1, "min_labels": 100},
    }
    (tmp_path / "small.json").write_text(json.dumps(settings))
    out = tmp_path / "models" / "mine"
    arguments = ("train", "--bars", folder, "--config", tmp_path / "small.json")
    code, text, _ = call(
        monkeypatch, capsys, *arguments, "--end", "2002-02-22", "--out", out, "--json"
    )
    assert code == 0
    assert json.loads(text)["trained_until"] == "2002-02-22"
    assert [path.name for path in out.parent.iterdir()] == ["mine"]
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors",
        "checkpoint.json",
        "manifest.json",
        "MODEL_CARD.md",
        "history.json",
        "training.png",
    }
    return out


def test_a_checkpoint_is_backtested_after_its_span(
    monkeypatch, capsys, folder, checkpoint, tmp_path
):
    out = tmp_path / "backtest"
    arguments = ("backtest", "--bars", folder, "--checkpoint", checkpoint, "--out", out)
    code, text, _ = call(monkeypatch, capsys, *arguments, "--json")
    summary = json.loads(text)
    assert code == 0
    assert summary["out_of_sample"]["sessions"] == 115
    assert summary["out_of_sample"]["abstained"] == 0
    assert summary["orders"]["rejected"] == 0
    assert summary["cash"] == "earned nothing: the bars have no cash rate"
    decisions = pd.read_parquet(out / "decisions.parquet")
    assert decisions["session"].min() == pd.Timestamp("2002-02-25")
    assert set(decisions["model"]) == {"mine"}
    assert call(monkeypatch, capsys, *arguments)[0] == 2

    code, _, _ = call(monkeypatch, capsys, *arguments, "--allow-in-sample", "--force")
    decisions = pd.read_parquet(out / "decisions.parquet").set_index("session")
    assert code == 0
    assert set(decisions.loc[:"2002-02-22", "model"]) == {"mine (in sample)"}
    assert set(decisions.loc["2002-02-25":, "model"]) == {"mine"}


def test_a_checkpoint_of_another_schema_ends_with_one_sentence(
    monkeypatch, capsys, checkpoint, tmp_path
):
    out = tmp_path / "backtest"
    arguments = (
        "backtest",
        "--bars",
        "sample",
        "--checkpoint",
        checkpoint,
        "--out",
        out,
    )
    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "feature vix_level observed against proxy" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_checkpoint_with_a_flipped_byte_ends_with_one_sentence(
    monkeypatch, capsys, folder, checkpoint, tmp_path
):
    path = checkpoint / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "backtest"
    arguments = ("backtest", "--bars", folder, "--checkpoint", checkpoint, "--out", out)
    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert f"{path}: its SHA-256 must be the one in manifest.json" in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_no_run_is_never_replaced(monkeypatch, capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for command in ("run", "labels", "train", "sample"):
        arguments = (command, "--out", tmp_path, "--force")
        code, _, error = call(monkeypatch, capsys, *arguments)
        assert code == 2
        assert "Choose another --out" in error
        assert (tmp_path / "thesis.txt").read_text() == "mine"


def in_a_process(*arguments, **options):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", "from trm_bt.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


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
def test_bad_usage_ends_with_one_sentence(monkeypatch, capsys, arguments, sentence):
    code, out, error = call(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert error.startswith("trm-bt: ")
    assert sentence in error
    assert error.count("\n") == 1


def test_a_bug_has_its_own_exit_code_and_a_traceback_if_asked(monkeypatch, capsys):
    def fail(*_, **__):
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr("trm_bt.feeds.validate.validate_source", fail)
    code, out, error = call(monkeypatch, capsys, "validate")
    assert (code, out) == (70, "")
    assert "please report it: ZeroDivisionError: by 0. Add -vv" in error
    assert error.count("\n") == 1
    code, _, error = call(monkeypatch, capsys, "validate", "-vv")
    assert code == 70
    assert "Traceback (most recent call last)" in error


def test_every_option_has_a_help_and_shared_ones_the_same():
    other_meaning = {"--bars", "--crises", "--jobs", "--out", "--seed", "--checkpoint"}
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


def test_the_last_of_a_repeated_option_counts(monkeypatch, capsys):
    _, out, _ = call(monkeypatch, capsys, "config", "--seed", 5, "--seed", 6)
    assert json.loads(out)["seed"] == 6


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed(monkeypatch, capsys, flag):
    code, out, error = call(monkeypatch, capsys, flag)
    assert (code, error) == (0, "")
    assert "walkforward" in out
    code, out, error = call(monkeypatch, capsys, "run", flag)
    assert (code, error) == (0, "")
    assert "overrides the one in --config" in out


def test_the_version_is_printed(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "--version")
    assert (code, out) == (0, f"trm-bt {version('trm-bt')}\n")


def test_bash_completes_commands_and_options(monkeypatch, capsys, tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    environment = os.environ | {"HOME": str(tmp_path)}
    done = in_a_process("--install-completion", "--shell", "bash", env=environment)
    assert done.returncode == 0
    installed = tmp_path / ".local/share/bash-completion/completions/trm-bt"
    code, script, _ = call(monkeypatch, capsys, "--show-completion", "bash")
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


def test_quiet_prints_the_path_alone(monkeypatch, capsys, folder, tmp_path):
    out = tmp_path / "labels"
    arguments = ("labels", "--bars", folder, "--out", out)
    assert call(monkeypatch, capsys, *arguments, "-q") == (0, f"{out}\n", "")
    assert call(monkeypatch, capsys, "validate", "-q", "--bars", folder) == (0, "", "")


def test_verbose_logs_what_is_done(monkeypatch, capsys):
    def validate(*_, **__):
        for level in LEVELS:
            getattr(logging.getLogger("trm_bt.feeds"), level)("a %s", "record")
        return []

    monkeypatch.setattr("trm_bt.feeds.validate.validate_source", validate)
    lines = [f"trm-bt: {level}: a record" for level in LEVELS]
    for flags, n_left_out in (("-q", 3), ("", 2), ("-v", 1), ("-vv", 0), ("-v -v", 0)):
        code, out, error = call(monkeypatch, capsys, "validate", *flags.split())
        assert (code, out) == (0, "")
        assert error.splitlines() == lines[n_left_out:]


def test_a_closed_pipe_is_no_error():
    command = [sys.executable, "-c", "from trm_bt.cli import main; main()", "config"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_members_listed_but_absent_are_named(monkeypatch, capsys, folder, tmp_path):
    (folder / "members.txt").write_text("AAA\n")
    arguments = ("features", "--bars", folder, "--out", tmp_path / "f")
    code, _, error = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "AAA.csv: is needed and missing" in error
    make_bars(400).equity.to_csv(folder / "AAA.csv")
    assert call(monkeypatch, capsys, *arguments)[0] == 0
