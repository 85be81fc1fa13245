"""One runner: a run before crises is a walk-forward that retrains after its freezes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest

from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.files import staged_folder
from trm_bt.manifest import first_foreign
from trm_bt.report import build
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.run import run

pytestmark = pytest.mark.slow

MAIN = "from trm_bt.cli import main; main()"
SPAN = {"start": "1999-06-01", "end": "2002-10-31"}
SETTINGS = {
    "seed": 4,
    "model": {"hidden_dim": 16, "num_latent_steps": 1, "num_recursion_cycles": 1},
    "training": {"epochs": 2, "max_batches_per_epoch": 2, "min_labels": 100},
}
OWN = ["fold", "model", "base_model"]
"""Columns that name the models, which the two schedules call differently."""


@pytest.fixture(scope="module")
def request_():
    config = TRMConfig.model_validate(SETTINGS)
    return RunRequest("sample", config, **SPAN, inputs=("core",))


@pytest.fixture(scope="module")
def folder(request_, tmp_path_factory):
    out = tmp_path_factory.mktemp("crises") / "run"
    run(request_, out, command="trm-bt run", executor=1)
    return out


def read(folder, name):
    table = pd.read_parquet(folder / f"{name}.parquet")
    return table.drop(columns=[column for column in OWN if column in table])


def assert_alike(left, right):
    """Hold two run folders to the same decisions, values and orders, bit by bit."""
    for name in ("decisions", "out_of_sample", "equity", "crisis_equity", "orders"):
        pd.testing.assert_frame_equal(
            read(left, name), read(right, name), check_exact=True
        )


def weights(folder, pattern):
    return [path.read_bytes() for path in sorted(folder.glob(pattern))]


def test_a_run_is_a_walk_forward_that_retrains_after_the_freezes(
    request_, folder, tmp_path
):
    told = pd.read_parquet(folder / "out_of_sample.parquet")
    begun = [str(day.date()) for day in told.groupby("fold")["session"].min()]
    assert {*told["fold"]} == {"dot_com_crash", "september_11"}
    assert begun == ["2000-03-08", "2001-09-07"]
    folds = {
        "first_decision": begun[0],
        "retrain_on": begun[1:],
        "n_seeds": 1,
        "embargo": 0,
    }
    config = TRMConfig.model_validate({**SETTINGS, "walkforward": folds})
    walk = replace(request_, config=config, schedule="calendar")
    run(walk, tmp_path / "walk", command="trm-bt walkforward", executor=1)

    assert_alike(folder, tmp_path / "walk")
    ours = weights(folder, "checkpoints/*/model.safetensors")
    assert ours == weights(tmp_path / "walk", "checkpoints/seed_4/*/model.safetensors")
    assert len(ours) == 2


@pytest.mark.evidence
def test_a_killed_run_resumes_to_the_same_result(request_, folder, tmp_path):
    (tmp_path / "small.json").write_text(request_.config.to_json())
    out = tmp_path / "run"
    command = [sys.executable, "-c", MAIN, "run", "--config", "small.json"]
    command += ["--inputs", "core"]
    command += [f"--{name}={day}" for name, day in SPAN.items()]
    done = []
    with subprocess.Popen([*command, "--out", "run"], cwd=tmp_path) as process:
        while process.poll() is None and not done:
            done = list(out.glob("checkpoints/[a-z]*/model.safetensors"))
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert json.loads((out / "run.json").read_text())["finished"] is False
    with pytest.raises(RunError, match="is unfinished"):
        build(out)
    when = {path: path.stat().st_mtime_ns for path in done}

    run(request_, out, command="x", executor=1)

    assert done
    assert {path: path.stat().st_mtime_ns for path in done} == when
    assert_alike(folder, out)
    found = weights(out, "checkpoints/*/model.safetensors")
    assert found == weights(folder, "checkpoints/*/model.safetensors")


def state(folder):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def own(folder, tmp_path):
    """A copy of the run, with notes of the user's and a comparison in it."""
    own = shutil.copytree(folder, tmp_path / "run")
    (own / "notes.md").write_text("mine")
    with staged_folder(own / "comparison") as new:
        (new / "comparison.json").write_text("{}")
    return own


def test_a_finished_run_again_is_already_done(request_, own, caplog):
    before = state(own)
    summary = run(request_, own, command="again", force=True)
    assert state(own) == before
    assert summary.seed == 4
    assert "already complete" in caplog.text
    assert sorted(path.name for path in own.parent.iterdir()) == ["run"]


def test_another_run_does_not_take_the_notes_in_a_folder(request_, own):
    before = state(own)
    other = replace(request_, end="2002-06-28")
    with pytest.raises(RunError, match=r"notes\.md is not"):
        run(other, own, command="x", force=True)
    assert state(own) == before


def test_a_run_without_its_pages_is_completed_around_the_notes(request_, own):
    (own / "index.html").unlink()
    run(request_, own, command="again", executor=1)
    assert (own / "index.html").is_file()
    assert (own / "notes.md").read_text() == "mine"
    assert (own / "comparison" / "comparison.json").read_text() == "{}"
    assert first_foreign(own) == own / "notes.md"


@pytest.mark.parametrize("name", ["equity.parquet", "checkpoints", "tearsheets"])
def test_a_run_is_not_completed_over_what_was_changed(request_, own, tmp_path, name):
    (own / "index.html").unlink()
    elsewhere = (own / name).rename(tmp_path / "elsewhere")
    (own / name).symlink_to(elsewhere)
    before = state(tmp_path)
    with pytest.raises(RunError, match=name):
        run(request_, own, command="again", executor=1)
    assert state(tmp_path) == before
