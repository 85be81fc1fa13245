"""A horizon of one session: enough to label, too little to train for risk."""

import json

import pytest

from tests.command_line import call, write_folder
from tests.planted import planted_samples
from trm_bt.audit.setup import audit_setup
from trm_bt.config import LabelConfig, TRMConfig
from trm_bt.errors import ConfigError
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema
from trm_bt.market.label_table import load_labels

SENTENCE = "need a `labels.horizon` of at least 2 sessions to train on, got 1"
ONE_SESSION = TRMConfig.preset("risk").model_copy(
    update={"labels": LabelConfig(horizon=1)}
)


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(ONE_SESSION.to_json())
    return path


def test_labels_of_one_session_need_no_variance(
    monkeypatch, capsys, tmp_path, bars, settings
):
    folder = write_folder(tmp_path / "bars", bars)
    arguments = ("labels", "--bars", folder, "--config", settings, "--json")
    code, out, error = call(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")

    assert (code, error) == (0, "")
    labels = load_labels(tmp_path / "out" / "labels.parquet")
    first = bars.sessions.get_loc(labels.index[0])
    equity, bond = (
        frame["open"].iloc[first + 2] / frame["open"].iloc[first + 1] - 1
        for frame in (bars.equity, bars.bond)
    )
    assert labels["return_aggressive_growth"].iloc[0] == pytest.approx(
        0.9 * equity + 0.1 * bond, rel=1e-12
    )
    assert json.loads(out)["n_labels"] == len(labels) == len(bars.sessions) - 59 - 2


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--out", "out"),
        ("walkforward", "--out", "out"),
        ("train", "--out", "out"),
        ("train", "--self-check"),
    ],
    ids=" ".join,
)
def test_what_trains_refuses_before_it_looks_for_bars(
    monkeypatch, capsys, tmp_path, settings, command
):
    monkeypatch.chdir(tmp_path)
    arguments = (*command, "--bars", "nowhere", "--config", settings)
    code, _, error = call(monkeypatch, capsys, *arguments)

    assert code == 2
    assert SENTENCE in error
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


def test_an_audit_trains_too(bars):
    with pytest.raises(ConfigError, match=SENTENCE):
        next(audit_setup(bars, ONE_SESSION))


def test_nothing_trains_past_the_check():
    with pytest.raises(ConfigError, match=SENTENCE):
        train(planted_samples(100), FeatureSchema(), ONE_SESSION, name="one")


def test_another_utility_trains_on_one_session():
    TRMConfig(labels=LabelConfig(horizon=1)).check_trainable()
