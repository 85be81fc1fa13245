"""Folds of a sweep: each is done once, by what it reads, whoever needs it."""

import numpy as np
import pandas as pd
import pytest

from tests.command_line import write_folder
from tests.conftest import make_bars
from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.workers import train_job
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs import fold_task
from trm_bt.runs.backtests import RecordedPolicy, allocate
from trm_bt.runs.fold_task import (
    HashedBars,
    decide_fold,
    folds_by_key,
    read_fold,
    trained_settings,
)
from trm_bt.runs.grid import Grid, SweepRequest, settings_at
from trm_bt.runs.request import training_bars
from trm_bt.runs.sweep import sweep
from trm_bt.runs.trial import pack_trial, trade_folds
from trm_bt.runs.work import lay_out

SETTINGS = {
    "seed": 5,
    "features": {"put_call_long_lookback": 60},
    "model": {"hidden_dim": 16, "num_latent_steps": 1, "num_recursion_cycles": 1},
    "training": {
        "epochs": 1,
        "max_batches_per_epoch": 1,
        "n_supervision_steps": 1,
        "min_labels": 60,
    },
    "walkforward": {"n_seeds": 2, "retrain_every": 30},
    "strategy": {"n_averaged": 1},
}
CONFIG = TRMConfig.model_validate(SETTINGS)
CHANGED = {
    "seed": 6,
    "bars.long_bond": "none",
    "bars.history": "index",
    "training.min_labels": 61,
    "walkforward.first_decision": "2001-08-01",
    "walkforward.retrain_every": 40,
    "walkforward.retrain_on": ["2001-08-01"],
    "walkforward.window": 70,
    "walkforward.embargo": 1,
    "walkforward.n_seeds": 3,
    "strategy.decision": "argmax",
    "strategy.n_averaged": 3,
    "strategy.min_confidence": 0.2,
    "strategy.rebalance_band": 0.1,
    "strategy.min_trade_value": 100.0,
    "strategy.max_gap": 0.1,
    "strategy.schedule": "weekly",
    "backtest.initial_cash": 1000.0,
    "backtest.cost_bps": 1.0,
}
"""Another value of each setting that `trained_settings` resets."""


def walk_forward(bars, config, pooled=None):
    """Train, decide and backtest fold by fold, in this process and without a folder."""
    hashed, settings = HashedBars.of(bars, pooled), trained_settings(config)
    folds = folds_by_key(hashed, config).values()
    return trade_folds(bars, config, [decide_fold(hashed, settings, f) for f in folds])


@pytest.fixture(scope="module")
def universe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bars") / "1"
    return str(write_folder(folder, make_bars(200, seed=1)))


@pytest.fixture(scope="module")
def bars(universe):
    return HashedBars.of(training_bars(RunRequest(universe, CONFIG)))


def make_request(universe, points, n_seeds=1):
    request = RunRequest(universe, CONFIG, schedule="calendar")
    return SweepRequest((request,), Grid({}, points), n_seeds=n_seeds)


def files(out, kind):
    return {path.name: path.read_bytes() for path in (out / kind).iterdir()}


def last_state(request, out, **options):
    states = []
    judged = sweep(request, out, executor=1, on_state=states.append, **options)
    return judged, states[-1]


def all_settings(part=CONFIG, prefix=""):
    for name in type(part).model_fields:
        value = getattr(part, name)
        if hasattr(type(value), "model_fields"):
            yield from all_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_settings_that_only_weigh_share_folds_and_equal_separate_walk_forwards(
    bars, universe, tmp_path
):
    points = [
        {"strategy.decision": decision, "backtest.cost_bps": cost}
        for decision in ("argmax", "blend")
        for cost in (0.0, 5.0)
    ]
    out = tmp_path / "s"

    _, state = last_state(make_request(universe, points), out)

    n_folds = len(folds_by_key(bars, CONFIG))
    assert n_folds == 2 * 3
    assert len(files(out, "folds")) == state.folds.n_done == n_folds
    contents = [c.partition(b"\n")[2] for c in files(out, "results").values()]
    for point in points:
        alone = walk_forward(bars.bars, settings_at(CONFIG, point))
        assert contents.count(pack_trial(alone)) == 1


def test_a_walk_forward_is_what_the_models_of_all_seeds_decide_together(bars):
    request = RunRequest("", CONFIG, schedule="calendar")
    work, decisions = lay_out(request, bars.bars), []
    for split in work.splits:
        models = [train_job(work.job(split, seed), work.lesson) for seed in work.seeds]
        decisions += work.decide(TRMPolicy(*[[model] for model in models]), split)
    recorded = RecordedPolicy(work.features.schema, decisions)
    expected = allocate(bars.bars, recorded, recorded.first, request)

    found = walk_forward(bars.bars, CONFIG)

    assert len(work.splits) == 3
    assert pack_trial(found) == pack_trial(expected)
    pd.testing.assert_frame_equal(found.decisions, expected.decisions, check_exact=True)


def test_ensembles_of_other_sizes_share_members(universe, tmp_path):
    points = [{"walkforward.n_seeds": n} for n in (1, 2, 3)]

    _, state = last_state(make_request(universe, points, n_seeds=2), tmp_path / "s")

    # seeds 5, 6; 5 to 8; 5 to 10, of three folds each
    assert state.folds.n_done == 6 * 3
    assert state.trials.n_done == 3 * 2


def test_a_sweep_that_was_stopped_does_the_missing_folds_alone(universe, tmp_path):
    request, out = make_request(universe, [{}]), tmp_path / "s"

    def stop(state):
        if state.folds.n_done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(request, out, executor=1, on_state=stop)
    kept = files(out, "folds")
    assert (len(kept), files(out, "results")) == (4, {})

    judged, state = last_state(request, out)
    assert (state.folds.n_found, state.folds.n_done) == (4, 2)
    assert kept.items() <= files(out, "folds").items()

    for path in (out / "folds").iterdir():
        path.unlink()
    again, state = last_state(request, out)  # a trial that is done needs no folds
    assert (state.folds.n_total, state.trials.n_found) == (0, 1)
    assert again == judged


def test_a_fold_that_fails_fails_the_trials_that_need_it_alone(universe, tmp_path):
    diverging = {"training.learning_rate": 1e3, "training.weight_decay": 1e6}
    points = [
        {"strategy.decision": decision, "training.epochs": 8} | more
        for more in ({}, diverging)
        for decision in ("argmax", "blend")
    ]

    judged, state = last_state(make_request(universe, points), tmp_path / "s")

    assert len(judged.ranking) == 2
    assert len(judged.failed) == state.trials.n_failed == 2
    for name, error in judged.failed.items():
        assert "training.learning_rate 1000.0" in name
        assert error.startswith("TRMError: The loss of model 2001-")
    assert state.folds.n_failed == len(files(tmp_path / "s", "folds")) == 6


def test_a_damaged_fold_is_refused_by_name(universe, tmp_path):
    request, out = make_request(universe, [{}]), tmp_path / "s"
    sweep(request, out, executor=1)
    for path in (out / "results").iterdir():
        path.unlink()
    damaged = min((out / "folds").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])

    with pytest.raises(RunError, match=damaged.name):
        sweep(request, out, executor=1)


def settings_with(name, value):
    """Return settings with one other, which need not fit the rest."""
    section, _, key = name.partition(".")
    if not key:
        return CONFIG.model_copy(update={section: value})
    part = getattr(CONFIG, section).model_copy(update={key: value})
    return CONFIG.model_copy(update={section: part})


@pytest.fixture(scope="module")
def first_fold(bars):
    fold = next(iter(folds_by_key(bars, CONFIG).values()))
    return fold, decide_fold(bars, trained_settings(CONFIG), fold)


@pytest.mark.parametrize("name", list(all_settings()))
def test_what_is_not_in_the_key_of_a_fold_is_not_read_by_it(name, bars, first_fold):
    fold, expected = first_fold
    config = settings_with(name, CHANGED.get(name, "another value"))

    if trained_settings(config) != trained_settings(CONFIG):
        assert name not in CHANGED  # it is in the key
        return
    assert name in CHANGED
    assert decide_fold(bars, config, fold) == expected


def test_a_key_tells_folds_of_other_bars_settings_seeds_and_rows_apart(bars):
    first = next(iter(folds_by_key(bars, CONFIG)))
    others = [
        *list(folds_by_key(bars, CONFIG))[1:],
        *folds_by_key(HashedBars.of(make_bars(200, seed=2)), CONFIG),
        *folds_by_key(bars, settings_at(CONFIG, {"training.epochs": 2})),
        *folds_by_key(bars, settings_at(CONFIG, {"labels.horizon": 6})),
        *list(folds_by_key(bars, settings_at(CONFIG, {"walkforward.window": 60})))[1:3],
        *folds_by_key(bars, settings_at(CONFIG, {"walkforward.embargo": 1})),
    ]

    assert first not in others
    assert len(set(others)) == len(others)


def test_decisions_are_read_as_they_were_made(bars):
    fold = next(iter(folds_by_key(bars, CONFIG).values()))
    content = decide_fold(bars, trained_settings(CONFIG), fold)

    read = read_fold(content)

    span = bars.bars.sessions[fold.split.mask(bars.bars.sessions)]
    assert [d.decided_on for d in read] == list(span)
    assert {d.model for d in read} == {fold.job.name}
    assert all(abs(d.probabilities.sum() - 1) < 1e-12 for d in read)
    assert np.unique([d.probabilities for d in read], axis=0).shape[0] > 1
    with pytest.raises(RunError, match="must be a table of decisions"):
        read_fold(content[:-9])


def test_features_and_labels_are_computed_once_for_all_folds(bars):
    fold_task._prepared.cache_clear()
    walk_forward(bars.bars, CONFIG)
    assert fold_task._prepared.cache_info().misses == 1
