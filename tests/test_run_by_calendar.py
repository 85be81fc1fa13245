"""The walk-forward as a whole: out of sample throughout, and the same after a kill."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from tests.command_line import call, write_folder
from tests.conftest import make_bars
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, CheckpointError, RunError
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.learning.policy import TRMPolicy
from trm_bt.market.features import compute_features
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.decide import decide, open_model
from trm_bt.runs.request import requested_bars
from trm_bt.runs.run import run

pytestmark = pytest.mark.slow

SETTINGS = {  # new models in the middle of September 2001
    "seed": 5,
    "model": {"hidden_dim": 16, "num_latent_steps": 1, "num_recursion_cycles": 1},
    "training": {"epochs": 2, "max_batches_per_epoch": 2, "min_labels": 80},
    "walkforward": {
        "first_decision": "2001-08-20",
        "retrain_on": ["2001-09-17", "2002-09-16"],
        "n_seeds": 2,
        "embargo": 3,
    },
}


@pytest.fixture(scope="module")
def request_(tmp_path_factory):
    inputs = write_folder(tmp_path_factory.mktemp("bars") / "bars", make_bars(600))
    config = TRMConfig.model_validate(SETTINGS)
    return RunRequest(str(inputs), config, schedule="calendar")


@pytest.fixture(scope="module")
def out(request_, tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk") / "out"
    run(request_, folder, command="trm-bt walkforward", executor=1)
    return folder


@pytest.fixture(scope="module")
def told(out):
    return pd.read_parquet(out / "out_of_sample.parquet")


def test_every_decision_knows_only_labels_of_before(told, request_):
    sessions = requested_bars(request_).sessions
    position = sessions.get_indexer(told["session"])
    known = sessions.get_indexer(told["last_label_known_on"])
    trained = sessions.get_indexer(told["trained_until"])
    first = told.groupby("fold")["session"].transform("min")
    begun = sessions.get_indexer(first)

    assert (known < position).all()
    assert (known == begun - 1 - 3).all()  # the session before, and the embargo
    assert (trained == known - 6).all()  # held five sessions from the next open
    assert told["session"].is_unique
    assert (np.diff(position) == 1).all()
    assert position[-1] == len(sessions) - 1
    assert told["n_seeds"].unique().tolist() == [2]


def test_probabilities_are_means_over_the_seeds(told, out, request_):
    frame = compute_features(requested_bars(request_)).frame
    fold = told["fold"].iloc[-1]
    rows = told[told["fold"] == fold]
    apart = []
    for seed in (5, 6):
        model = load_checkpoint(out / "checkpoints" / f"seed_{seed}" / fold)
        assert model.config.seed == seed
        assert model.name == f"{fold} seed {seed}"
        session = pd.DatetimeIndex(rows["session"])
        decided = TRMPolicy([model]).decide(session, frame.loc[session].to_numpy())
        apart.append([decision.probabilities for decision in decided])

    found = rows[[f"prob_{k}" for k in range(8)]].to_numpy()
    np.testing.assert_allclose(found, (np.array(apart[0]) + apart[1]) / 2, rtol=1e-14)


def test_it_leaves_a_run_folder_decided_by_its_own_models(out, told):
    summary = json.loads((out / "summary.json").read_text())
    decisions = pd.read_parquet(out / "decisions.parquet")
    whole = decisions[decisions["run"] == "out_of_sample"]

    assert (out / "index.html").is_file()
    assert summary["orders"]["rejected"] == 0
    assert whole["session"].tolist() == told["session"].tolist()
    assert whole["allocation"].tolist() == told["allocation"].tolist()
    record = json.loads((out / "run.json").read_text())
    assert len(record["models"]) == 2 * 3
    assert set(record["seconds"]) >= {"training", "deciding", "backtests", "report"}


def test_a_crisis_is_decided_by_the_models_from_before_it_to_its_end(
    out, told, request_
):
    """New models begin on 2001-09-17, inside the crisis, and must not decide it."""
    summary = json.loads((out / "summary.json").read_text())
    (crisis,) = [c for c in summary["crises"] if c["covered"]]
    decisions = pd.read_parquet(out / "decisions.parquet")
    rows = decisions[decisions["run"] == "september_11"].set_index("session")
    inside = told.set_index("session").loc[rows.index]
    frame = compute_features(requested_bars(request_)).frame.loc[rows.index]
    apart = [
        TRMPolicy(
            [load_checkpoint(out / "checkpoints" / f"seed_{seed}" / "2001-08-20")]
        )
        for seed in (5, 6)
    ]
    probs = [
        [d.probabilities for d in one.decide(frame.index, frame.to_numpy())]
        for one in apart
    ]

    assert crisis["name"] == "september_11"
    assert crisis["model"] == "2001-08-20 seed 5, mean of 2"
    assert crisis["trained_until"] < "2001-08-20"
    assert set(inside["fold"]) == {"2001-08-20", "2001-09-17"}
    assert set(rows["model"]) == {"2001-08-20 seed 5, mean of 2"}
    expected = (np.array(probs[0]) + probs[1]) / 2
    columns = [name for name in rows if name.startswith("prob")]
    np.testing.assert_allclose(rows[columns].to_numpy(), expected, rtol=1e-14)


def whole(folder):
    """Find the checkpoints that are done; drafts are hidden."""
    return folder.glob("checkpoints/seed_*/[0-9]*/model.safetensors")


def tables(folder):
    """Return what must be the same however often a walk-forward was stopped."""
    names = ["out_of_sample.parquet", "decisions.parquet", "equity.parquet"]
    found = {name: pd.read_parquet(folder / name) for name in names}
    weights = sorted(whole(folder))
    return found, {str(path.relative_to(folder)): path.read_bytes() for path in weights}


def assert_same(left, right):
    (frames, weights), (others, other_weights) = tables(left), tables(right)
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, others[name], check_exact=True)
    assert weights == other_weights


@pytest.mark.evidence
def test_a_killed_walk_forward_goes_on_to_the_same_result(request_, out, tmp_path):
    (tmp_path / "small.json").write_text(request_.config.to_json())
    folder = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        "from trm_bt.cli import main; main()",
        "walkforward",
        *("--bars", request_.bars, "--config", str(tmp_path / "small.json")),
        *("--out", str(folder), "--jobs", "1"),
    ]
    with subprocess.Popen(command) as process:
        while process.poll() is None and not list(whole(folder)):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    done = {path: path.stat().st_mtime_ns for path in whole(folder)}

    run(request_, folder, command="x", executor=2)

    assert done
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert_same(folder, out)


def test_another_walk_forward_is_not_overwritten(request_, out, tmp_path):
    other = replace(request_, end="2002-12-31")

    with pytest.raises(RunError, match="other settings, bars or versions"):
        run(other, out, command="x")
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match=r"letter\.txt is not"):
        run(request_, tmp_path, command="x", force=True)

    assert (out / "summary.json").is_file()
    assert (tmp_path / "letter.txt").is_file()


def test_a_checkpoint_of_other_settings_is_not_taken(request_, out, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(out, again)
    seeds = again / "checkpoints"
    shutil.rmtree(seeds / "seed_6" / "2001-09-17")
    shutil.copytree(seeds / "seed_5" / "2001-09-17", seeds / "seed_6" / "2001-09-17")
    (again / "summary.json").unlink()  # else the run is done already

    with pytest.raises(CheckpointError, match="must be a model with this run's"):
        run(request_, again, command="x")


def test_a_walk_forward_that_cannot_be_leaves_the_old_one(request_, out, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(out, again)
    folds = request_.config.walkforward.model_copy(
        update={"first_decision": date(2050, 1, 3)}
    )
    config = request_.config.model_copy(update={"walkforward": folds})

    with pytest.raises(BarsError, match=r"`first_decision` must lie between"):
        run(replace(request_, config=config), again, command="x", force=True)

    assert_same(again, out)


def test_the_command_takes_the_folds_from_its_options(
    monkeypatch, capsys, request_, tmp_path
):
    (tmp_path / "small.json").write_text(request_.config.to_json())
    arguments = ["walkforward", "--bars", request_.bars, "--jobs", 1, "--json"]
    arguments += ["--config", tmp_path / "small.json", "--out", tmp_path / "out"]
    dates = ["--from", "2002-06-03", "--retrain-on", "2003-01-02", "--embargo", 0]

    code, text, err = call(monkeypatch, capsys, *arguments, *dates, "--seeds", 1)

    assert code == 0, err
    assert json.loads(text)["out_of_sample"]["start"] == "2002-06-04"
    folds = [path.name for path in (tmp_path / "out" / "checkpoints").glob("*/*")]
    assert sorted(folds) == ["2002-06-03", "2003-01-02"]
    code, _, err = call(monkeypatch, capsys, *arguments, "--retrain-on", "soon")
    assert code == 2
    assert "`retrain_on.0`: must be a date as YYYY-MM-DD, got 'soon'" in err


def test_a_step_takes_the_place_of_dates_and_does_not_go_with_them(
    monkeypatch, capsys, request_, tmp_path
):
    (tmp_path / "small.json").write_text(request_.config.to_json())
    arguments = ["walkforward", "--bars", request_.bars, "--jobs", 1, "--seeds", 1]
    arguments += ["--config", tmp_path / "small.json", "--out", tmp_path / "out"]
    arguments += ["--from", "2002-06-03", "--every", 150]

    code, _, err = call(monkeypatch, capsys, *arguments, "--retrain-on", "2003-01-02")
    assert code == 2
    assert "--every and --retrain-on both set when folds begin" in err
    code, _, err = call(monkeypatch, capsys, *arguments)
    assert code == 0, err
    told = pd.read_parquet(tmp_path / "out" / "out_of_sample.parquet")
    assert told.groupby("fold").size().tolist()[:-1] == [150]


def test_decide_says_what_the_run_decided_in_every_fold(out, request_):
    """Also where the embargo lets a newer model wait for its fold."""
    bars = requested_bars(request_)
    rows = pd.read_parquet(out / "decisions.parquet")
    rows = rows[rows["run"] == "out_of_sample"].reset_index(drop=True)
    folds = pd.read_parquet(out / "out_of_sample.parquet")["fold"]
    starts = np.flatnonzero((folds != folds.shift()).to_numpy())
    policy = open_model(out)
    for at in {0, 1, *(starts[1:] - 1), *starts, *(starts + 2), len(rows) - 1}:
        row = rows.iloc[at]
        report = decide(policy, bars, session=row["session"])
        assert report.session == row["session"].date()
        assert report.allocation == row["allocation_name"]
        assert report.model == row["model"]
        for name, value in report.probabilities.items():
            assert value == row[f"prob_{name}"]
        for asset, value in report.weights.items():
            assert value == row[f"target_{asset}"]
        assert all(r.z_score is not None for r in report.features.values())
    early = decide(policy, bars, session=rows["session"].iloc[0] - pd.Timedelta(days=1))
    assert early.allocation is None
    assert "lies before the first decision of the run" in early.abstains_because
