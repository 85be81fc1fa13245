"""The crises of 1962 to 1990: their dates, and each decided by a model of before."""

import json

import pandas as pd
import pytest

from tests.command_line import invoke, write_settings
from trm_bt.config import TRMConfig
from trm_bt.errors import ConfigError
from trm_bt.feeds import load_bars
from trm_bt.learning.splits import before_crises
from trm_bt.market.crises import CRISES, HISTORIC, check_names, crises_of
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels

QUICK = {
    "model": {"hidden_dim": 16},
    "training": {"epochs": 1, "max_batches_per_epoch": 2, "min_labels": 300},
}


@pytest.fixture(scope="module")
def bars():
    return load_bars("sample", start="1962-01-02", end="1997-12-31")


@pytest.mark.parametrize("crisis", HISTORIC, ids=lambda crisis: crisis.name)
def test_a_window_runs_from_the_highest_close_to_the_lowest(bars, crisis):
    closes = bars.equity["index_close"].loc[crisis.start : crisis.end]
    assert closes.idxmin() == crisis.end
    if crisis.start >= bars.sessions[0]:  # the sample begins within the first
        assert closes.idxmax() == crisis.start
    assert closes.iloc[-1] < 0.9 * closes.max()


def test_they_stand_before_the_twelve_in_date_order():
    starts = [crisis.start for crisis in crises_of("historic")]
    assert starts == sorted(starts)
    assert crises_of("historic")[7:] == crises_of("twelve") == CRISES


def test_each_model_of_the_long_sample_is_frozen_before_its_crisis(bars):
    labels = compute_labels(bars, compute_features(bars))
    known_on = pd.DatetimeIndex(labels["known_on"])
    splits, plans = before_crises(bars.sessions, known_on, 504, crises_of("historic"))
    reasons = {plan.crisis.name: plan.reason for plan in plans}
    assert [split.name for split in splits] == [
        *(crisis.name for crisis in HISTORIC[1:]),
        "asian_financial_crisis",
    ]
    for split in splits:
        (crisis,) = [c for c in crises_of("historic") if c.name == split.name]
        rows = split.rows(known_on)
        assert known_on[rows][-1] <= split.frozen_on < split.first < crisis.start
        assert rows.stop >= 504
    assert reasons["kennedy_slide"].startswith("only in part: the bars' span begins")


def test_names_of_historic_crises_are_taken():
    with pytest.raises(ConfigError, match="gulf_war_1990' is taken"):
        check_names([HISTORIC[-1]])


@pytest.mark.evidence
def test_a_run_has_a_page_of_each_that_it_covers(tmp_path):
    settings = write_settings(tmp_path / "quick.json", QUICK)
    given = ("--bars", "sample", "--start", "1985-01-02", "--end", "1990-12-31")
    out = tmp_path / "run"
    command = ("run", *given, "--config", settings, "--crises", "historic")
    code, _, err = invoke(*command, "--out", out, "--jobs", 1)
    assert code == 0, err
    summary = json.loads((out / "summary.json").read_text())
    names = [crisis.name for crisis in crises_of("historic")]
    assert [crisis["name"] for crisis in summary["crises"]] == names
    covered = [crisis for crisis in summary["crises"] if crisis["covered"]]
    assert [c["name"] for c in covered] == ["black_monday_1987", "gulf_war_1990"]
    for crisis in covered:
        assert crisis["trained_until"] < crisis["start"]
        assert (out / "tearsheets" / f"{crisis['name']}.html").is_file()
    page = (out / "index.html").read_text()
    assert "Black Monday 1987" in page
    assert "before 1990 with weaker estimates" in page


@pytest.mark.parametrize("command", ["run", "walkforward", "backtest"])
def test_commands_pass_the_option_on(monkeypatch, tmp_path, command):
    asked = []

    def note(request, *_, **__):
        asked.append(request)
        raise ConfigError("enough.")

    monkeypatch.setattr("trm_bt.runs.run.run", note)
    monkeypatch.setattr("trm_bt.runs.backtest.backtest_checkpoint", note)
    given = ("--checkpoint", tmp_path) if command == "backtest" else ()
    code, _, _ = invoke(
        command, *given, "--crises", "historic", "--out", tmp_path / "out"
    )
    assert code == 2
    assert asked[0].crises == "historic"
    assert asked[0].config == TRMConfig()
