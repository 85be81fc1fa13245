"""A run folder read again and compared: files, log, refusals and the command line."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from tests.command_line import call as call_command
from tests.fakes import FakePolicy
from tests.fakes_run import model_facts
from trm_bt import cli
from trm_bt.backtest import run_backtest
from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.trials import TRIALS_BEFORE, read_trials, record_trial
from trm_bt.runfolder.records import (
    STRATEGIES,
    BarsRecord,
    RunRecord,
    RunRequest,
    versions,
)
from trm_bt.runfolder.store import read_run_record, write_json
from trm_bt.runs.compare import CompareRequest, check_replayed, compare, read_decisions
from trm_bt.runs.request import requested_bars
from trm_bt.runs.results import save_results
from trm_bt.strategies.trm_allocator import TRMAllocator

START, END = "2007-01-03", "2009-06-30"
DECIDE_FROM = "2008-06-02"
QUICK = ("--draws", "100")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder of a fake policy on the sample, 272 sessions out of sample."""
    folder = tmp_path_factory.mktemp("made") / "run"
    folder.mkdir()
    request = RunRequest("sample", start=START, end=END)
    bars = requested_bars(request)
    policy = FakePolicy.reading(bars)
    result = run_backtest(
        bars, TRMAllocator, params={"policy": policy}, decide_from=DECIDE_FROM
    )
    save_results(dict.fromkeys(STRATEGIES, result), {}, folder)
    record = RunRecord(
        finished=True,
        command="trm-bt run",
        request=request,
        versions=versions(),
        bars=BarsRecord.of(bars),
        feature_schema=policy.schema,
        models=[model_facts("fake", "2008-05-23")],
    )
    write_json(folder / "run.json", record)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs" / "mine")


@pytest.fixture(scope="module")
def compared(made, tmp_path_factory):
    """The same folder after `trm-bt compare --json`, and what that printed."""
    root = tmp_path_factory.mktemp("compared")
    folder = shutil.copytree(made, root / "mine")
    with pytest.MonkeyPatch.context() as patch, (root / "out.json").open("w") as out:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "argv", ["trm-bt", "compare", str(folder), "--json", *QUICK])
        cli.main()
    return folder, json.loads((root / "out.json").read_text())


def call(monkeypatch, capsys, *arguments):
    return call_command(monkeypatch, capsys, "compare", *arguments)


def test_a_comparison_leaves_json_equity_and_a_page(compared):
    folder, facts = compared
    beside = folder / "comparison"
    assert {path.name for path in beside.iterdir()} == {
        "comparison.json",
        "comparison.html",
        "equity.parquet",
        "manifest.json",
    }
    assert json.loads((beside / "comparison.json").read_text()) == facts
    assert facts["is_same_bars"]
    assert facts["span"] == {"start": "2008-06-03", "end": END, "sessions": 272}
    assert facts["cost_bps"] == 5.0
    assert facts["settings"]["n_draws"] == 100
    equity = pd.read_parquet(beside / "equity.parquet")
    assert {*equity} == {*facts["strategies"]}


def test_the_allocator_is_what_its_run_recorded(compared):
    folder, _ = compared
    recorded = pd.read_parquet(folder / "equity.parquet")["trm"]
    replayed = pd.read_parquet(folder / "comparison" / "equity.parquet")["trm"]
    np.testing.assert_allclose(replayed, recorded, rtol=1e-11)


def test_the_page_holds_the_verdict_and_asks_for_nothing(compared):
    folder, facts = compared
    page = (folder / "comparison" / "comparison.html").read_text()
    assert facts["verdict"][0].split(":")[0] in page
    assert page.count("<svg") == 6
    assert page.count("<script") == 1  # that of every page
    assert '<a href="../index.html">The run</a>' in page
    for part in ("http:", "https:", "<img", "@import", "file:"):
        assert part not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert {*re.findall(r"url\((.)", page)} <= {"#"}
    for name in ("benchmark-table", "costs", "periods", "risk-table"):
        assert f'id="{name}"' in page
    skill = facts["risk_skill"]
    assert {*skill["models"]} == {"trm", "ewma", "har", "har_vix"}
    (said,) = [text for text in facts["verdict"] if "next week's variance" in text]
    assert f"{skill['models'][skill['best']]['qlike']:.3f}" in said


@pytest.mark.slow
def test_a_run_is_one_trial_however_often_it_is_compared(compared, monkeypatch, capsys):
    folder, facts = compared
    log = folder.parent / "trials"
    assert facts["tests"]["deflated"]["n_trials"] == 1 + TRIALS_BEFORE
    assert facts["tests"]["overfitting_of_trials"] is None
    span = ("--start", "2008-09-02", "--end", "2009-02-27")
    arguments = (folder, "--json", "--force", *span, *QUICK, "--earlier-trials", 9)
    code, text, _ = call(monkeypatch, capsys, *arguments)
    again = json.loads(text)
    assert code == 0
    assert len(read_trials(log)) == 2
    assert again["tests"]["deflated"]["n_trials"] == 10 + TRIALS_BEFORE
    assert again["span"]["start"] == "2008-09-03"
    assert again["span"]["end"] == "2009-02-27"


@pytest.mark.slow
def test_trials_that_cover_the_span_are_held_against_one_another(
    folder, monkeypatch, capsys
):
    """Two trials: the run, and one that earns its returns with the sign turned."""
    log = folder.parent / "trials"
    equity = pd.read_parquet(folder / "equity.parquet")["trm"]
    turned = -equity.pct_change().iloc[1:]
    values = pd.Series(np.cumprod(np.r_[1.0, 1.0 + turned]), equity.index)
    weights = pd.DataFrame(0.0, values.index, ["equity", "bond", "cash"])
    record_trial(log, TRMConfig(seed=77), "", weights, values, None)
    code, text, _ = call(monkeypatch, capsys, folder, "--json", *QUICK)
    facts = json.loads(text)
    found = facts["tests"]["overfitting_of_trials"]
    assert code == 0
    assert (found["n_trials"], found["n_strategies"]) == (2, 2)
    assert found["n_splits"] == 12870
    assert any(s.startswith("Of 2 trials in the log, 2") for s in facts["verdict"])
    page = (folder / "comparison" / "comparison.html").read_text()
    assert (
        "of the 2 that are known over these sessions and differ, of 2 in the log"
        in page
    )


def test_a_comparison_is_not_written_over_another(compared, monkeypatch, capsys):
    folder, _ = compared
    code, _, said = call(monkeypatch, capsys, folder)
    assert code == 2
    assert "pass --force" in said


@pytest.mark.slow
def test_a_table_and_the_verdict_are_printed(folder, monkeypatch, capsys, tmp_path):
    arguments = ("--start", "2009-06-01", "--out", tmp_path / "there")
    log = tmp_path / "log" / "all"
    code, text, _ = call(monkeypatch, capsys, folder, *arguments, "--trials", log)
    assert code == 0
    assert "inverse_volatility" in text
    assert "too few to test against chance" in text
    assert text.splitlines()[-1].endswith("comparison.html")
    assert (tmp_path / "there" / "comparison.html").is_file()
    assert len(read_trials(log)) == 1
    assert not (folder / "comparison").exists()
    assert not (folder.parent / "trials").exists()


def test_a_log_of_an_earlier_version_is_refused_before_the_work(
    folder, monkeypatch, capsys
):
    (folder.parent / "trials.jsonl").write_text("{}\n{}\n")
    code, _, said = call(monkeypatch, capsys, folder)
    assert code == 2
    assert "count its trials by --earlier-trials 2" in said
    assert not (folder.parent / "trials").exists()


def test_decisions_of_several_models_are_read_alike(folder):
    """Models of a fold decide together under the name of the first, in any order."""
    table = pd.read_parquet(folder / "decisions.parquet")
    before = read_decisions(folder, read_run_record(folder))
    table = table.sample(frac=1.0, random_state=0)
    table.assign(model="fake, mean of 3", n_models=3).to_parquet(
        folder / "decisions.parquet"
    )
    after = read_decisions(folder, read_run_record(folder))
    pd.testing.assert_frame_equal(before.weights, after.weights)
    np.testing.assert_array_equal(before.classes, after.classes)
    np.testing.assert_array_equal(before.confidence, after.confidence)
    assert before.known_by.tolist() == after.known_by.tolist()


@pytest.mark.slow
def test_a_value_that_the_decisions_do_not_come_to_is_refused(
    folder, monkeypatch, capsys
):
    equity = pd.read_parquet(folder / "equity.parquet")
    equity.iloc[200] *= 1.0001
    equity.to_parquet(folder / "equity.parquet")
    code, _, said = call(monkeypatch, capsys, folder)
    assert code == 2
    assert f"on {equity.index[200].date()} it is" in said
    assert not (folder / "comparison").exists()


@pytest.mark.slow
def test_a_damaged_value_is_refused_before_the_first_benchmark(folder):
    (folder / "equity.parquet").write_bytes(b"PAR1")
    told = []

    with pytest.raises(RunError, match=r"equity\.parquet"):
        compare(CompareRequest(folder), progress=lambda *stage: told.append(stage))

    assert told == []


@pytest.mark.parametrize("n_shifted", [-1, 1], ids=["one fewer", "one more"])
def test_a_value_recorded_on_other_sessions_is_refused(folder, n_shifted):
    """The first session that only one of the two has is the one that is named."""
    equity = pd.read_parquet(folder / "equity.parquet")
    replayed = equity["trm"]
    check_replayed(folder, equity["trm"], replayed)
    if n_shifted < 0:
        named, equity = equity.index[100], equity.drop(equity.index[100])
    else:
        named = equity.index[0] - pd.Timedelta(days=3)
        equity = pd.concat([equity.iloc[:1].set_axis([named]), equity])
    with pytest.raises(RunError, match=f"on {named.date()} it is"):
        check_replayed(folder, equity["trm"], replayed)


@pytest.mark.slow
def test_other_bars_are_compared_and_said_to_be_other(folder, monkeypatch, capsys):
    run = json.loads((folder / "run.json").read_text())
    run["bars"]["sha256"] = "0" * 64
    (folder / "run.json").write_text(json.dumps(run))
    arguments = ("--json", "--start", "2009-06-01")
    code, text, _ = call(monkeypatch, capsys, folder, *arguments)
    assert code == 0
    assert json.loads(text)["is_same_bars"] is False
    page = (folder / "comparison" / "comparison.html").read_text()
    assert "not the bars of the run" in page


def test_a_model_that_knew_too_much_is_a_leak(folder, monkeypatch, capsys):
    run = json.loads((folder / "run.json").read_text())
    run["models"][0]["trained_until"] = "2009-06-05"
    (folder / "run.json").write_text(json.dumps(run))
    code, _, said = call(monkeypatch, capsys, folder, "--start", "2009-06-01")
    assert code == 1
    assert "must know its last label before it decides" in said


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: run.pop("bars"), "must hold `bars`"),
        (lambda run: run.pop("models"), "the model 'fake' must be among"),
        (lambda run: run["models"].clear(), "the model 'fake' must be among"),
        (
            lambda run: run["request"]["config"].update(nonsense=1),
            "`request.config.nonsense`: Extra inputs",
        ),
        (lambda run: run.update(finished=False), "is unfinished. Run its command ag"),
    ],
    ids=["no bars", "no models", "unknown model", "unknown setting", "unfinished"],
)
def test_a_record_that_lacks_something_is_named(
    folder, monkeypatch, capsys, spoil, words
):
    run = json.loads((folder / "run.json").read_text())
    spoil(run)
    (folder / "run.json").write_text(json.dumps(run))
    code, _, said = call(monkeypatch, capsys, folder)
    assert code == 2
    assert words in said


def test_a_span_without_decisions_is_refused(folder, monkeypatch, capsys):
    code, _, said = call(monkeypatch, capsys, folder, "--start", "2011-01-01")
    assert code == 2
    assert "no decision lies between 2011-01-01 and the end" in said


def test_a_date_that_is_none_is_refused(folder, monkeypatch, capsys):
    for option in ("--start", "--end"):
        code, _, said = call(monkeypatch, capsys, folder, option, "last week")
        assert code == 2
        assert f"`{option[2:]}` must be a date as YYYY-MM-DD, got 'last week'" in said


def test_a_missing_folder_or_column_is_named(folder, monkeypatch, capsys, tmp_path):
    code, _, said = call(monkeypatch, capsys, tmp_path / "nowhere")
    assert code == 2
    assert "there is no such run folder. Run `trm-bt run` first" in said
    table = pd.read_parquet(folder / "decisions.parquet")
    table.drop(columns="target_cash").to_parquet(folder / "decisions.parquet")
    with pytest.raises(RunError, match="must have the column `target_cash`"):
        read_decisions(folder, read_run_record(folder))
    (folder / "decisions.parquet").write_text("no table")
    with pytest.raises(RunError, match="cannot be read as parquet"):
        read_decisions(folder, read_run_record(folder))
