"""Commands that train on several universes: what they load, record and refuse."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from tests.command_line import SMALL, invoke, write_folder
from tests.conftest import make_bars
from tests.test_fold_tasks import walk_forward
from trm_bt.audit.checks import AuditSettings
from trm_bt.audit.pooled import beside
from trm_bt.audit.setup import audit_setup, learned, train_frozen
from trm_bt.audit.training import audit_counterfactual_training
from trm_bt.cli.options import TrainingOptions
from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, RunError
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.market.features import compute_features
from trm_bt.market.labels import features_and_labels
from trm_bt.runfolder.records import RunRequest
from trm_bt.runfolder.store import read_run_record
from trm_bt.runs.fold_task import HashedBars, folds_by_key
from trm_bt.runs.pooled import training_universes, with_pooled
from trm_bt.runs.request import training_bars
from trm_bt.runs.run import run
from trm_bt.runs.work import lay_out

CALENDAR = {"first_decision": "2003-01-06", "retrain_every": 100, "n_seeds": 1}
SETTINGS = TRMConfig.model_validate({**SMALL, "walkforward": CALENDAR})
N_AHEAD = SETTINGS.labels.n_ahead


@pytest.fixture(scope="module")
def universes(tmp_path_factory):
    """Three of 900 sessions from 2001 on, and two that begin later."""
    folder = tmp_path_factory.mktemp("universes")
    made = {name: make_bars(900, seed) for seed, name in enumerate("abc")}
    made["late"] = made["c"].between(start="2002-01-02")
    made["short"] = made["c"].between(start="2003-01-02")
    return {name: str(write_folder(folder / name, bars)) for name, bars in made.items()}


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "small.json"
    path.write_text(json.dumps({**SMALL, "walkforward": CALENDAR}))
    return path


def request_of(universes, first, *further, **options):
    pooled = tuple(universes[name] for name in further)
    return RunRequest(universes[first], SETTINGS, pooled=pooled, **options)


def work_of(request):
    bars, pooled = training_universes(request)
    return lay_out(request, bars, pooled=pooled)


def test_the_first_bars_are_decided_and_all_are_trained_on():
    request = TrainingOptions(bars=("a", "b", "c"), accept=("wicks",)).request()

    assert (request.bars, request.pooled) == ("a", ("b", "c"))
    assert request.accept == ("wicks",)


def test_a_request_of_one_universe_is_written_as_before():
    written = TypeAdapter(RunRequest).dump_python(RunRequest("a"), mode="json")

    assert "pooled" not in written
    assert TypeAdapter(RunRequest).validate_python(written) == RunRequest("a")


def test_train_tells_what_each_universe_gave(universes, settings_file, tmp_path):
    out = tmp_path / "model"
    bars = [part for name in ("a", "b", "late") for part in ("--bars", universes[name])]

    code, told, _ = invoke("train", *bars, "--config", settings_file, "--out", out)

    assert code == 0
    record = load_checkpoint(out).record
    assert [rows.name for rows in record.pooled] == [universes["b"], universes["late"]]
    assert f"pooled {universes['late']}"[:40] in told
    card = (out / "MODEL_CARD.md").read_text()
    for rows in record.pooled:
        assert f"{rows.n_train} | {rows.train_start} | {rows.train_end}" in card
    n_pooled = sum(rows.n_train for rows in record.pooled)
    assert f"training rows {n_pooled} are from other universes" in card
    assert f"all rows count for {record.n_effective:,.0f}" in card
    assert str(record.pooled[1].train_start) > "2002-03"
    assert record.pooled[1].train_end < record.validation_start


def test_rows_of_a_fold_are_those_known_by_its_freeze_in_each_universe(universes):
    work = work_of(request_of(universes, "a", "b", "late", schedule="calendar"))

    for split in work.splits:
        found = work.job(split, 0).samples(work.lesson.samples)
        for rows, name in zip(found.universes, ("a", "b", "late"), strict=True):
            bars = training_bars(request_of(universes, name))
            labels = features_and_labels(bars, SETTINGS)[1]
            known = labels.index[labels["known_on"] <= split.frozen_on]
            assert rows.sessions.equals(pd.DatetimeIndex(known))


def test_a_window_holds_as_many_labels_of_each_universe(universes):
    walk = SETTINGS.walkforward.model_copy(update={"window": 300})
    config = SETTINGS.model_copy(update={"walkforward": walk})
    request = replace(
        request_of(universes, "a", "b", "late", schedule="calendar"), config=config
    )
    work = work_of(request)

    first, *_, last = work.splits
    lengths = [
        [len(rows) for rows in work.job(s, 0).samples(work.lesson.samples).universes]
        for s in (first, last)
    ]

    assert lengths[1] == [300, 300, 300]
    assert lengths[0][:2] == [300, 300]
    assert lengths[0][2] < 252


def test_pooled_models_read_core_inputs_of_the_sample_too():
    request = RunRequest("sample", start="2005-01-03", end="2006-12-29")

    assert training_bars(request).members is not None
    assert training_bars(replace(request, pooled=("b",))).members is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "b"), "has the bars of .*b. Give each `--bars` once"),
        (("a", "a"), "has the bars of .*a. Give each `--bars` once"),
        (("a", "short"), "needs 252 labels known .*short has [0-9]+. Leave it out"),
    ],
    ids=["doubled", "the first again", "too short"],
)
def test_universes_that_cannot_be_pooled_are_refused(universes, names, message):
    request = request_of(universes, *names, schedule="calendar")

    with pytest.raises(BarsError, match=message):
        work_of(request).check_jobs()


def test_a_universe_that_joins_a_later_fold_is_not_refused(universes):
    work = work_of(request_of(universes, "a", "late", schedule="calendar"))

    work.check_jobs()

    trainings = [work.job(s, 0).samples(work.lesson.samples) for s in work.splits]
    assert len(trainings[0].pooled[universes["late"]]) < 252


def test_features_of_another_schema_are_refused(full_bars):
    schema = compute_features(full_bars).schema
    labels = features_and_labels(full_bars, SETTINGS)[1]
    bare = make_bars(400, seed=3)

    with pytest.raises(BarsError, match="of the first and of x differ: members"):
        with_pooled(samples_from_labels(labels), {"x": bare}, schema, SETTINGS)


def test_folds_of_a_sweep_are_of_one_pool_and_of_no_other(universes):
    keys = []
    for further in ((), ("b",), ("late",), ("b", "late")):
        hashed = HashedBars.of(
            *training_universes(request_of(universes, "a", *further))
        )
        keys += folds_by_key(hashed, SETTINGS)
    assert len(set(keys)) == len(keys)

    useless = training_universes(request_of(universes, "a", "short"))
    with pytest.raises(BarsError, match="needs 252 labels"):
        folds_by_key(HashedBars.of(*useless), SETTINGS)


@pytest.mark.slow
def test_a_walk_forward_knows_its_universes_and_is_made_anew_for_others(
    universes, tmp_path
):
    request = request_of(universes, "a", "b", "late", schedule="calendar")
    out = tmp_path / "walk"

    run(request, out, executor=1)

    record = read_run_record(out)
    assert record.request == request
    digests = {
        universes[name]: training_bars(request_of(universes, name)).sha256()
        for name in ("b", "late")
    }
    assert {name: bars.sha256 for name, bars in record.pooled.items()} == digests
    joined = [[rows.name for rows in model.pooled] for model in record.models]
    assert joined[0] == [universes["b"]]
    assert joined[-1] == [universes["b"], universes["late"]]
    bars, pooled = training_universes(request)
    trial = walk_forward(bars, SETTINGS, pooled)
    walked = pd.read_parquet(out / "equity.parquet")["trm"]
    assert trial.equity.to_numpy()[1:].tolist() == walked.to_numpy()[1:].tolist()
    with pytest.raises(RunError, match="a run with other settings, bars"):
        run(replace(request, pooled=request.pooled[:1]), out, executor=1)


PLAIN = AuditSettings(rtol=0.0)
AUDITED = TRMConfig.model_validate({**SMALL, "labels": {"fill": "close"}})


def test_the_audit_changes_the_future_of_further_universes():
    first, other = make_bars(900), make_bars(900, seed=1)

    def leaking(given):
        """Learn from all of the other universe, whatever the freeze."""
        (found,) = beside(given, {"other": other}, AUDITED, 0).values()
        return {
            "own": float(given.bars.equity["close"].loc[: given.cut].mean()),
            "other": float(found.equity["close"].mean()),
        }

    def sound(given):
        (found,) = beside(given, {"other": other}, AUDITED, 0).values()
        closes = (bars.equity["close"].loc[: given.cut] for bars in (given.bars, found))
        own, others = (float(close.mean()) for close in closes)
        return {"own": own, "other": others}

    freezes = first.sessions[[400, 500]]
    found = [
        audit_counterfactual_training(f, first, PLAIN, freezes=freezes).difference
        for f in (sound, leaking)
    ]
    assert found[0] is None
    assert found[1].column.startswith("other")


@pytest.mark.parametrize("place", [0.5, 0.75])
def test_no_universe_tells_a_model_what_came_after_its_freeze(place):
    """Every price of the second universe changes from the session after the freeze."""
    first, other = make_bars(900), make_bars(900, seed=1)
    frozen_on = first.sessions[int(900 * place)]
    factors = np.where(other.sessions > frozen_on, 1.5, 1.0)
    prices = ["open", "high", "low", "close"]
    planted = replace(
        other, equity=other.equity.assign(**other.equity[prices].mul(factors, axis=0))
    )

    models = [
        learned(train_frozen(first, frozen_on, AUDITED, {"other": bars}))
        for bars in (other, planted, other.between(start="2001-02-01"))
    ]

    same = [
        all(np.array_equal(models[0][key], one[key]) for key in models[0])
        for one in models
    ]
    assert same == [True, True, False]


@pytest.mark.slow
def test_the_set_up_is_audited_with_all_universes():
    pooled = {
        "b": make_bars(900, seed=1),
        "late": make_bars(900, seed=2).between("2002-01-02"),
    }

    results = list(
        audit_setup(make_bars(900), AUDITED, AuditSettings(n_cuts=3), pooled=pooled)
    )

    assert [result.difference for result in results] == [None] * 7


def test_the_other_equity_funds_can_be_pooled(market_dir, tmp_path):
    """A folder of its own for each: the fund is the equity, SPY.csv, in it."""
    others = market_dir.parent / "universes"
    if not others.is_dir():
        pytest.skip("the other equity funds are not beside the checkout")
    found = []
    for name, fund in {
        "spy": market_dir / "SPY.csv",
        "efa": others / "EFA.csv",
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "SPY.csv").symlink_to(fund)
        for symbol in ("TLT", "VIX"):
            (folder / f"{symbol}.csv").symlink_to(market_dir / f"{symbol}.csv")
        found.append(str(folder))
    request = RunRequest(found[0], SETTINGS, end="2011-12-30", pooled=(found[1],))

    bars, pooled = training_universes(request)

    features, labels = features_and_labels(bars, SETTINGS)
    rows = with_pooled(samples_from_labels(labels), pooled, features.schema, SETTINGS)
    assert rows.sessions.equals(rows.pooled[found[1]].sessions)
    assert not np.array_equal(rows.returns, rows.pooled[found[1]].returns)
