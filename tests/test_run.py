"""A whole run on real-length history with a small model: files, figures, rules."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trm_bt import decide
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import BarsError, RunError
from trm_bt.evaluation.trials import read_trials
from trm_bt.feeds import load_bars
from trm_bt.learning.splits import before_crises
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.crises import CRISES
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, compute_features
from trm_bt.market.labels import cash_returns, compute_labels
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.request import requested_bars
from trm_bt.runs.run import run

STRATEGIES = ["trm", "spy", "sixty_forty", *ALLOCATION_NAMES, "exposure_matched"]
QUICK = TRMConfig(
    model=ModelConfig(hidden_dim=32),
    training=TrainingConfig(epochs=2, max_batches_per_epoch=4, min_labels=300),
)
REQUEST = RunRequest("sample", QUICK, start="1995-01-03", end="1997-11-28")
COMMAND = "trm-bt run --bars sample <b>"
CRISIS = "asian_financial_crisis"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run over one crisis of the sample."""
    out = tmp_path_factory.mktemp("runs") / "one"
    told = []
    run(REQUEST, out, command=COMMAND, progress=lambda *state: told.append(state))
    assert (f"training {CRISIS}, epoch 1 of 2", 1) in [
        (words, min(done, 1)) for words, done, _ in told
    ]
    told = [(words.split()[0], done, total) for words, done, total in told]
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["training", "deciding", "backtests", "report"]
    for stage in stages:
        shares = [done / total for name, done, total in told if name == stage]
        assert shares == sorted(shares)
        assert shares[-1] == 1
    return out


@pytest.fixture(scope="module")
def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_the_run_folder_holds_what_it_promises(folder):
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {
        "index.html",
        "crises.csv",
        "tearsheets/out_of_sample.html",
        f"tearsheets/{CRISIS}.html",
        "tearsheets/manifest.json",
        "manifest.json",
        "summary.json",
        "run.json",
        "now.json",
        *("equity.csv", "weights.csv", "decisions.csv", "trades.csv"),
        "features.parquet",
        "labels.parquet",
        "labels.csv",
        "labels_summary.json",
        "decisions.parquet",
        "out_of_sample.parquet",
        "equity.parquet",
        "crisis_equity.parquet",
        "weights.parquet",
        "orders.parquet",
        "executions.parquet",
        *(
            f"checkpoints/{CRISIS}/{name}"
            for name in (
                "model.safetensors",
                "checkpoint.json",
                "manifest.json",
                "MODEL_CARD.md",
                "history.json",
                "training.png",
            )
        ),
    }
    beside = {path.name for path in folder.parent.iterdir()}
    assert beside == {folder.name, "trials"}


def test_what_is_held_now_is_what_decide_says(folder, record):
    report = decide(folder, "sample", session=record["bars"]["end"])
    assert json.loads((folder / "now.json").read_text()) == report.model_dump(
        mode="json"
    )
    table = pd.read_parquet(folder / "decisions.parquet")
    last = table[table["run"] == "out_of_sample"].iloc[-1]
    page = " ".join((folder / "index.html").read_text().split())
    assert f"Held after the close of {report.session}:" in page
    assert report.weights["equity"] == pytest.approx(last["target_equity"])


def test_the_average_mix_holds_the_mean_of_what_was_held(folder, summary):
    weights = pd.read_parquet(folder / "weights.parquet")
    ours = weights[weights["run"] == "out_of_sample"].iloc[1:]
    mix = ours[["equity", "bond", "cash"]].mean()
    bars = load_bars("sample")
    equity = pd.read_parquet(folder / "equity.parquet")["exposure_matched"]
    held = equity.index[2:]  # bought at the first close after the base
    legs = [leg["close"].pct_change().loc[held] for leg in (bars.equity, bars.bond)]
    cash = cash_returns(bars).reindex(held)
    moves = mix["equity"] * legs[0] + mix["bond"] * legs[1] + mix["cash"] * cash
    earned = summary["strategies"]["exposure_matched"]["total_return"]
    assert earned == pytest.approx((1 + moves).prod() - 1, abs=2e-3)


def test_a_run_is_counted_among_the_trials(folder, summary):
    (trial,) = read_trials(folder.parent / "trials")
    assert trial.sharpe == pytest.approx(summary["strategies"]["trm"]["sharpe"])
    assert trial.start.isoformat() == summary["out_of_sample"]["start"]
    assert trial.n_sessions == summary["out_of_sample"]["sessions"]


def test_all_twelve_crises_are_listed_in_date_order(summary):
    crises = summary["crises"]
    assert [c["name"] for c in crises] == [c.name for c in CRISES]
    assert [c["covered"] for c in crises] == [True] + [False] * 11
    assert {c["reason"] for c in crises[1:]} == {"not within the bars' span"}
    assert {c["total_return"] for c in crises[1:]} == {None}
    assert list(crises[0]["total_return"]) == STRATEGIES


def test_crisis_figures_follow_from_the_equity_by_a_plain_loop(folder, summary):
    equity = pd.read_parquet(folder / "crisis_equity.parquet").loc[CRISIS]
    assert equity.index[0] == pd.Timestamp("1997-07-01")
    assert equity.index[-1] == pd.Timestamp("1997-10-27")
    assert summary["crises"][0]["sessions"] == len(equity) - 1 == 82
    for name in STRATEGIES:
        values = equity[name].tolist()
        peak, deepest = values[0], 0.0
        for value in values:
            peak = max(peak, value)
            deepest = min(deepest, value / peak - 1)
        crisis = summary["crises"][0]
        assert crisis["total_return"][name] == pytest.approx(values[-1] / values[0] - 1)
        assert crisis["max_drawdown"][name] == pytest.approx(deepest)


def test_a_fixed_mix_earns_what_its_legs_earn(folder, summary):
    # In the sample both legs fill at the close, so a mix rebalanced each session earns
    # the weighted returns of its legs, less costs of 5 basis points on small trades.
    bars = load_bars("sample")
    equity = pd.read_parquet(folder / "crisis_equity.parquet").loc[CRISIS]
    legs = [
        leg["close"].pct_change().loc[equity.index[1:]]
        for leg in (bars.equity, bars.bond)
    ]
    earned = (1 + 0.6 * legs[0] + 0.4 * legs[1]).prod() - 1
    crisis = summary["crises"][0]
    assert crisis["total_return"]["sixty_forty"] == pytest.approx(earned, abs=3e-4)
    alone = (1 + legs[0]).prod() - 1
    assert crisis["total_return"]["spy"] == pytest.approx(alone, abs=1e-6)


def test_no_order_was_rejected_and_the_counts_add_up(folder, summary):
    orders = pd.read_parquet(folder / "orders.parquet")
    counts = dict(summary["orders"])
    gaps = counts.pop("gaps")
    executions = pd.read_parquet(folder / "executions.parquet")
    ours = executions[executions["run"] == "out_of_sample"]
    assert gaps["fill"]["largest"] == ours["fill_gap"].max() < 1e-3
    assert gaps["close"]["median"] == ours["close_gap"].median()
    assert counts == {
        "submitted": len(orders),
        "completed": int((orders["status"] == "Completed").sum()),
        "rejected": 0,
    }
    assert set(orders["asset"]) == {"equity", "bond"}


def test_every_decision_came_from_a_model_that_had_not_seen_it(folder, record):
    decisions = pd.read_parquet(folder / "decisions.parquet")
    trained_until = {m["name"]: m["trained_until"] for m in record["models"]}
    assert set(decisions["run"]) == {"out_of_sample", CRISIS}
    assert decisions["allocation"].notna().all()
    for model, rows in decisions.groupby("model"):
        assert rows["session"].min() > pd.Timestamp(trained_until[model])
    first = decisions.loc[decisions["run"] == CRISIS, "session"].min()
    assert first == pd.Timestamp("1997-06-30")


def test_the_crisis_run_repeats_the_continuous_one_of_the_same_model(folder):
    decisions = pd.read_parquet(folder / "decisions.parquet")
    runs = {
        name: rows.set_index("session").drop(columns="run")
        for name, rows in decisions.groupby("run")
    }
    pd.testing.assert_frame_equal(
        runs[CRISIS], runs["out_of_sample"].loc[:"1997-10-27"], check_exact=True
    )


def test_the_model_is_described(record):
    (model,) = record["models"]
    assert model["trained_from"] == "1995-03-28"
    assert model["trained_until"] == "1997-06-27"
    assert model["n_optimizer_steps"] == 2 * 4 * 4
    assert model["n_purged"] == 6
    assert set(model["validation"]) >= {"accuracy", "majority_accuracy"}
    assert record["command"] == COMMAND
    assert set(record["seconds"]) >= {"labels", "training", "backtests", "report"}


def test_labels_and_features_are_those_of_the_functions(folder):
    bars = requested_bars(REQUEST)
    features = compute_features(bars)
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "features.parquet"), features.frame, check_exact=True
    )
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "labels.parquet"),
        compute_labels(bars, features),
        check_exact=True,
    )


def test_the_schema_travels_to_every_table_checkpoint_and_page(folder, summary):
    schema = compute_features(requested_bars(REQUEST)).schema
    assert "derived from S&P 500" in schema.provenance["bars"]
    assert "19 large stocks" in schema.provenance["members"]
    for table in ("features", "labels", "decisions"):
        attrs = pd.read_parquet(folder / f"{table}.parquet").attrs
        assert FeatureSchema.model_validate(attrs["feature_schema"]) == schema, table
    checkpoint = folder / "checkpoints" / CRISIS / "checkpoint.json"
    stored = json.loads(checkpoint.read_text())["feature_schema"]
    assert FeatureSchema.model_validate(stored) == schema
    assert summary["features"] == {
        "formula_version": schema.formula_version,
        "members": list(schema.members),
        "status": dict.fromkeys(FEATURE_NAMES, "proxy"),
    }
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert "with 19 members" in index


def test_provenance_is_shown_wherever_the_sample_is_used(folder, summary):
    words = "derived from S&P 500 and treasury-yield history; not SPY/TLT/VIX quotes"
    assert words in summary["bars"]["source"]
    assert summary["bars"]["derived"]
    for page in folder.rglob("*.html"):
        assert words.replace("&", "&amp;") in page.read_text(encoding="utf-8"), page


@pytest.mark.slow
def test_the_same_request_gives_the_same_bits(folder, tmp_path):
    again = tmp_path / "again"
    run(REQUEST, str(again))
    command = json.loads((again / "run.json").read_text())["command"]
    assert command == f"trm_bt.run('sample', '{again}')"
    weights = f"checkpoints/{CRISIS}/model.safetensors"
    assert (again / weights).read_bytes() == (folder / weights).read_bytes()
    for table in ("decisions", "weights", "orders", "equity"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(again / f"{table}.parquet"),
            pd.read_parquet(folder / f"{table}.parquet"),
            check_exact=True,
        )
    summaries = [(f / "summary.json").read_bytes() for f in (again, folder)]
    assert summaries[0] == summaries[1]


def test_bars_may_be_given_by_name_alone(tmp_path):
    with pytest.raises(BarsError, match="there is no such folder"):
        run(tmp_path / "bars", tmp_path / "out")
    with pytest.raises(BarsError, match="yaho: must be a folder"):
        run("yaho", tmp_path / "out")


def test_another_request_may_not_take_the_folder(folder):
    before = (folder / "run.json").read_bytes()
    other = RunRequest("sample", start="1993-01-04", end="1998-12-31")
    with pytest.raises(RunError, match="pass --force to replace it"):
        run(other, folder, command=COMMAND)
    assert (folder / "run.json").read_bytes() == before


def test_a_crisis_needs_history_before_it():
    bars = load_bars("sample", start="1996-01-02", end="2003-12-31")
    labels = compute_labels(bars, compute_features(bars))
    known_on = pd.DatetimeIndex(labels["known_on"])
    splits, listed = before_crises(bars.sessions, known_on, 504)
    plans = {plan.crisis.name: plan for plan in listed}
    asian, dot_com = plans[CRISIS], plans["dot_com_crash"]
    known = (known_on <= pd.Timestamp("1997-06-27")).sum()
    assert asian.first is None
    assert asian.reason == f"{known} labels known before it, a model needs 504"
    assert splits[0].frozen_on == pd.Timestamp("2000-03-07")
    assert dot_com.base == pd.Timestamp("2000-03-09")
    # The attacks closed the exchange: the first session of the window is 2001-09-17.
    assert plans["september_11"].base == pd.Timestamp("2001-09-10")
    assert np.all(bars.sessions != pd.Timestamp("2001-09-11"))
