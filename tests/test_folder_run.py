"""A run on a folder of real files: spliced bond, overlapping crises, two processes."""

import json

import pandas as pd
import pytest

from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.run import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(market_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "real"
    request = RunRequest(
        str(market_dir),
        TRMConfig(
            model=ModelConfig(hidden_dim=32),
            training=TrainingConfig(epochs=1, max_batches_per_epoch=2, min_labels=100),
        ),
        start="1999-06-01",
        end="2002-10-31",
    )
    run(request, out, command="trm-bt run", executor=2)
    return out


def test_each_crisis_is_decided_by_its_own_model_where_two_overlap(folder):
    decisions = pd.read_parquet(folder / "decisions.parquet")
    deciders = decisions.groupby("run")["model"].unique().map(list).to_dict()
    assert deciders["dot_com_crash"] == ["dot_com_crash"]
    assert deciders["september_11"] == ["september_11"]
    assert deciders["out_of_sample"] == ["dot_com_crash", "september_11"]
    inside = decisions[decisions["session"] == "2001-09-20"].set_index("run")["model"]
    assert inside.to_dict() == {
        "out_of_sample": "september_11",
        "dot_com_crash": "dot_com_crash",
        "september_11": "september_11",
    }


def test_the_splice_and_the_cash_yield_are_said_on_every_page(folder):
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == 4
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "before 2002-07-30 the returns of VUSTX" in text, page
        assert "dgs3mo, percent a year" in text, page


def test_no_order_was_rejected(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["orders"]["submitted"] > 2_000
    assert summary["orders"]["rejected"] == 0
    covered = [crisis["name"] for crisis in summary["crises"] if crisis["covered"]]
    assert covered == ["dot_com_crash", "september_11"]
