"""A walk-forward that cannot be: it ends before it works, and touches nothing."""

import json

import pytest

from tests.command_line import call, write_folder
from tests.conftest import make_bars
from trm_bt.config import TRMConfig


def settings(min_labels, window):
    return {
        "model": {"hidden_dim": 16},
        "training": {"min_labels": min_labels},
        "walkforward": {"window": window},
    }


def test_a_window_below_what_a_model_needs_ends_before_the_bars_are_read(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    arguments = ("walkforward", "--window", 503, "--bars", "nowhere", "--out", "out")
    code, _, error = call(monkeypatch, capsys, *arguments)

    assert code == 2
    assert error == (
        "trm-bt: `walkforward.window` must be at least `training.min_labels`, 504 "
        "labels, got 503. Widen the window or lower `min_labels`.\n"
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("window", [504, None])
def test_a_window_of_what_a_model_needs_will_do(window):
    TRMConfig.model_validate(settings(504, window)).check_walkable()


def test_too_few_labels_to_split_leave_the_walkforward_that_is_there(
    monkeypatch, capsys, tmp_path
):
    """Of 8 labels 2 validate, and the 6 others are all purged."""
    bars = write_folder(tmp_path / "bars", make_bars(120))
    out, config = tmp_path / "out", tmp_path / "config.json"
    out.mkdir()
    (out / "run.json").write_text("{}")
    config.write_text(json.dumps(settings(8, 8)))
    arguments = ("walkforward", "--bars", bars, "--out", out, "--config", config)
    code, _, error = call(monkeypatch, capsys, *arguments, "--force")

    assert code == 2
    assert "before validation starts, got 8 labels in all, of which 2" in error
    assert (out / "run.json").read_text() == "{}"
