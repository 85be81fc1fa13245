"""`trm-bt features` and `trm-bt labels`: what they write, replace and refuse."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.command_line import invoke, write_folder
from tests.conftest import make_bars
from trm_bt.market.features import FEATURE_NAMES
from trm_bt.market.label_table import load_labels


@pytest.fixture(scope="module")
def longer_folder(tmp_path_factory):
    """Random bars from 2001 to 2003: two crises, and half a year after them."""
    return write_folder(tmp_path_factory.mktemp("bars") / "longer", make_bars(600))


@pytest.fixture
def no_picture(monkeypatch):
    """Draw no picture of the features, which takes longer than all else."""
    monkeypatch.setattr("trm_bt.report.feature_picture", lambda *_: None)


@pytest.mark.slow
def test_features_are_written_in_every_form(bars_folder, tmp_path):
    out = tmp_path / "new" / "features"
    arguments = ("features", "--bars", bars_folder, "--out", out)
    code, text, _ = invoke(*arguments, "--json")
    assert code == 0
    assert list(out.parent.iterdir()) == [out]
    assert {path.name for path in out.iterdir()} == {
        "features.parquet",
        "features.csv",
        "features.json",
        "features.png",
        "manifest.json",
    }
    parquet = pd.read_parquet(out / "features.parquet")
    csv = pd.read_csv(out / "features.csv", index_col="session", engine="pyarrow")
    assert tuple(parquet.columns) == FEATURE_NAMES
    np.testing.assert_array_equal(parquet, csv)
    assert [str(s.date()) for s in parquet.index] == [str(s) for s in csv.index]
    facts = json.loads((out / "features.json").read_text())
    assert facts == json.loads(text)
    assert facts["rows"] == len(parquet) == 341
    assert facts["schema"] == parquet.attrs["feature_schema"]
    assert facts["status"]["gini_coefficient"] == "proxy"
    assert set(facts["bars"]["roles"]) == {"equity", "bond", "volatility"}


@pytest.mark.usefixtures("no_picture")
def test_features_replace_only_features(bars_folder, tmp_path):
    out = tmp_path / "features"
    arguments = ("features", "--bars", bars_folder, "--out", out)
    assert invoke(*arguments)[0] == 0
    code, _, error = invoke(*arguments)
    assert code == 2
    assert "already exists" in error
    assert invoke(*arguments, "--force")[0] == 0
    code, _, error = invoke("features", "--out", bars_folder, "--force")
    assert code == 2
    assert "SPY.csv is not" in error
    for name in ("f.csv", "f.parquet"):
        code, _, error = invoke("features", "--out", tmp_path / name)
        assert code == 2
        assert "must be a folder, for features.parquet" in error
        assert f"Choose --out {tmp_path / 'f'}." in error


@pytest.mark.usefixtures("no_picture")
def test_members_listed_but_absent_are_named(bars_folder, tmp_path):
    (bars_folder / "members.txt").write_text("AAA\n")
    arguments = ("features", "--bars", bars_folder, "--out", tmp_path / "f")
    code, _, error = invoke(*arguments)
    assert code == 2
    assert "AAA.csv: is needed and missing" in error
    make_bars(400).equity.to_csv(bars_folder / "AAA.csv")
    assert invoke(*arguments)[0] == 0


def test_labels_are_written_with_a_summary(bars_folder, tmp_path):
    out = tmp_path / "labels"
    arguments = ("labels", "--bars", bars_folder, "--out", out)
    code, text, _ = invoke(*arguments)
    assert code == 0
    assert "aggressive_growth" in text
    summary = json.loads((out / "labels_summary.json").read_text())
    labels = pd.read_parquet(out / "labels.parquet")
    assert summary["n_labels"] == len(labels) == len(pd.read_csv(out / "labels.csv"))
    wins = {name: row["n_wins"] for name, row in summary["by_class"].items()}
    assert wins["ultra_defensive"] == (labels["winner"] == 0).sum()
    assert summary["features"]["market_breadth"] == "proxy"

    code, _, error = invoke(*arguments)
    assert code == 2
    assert "already exists" in error
    assert invoke(*arguments, "--force")[0] == 0


def test_labels_of_the_crises_alone_are_some_of_all(longer_folder, tmp_path):
    config = tmp_path / "sharpe.json"
    config.write_text('{"labels": {"objective": "sharpe"}}')
    source = ("labels", "--bars", longer_folder, "--config", config)
    assert invoke(*source, "--out", tmp_path / "all")[0] == 0
    arguments = (*source, "--crises", "--out", tmp_path / "crises")
    code, text, _ = invoke(*arguments, "--json")
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


def test_bars_without_a_crisis_have_no_labels_of_crises(longer_folder, tmp_path):
    out = tmp_path / "none"
    code, _, error = invoke(
        *("labels", "--bars", longer_folder, "--start", "2002-10-10"),
        *("--crises", "--out", out),
    )
    assert code == 2
    assert "inside at least one crisis, but give none: they run from" in error
    assert not out.exists()
