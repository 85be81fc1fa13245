"""The label table counted by hand, turned into JSON, and read back or refused."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.config import LabelConfig
from trm_bt.errors import RunError
from trm_bt.feeds import load_bars
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.market.crises import CRISES
from trm_bt.market.features import compute_features
from trm_bt.market.label_table import load_labels, summarize_labels
from trm_bt.market.labels import compute_labels

NAMES = (
    "ultra_defensive",
    "defensive",
    "balanced_safe",
    "balanced_growth",
    "growth",
    "aggressive_growth",
    "contrarian_long",
    "tactical_opportunity",
)


@pytest.fixture(scope="module")
def labels():
    """Random labels from 2001 to 2003: two crises, one inside the other, and none."""
    bars = make_bars(600)
    config = LabelConfig(objective="sharpe")
    return compute_labels(bars, compute_features(bars), config)


def test_counts_and_means_are_those_of_a_loop(labels):
    summary = summarize_labels(labels)
    rows = [row for _, row in labels.iterrows()]
    for index, name in enumerate(NAMES):
        found = summary.by_class[name]
        assert found.n_wins == sum(row["winner"] == index for row in rows)
        assert found.win_share == pytest.approx(found.n_wins / len(rows))
        mean = sum(row[f"return_{name}"] for row in rows) / len(rows)
        assert found.mean_return == pytest.approx(mean)
    for crisis in ("dot_com_crash", "september_11"):
        inside = [row for row in rows if crisis in row["crises"].split(";")]
        assert inside
        found = summary.by_crisis[crisis]
        assert found.n_labels == len(inside)
        wins = [sum(row["winner"] == index for row in inside) for index in range(8)]
        assert list(found.n_wins.values()) == wins
        assert wins[NAMES.index(found.most_frequent_winner)] == max(wins)
        mean = sum(row["return_growth"] for row in inside) / len(inside)
        assert found.mean_return["growth"] == pytest.approx(mean)


@pytest.mark.slow
def test_every_session_of_the_twelve_crises_has_a_label(market_dir):
    bars = load_bars(market_dir, end="2023-12-29")
    summary = summarize_labels(compute_labels(bars, compute_features(bars)))
    windows = {
        crisis.name: len(nyse_sessions(crisis.start, crisis.end)) for crisis in CRISES
    }
    counted = {name: row.n_labels for name, row in summary.by_crisis.items()}
    assert counted == windows
    assert sum(windows.values()) - windows["september_11"] == 1198


def test_the_summary_is_json_with_null_for_crises_without_labels(labels):
    config = LabelConfig(objective="sharpe")
    summary = summarize_labels(labels, config).model_dump(mode="json")
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["objective"] == "sharpe"
    assert summary["n_labels"] == len(labels)
    assert len(summary["by_crisis"]) == 12
    absent = summary["by_crisis"]["brexit"]
    assert absent["n_labels"] == 0
    assert absent["most_frequent_winner"] is None
    assert absent["mean_return"] == dict.fromkeys(NAMES)


def test_ties_are_counted_where_they_are(labels):
    tied = labels.copy()
    tied.loc["2001-09-17", "is_tie"] = True
    tied.loc["2002-01-03", "is_tie"] = True
    summary = summarize_labels(tied)
    assert summary.n_ties == 2
    assert summary.by_crisis["september_11"].n_ties == 1
    assert summary.by_crisis["dot_com_crash"].n_ties == 2


@pytest.mark.parametrize("name", ["", "labels.parquet", "labels.csv"])
def test_a_saved_table_comes_back_to_the_last_bit(labels, tmp_path, name):
    labels.to_parquet(tmp_path / "labels.parquet")
    labels.to_csv(tmp_path / "labels.csv")
    pd.testing.assert_frame_equal(
        load_labels(tmp_path / name), labels, check_exact=True, check_freq=False
    )


def change(column, value):
    return lambda labels: labels.assign(
        **{column: np.where(np.arange(len(labels)) == 7, value, labels[column])}
    )


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (lambda f: f.drop(columns="margin"), "has the column `margin`, got"),
        (lambda f: f.iloc[::-1], "indexed by sessions in order, each once"),
        (lambda f: f.reset_index(drop=True), "indexed by sessions in order"),
        (change("return_growth", np.nan), "every feature and return must be finite"),
        (change("vix_level", np.inf), "every feature and return must be finite"),
        (change("winner", 8), "`winner` must be the first of the best"),
        (change("winner", 3), "`winner` must be the first of the best"),
        (change("winner_return", 0.5), "must be the winner's own return"),
        (change("margin", 9.0), "`margin` must be the winner's over the runner-up"),
        (change("is_tie", True), "`is_tie` must say whether two are the best"),
        (change("crises", "crash"), "`crises` must name crises"),
        (change("crises", None), "`crises` must hold names, got "),
        (lambda f: f.assign(winner=0.5), "`winner` must hold class indexes, got float"),
        (lambda f: f.assign(winner="a"), "`winner` must hold class indexes, got "),
        (lambda f: f.assign(vix_level="a"), "`vix_level` must hold numbers, got "),
        (lambda f: f.assign(known_on="a"), "`known_on` must hold sessions, got "),
        (lambda f: f.tz_localize("UTC"), "indexed by sessions in order, each once"),
        (lambda f: f.iloc[:0], "each once, got 0 rows"),
        (lambda f: f.assign(known_on=f.index), "`known_on` must lie after the session"),
    ],
)
def test_a_broken_table_is_refused_with_rule_and_session(
    labels, tmp_path, broken, rule
):
    broken(labels).to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(RunError, match=rule) as refused:
        load_labels(tmp_path)
    assert str(tmp_path / "labels.parquet") in str(refused.value)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"labels\.parquet: cannot be read as a label"):
        load_labels(tmp_path)
    (tmp_path / "labels.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match=r"labels\.csv: cannot be read as a label"):
        load_labels(tmp_path / "labels.csv")
