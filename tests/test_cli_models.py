"""`trm-bt train` and `trm-bt backtest`."""

import json
import shutil

import pandas as pd
import pytest

from tests.command_line import SMALL, invoke, write_folder, write_settings
from trm_bt.report import build
from trm_bt.runfolder.store import read_run


def test_too_few_labels_are_refused(bars_folder, tmp_path):
    arguments = ("train", "--bars", bars_folder, "--out", tmp_path / "model")
    code, _, error = invoke(*arguments)
    assert code == 2
    assert "A model needs 504 labels, the bars give 335" in error
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bars):
    """A checkpoint of the first 300 sessions of a folder, and the folder."""
    place = tmp_path_factory.mktemp("trained")
    folder = write_folder(place / "bars", bars)
    config = write_settings(place / "small.json", SMALL)
    out = place / "models" / "mine"
    code, text, _ = invoke(
        *("train", "--bars", folder, "--config", config, "--end", "2002-02-22"),
        *("--out", out, "--json"),
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


@pytest.fixture
def checkpoint(trained, tmp_path):
    """A copy of that checkpoint to damage."""
    return shutil.copytree(trained, tmp_path / "mine")


@pytest.mark.slow
def test_a_checkpoint_is_backtested_after_its_span(bars_folder, checkpoint, tmp_path):
    out = tmp_path / "backtest"
    arguments = (
        "backtest",
        "--bars",
        bars_folder,
        "--checkpoint",
        checkpoint,
        "--out",
        out,
    )
    code, text, _ = invoke(*arguments, "--json")
    summary = json.loads(text)
    assert code == 0
    assert summary["out_of_sample"]["sessions"] == 115
    assert summary["out_of_sample"]["abstained"] == 0
    assert summary["orders"]["rejected"] == 0
    assert summary["cash"] == "earned nothing: the bars have no cash rate"
    decisions = pd.read_parquet(out / "decisions.parquet")
    assert decisions["session"].min() == pd.Timestamp("2002-02-25")
    assert set(decisions["model"]) == {"mine"}
    assert invoke(*arguments)[0] == 2
    run = read_run(out)
    assert [model.name for model in run.run.models] == ["mine"]
    page = (out / "index.html").read_text()
    assert "Every decision comes from a model whose training data ended" in page
    assert (out / "tearsheets/out_of_sample.html").is_file()
    assert json.loads((out / "now.json").read_text())["session"] == str(
        decisions["session"].max().date()
    )
    build(out, executor=1)  # as `trm-bt report` does
    assert "the folder of a backtest holds no model" in invoke("decide", out)[2]
    small = write_settings(tmp_path / "small.json", SMALL)
    walk = ("walkforward", "--bars", bars_folder, "--config", small, "--out", out)
    code, _, error = invoke(*walk, "--force")
    assert (code, (out / "decisions.parquet").is_file()) == (2, True)
    assert "holds a backtest, which no run replaces" in error

    span = ("--start", "2001-09-04", "--end", "2002-04-30")
    code, _, error = invoke(*arguments, *span, "--allow-in-sample", "--force")
    assert code == 0, error
    page = (out / "index.html").read_text()
    assert "In sample: some decisions come from a model that was trained" in page
    table = pd.read_parquet(out / "decisions.parquet")
    decisions = table[table["run"] == "out_of_sample"].set_index("session")
    assert set(decisions.loc[:"2002-02-22", "model"]) == {"mine (in sample)"}
    assert set(decisions.loc["2002-02-25":, "model"]) == {"mine"}


def test_a_checkpoint_of_another_schema_ends_with_one_sentence(checkpoint, tmp_path):
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
    code, _, error = invoke(*arguments)
    assert code == 2
    assert "feature vix_level observed against proxy" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_checkpoint_with_a_flipped_byte_ends_with_one_sentence(
    bars_folder, checkpoint, tmp_path
):
    path = checkpoint / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "backtest"
    arguments = (
        "backtest",
        "--bars",
        bars_folder,
        "--checkpoint",
        checkpoint,
        "--out",
        out,
    )
    code, _, error = invoke(*arguments)
    assert code == 2
    assert f"{path}: its SHA-256 must be the one in manifest.json" in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
