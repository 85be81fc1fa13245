import json
import math
import multiprocessing
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.trials import (
    n_distinct,
    read_returns,
    read_trials,
    record_trial,
    sharpe_variance,
)


def walked(walk):
    """Returns of a walk, and the weights that made it."""
    sessions = pd.bdate_range("2020-01-01", periods=201)
    rng = np.random.default_rng(walk)
    steps = pd.Series(rng.normal(3e-4, 0.01, 200), sessions[1:])
    return steps, pd.DataFrame(rng.dirichlet(np.ones(3), 201), sessions)


def record(log, seed=0, *, bars="", walk=0, n_sessions=200, extra=0.0):
    """Record a walk; with `extra`, each session earned that much more."""
    steps, weights = walked(walk)
    growth = np.cumprod(np.r_[1.0, 1 + steps[:n_sessions] + extra])
    equity = pd.Series(100 * growth, weights.index[: n_sessions + 1])
    return record_trial(log, TRMConfig(seed=seed), bars, weights, equity, None)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "runs" / "trials"


def test_a_trial_says_what_was_run(log):
    trial = record(log, walk=4)
    steps = np.random.default_rng(4).normal(3e-4, 0.01, 200)
    expected = steps.mean() / steps.std(ddof=1) * math.sqrt(252)
    assert trial.sharpe == pytest.approx(expected)
    assert trial.n_sessions == 200
    assert str(trial.start) == "2020-01-02"
    assert len(trial.configuration) == len(trial.decisions) == 64


def test_the_log_has_one_file_a_trial(log):
    assert read_trials(log) == []
    made = [record(log, *seed_walk) for seed_walk in ((0,), (1,), (0,))]
    made += [record(log, 0, walk=1), record(log, 1)]
    recorded = read_trials(log)
    assert {trial.key for trial in recorded} == {trial.key for trial in made}
    assert {file.name for file in log.iterdir()} == {t.file_name for t in recorded}
    assert len(recorded) == 3


def test_a_trial_keeps_the_time_of_its_first_record(log):
    first = record(log)
    later = first.model_copy(
        update={"recorded_at": first.recorded_at - timedelta(days=1)}
    )
    table = parquet.read_table(log / first.file_name)
    rewrite(log / first.file_name, table, later.model_dump(mode="json"))
    record(log)
    assert read_trials(log) == [later]


def test_another_span_of_a_trial_is_no_other_trial(log):
    record(log)
    record(log, n_sessions=100)
    trials = read_trials(log)
    assert len(trials) == 2
    assert trials[0].sharpe != trials[1].sharpe
    assert n_distinct(trials) == 1
    record(log, 1)
    record(log, walk=1)
    assert n_distinct(read_trials(log)) == 3


def test_the_same_decisions_on_other_bars_are_another_trial(log):
    """Models that answer alike on two universes earn what each of the two earned."""
    record(log)
    record(log, bars="other", extra=0.001)
    trials = read_trials(log)
    assert n_distinct(trials) == len(trials) == 2
    assert len({trial.sharpe for trial in trials}) == 2


def record_some(log, seeds):
    for seed in seeds:
        record(log, seed)


@pytest.mark.slow
def test_processes_that_record_at_once_lose_nothing(log):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=record_some, args=(log, range(first, first + 8)))
        for first in (0, 4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(read_trials(log)) == 12
    assert len(list(log.iterdir())) == 12


def test_what_trials_earned_is_known_where_they_cover_the_sessions(log):
    record(log, walk=1)
    record(log, walk=2, n_sessions=150)
    record(log, walk=3)
    record(log, walk=3, n_sessions=120)  # the same trial over fewer
    trials = read_trials(log)
    sessions = walked(0)[0].index[20:160]
    known = read_returns(log, trials, sessions)
    expected = [walked(walk)[0].loc[sessions] for walk in (1, 3)]
    order = np.argsort([column.iloc[0] for _, column in known.items()])
    wanted = np.argsort([column.iloc[0] for column in expected])
    np.testing.assert_allclose(
        known.to_numpy().T[order], np.array(expected)[wanted], atol=1e-14
    )
    few = read_returns(log, trials, sessions[:100])
    assert few.shape == (100, 3)


def test_a_trial_over_the_same_sessions_goes_before_one_over_more(log):
    record(log)
    own = walked(0)[0][:120] + 0.001  # begun anew, it earns something else
    record(log, n_sessions=120, extra=0.001)
    known = read_returns(log, read_trials(log), pd.DatetimeIndex(own.index))
    np.testing.assert_allclose(known.to_numpy()[:, 0], own, atol=1e-14)


def rewrite(file, table, trial):
    metadata = {**table.schema.metadata, b"trm_bt.trial": json.dumps(trial)}
    parquet.write_table(table.replace_schema_metadata(metadata), file)


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more"])
def test_a_damaged_file_is_named_and_kept(log, content):
    file = log / record(log).file_name
    trials = read_trials(log)
    file.write_bytes(content)
    with pytest.raises(RunError, match=f"{file.name}: must hold a trial of this vers"):
        read_trials(log)
    with pytest.raises(RunError, match=f"{file.name}.*cannot be read.*Remove it"):
        read_returns(log, trials, pd.DatetimeIndex(walked(0)[0].index))
    record(log)
    assert file.read_bytes() == content


def test_a_table_that_is_no_trial_is_named(log):
    record(log)
    parquet.write_table(pa.table({"excess": [0.0]}), log / "other.parquet")
    with pytest.raises(RunError, match=r"other\.parquet.*--earlier-trials"):
        read_trials(log)


@pytest.mark.parametrize("change", [{"version": 2}, {"seed": 1}])
def test_a_trial_of_another_version_is_named(log, change):
    trial = record(log)
    file = log / trial.file_name
    rewrite(file, parquet.read_table(file), trial.model_dump(mode="json") | change)
    with pytest.raises(RunError, match="must hold a trial of this version"):
        read_trials(log)


@pytest.mark.parametrize("name", ["trials", "trials.jsonl"])
def test_a_log_of_an_earlier_version_is_refused(log, name):
    log.parent.mkdir()
    (log.parent / name).write_text("{}\n{}\n{}\n")
    with pytest.raises(RunError, match=r"holds 3 lines.*--earlier-trials 3"):
        read_trials(log)


def test_the_variance_across_trials_is_never_below_that_of_luck(log):
    made = record(log)
    trials = [
        made.model_copy(update={"sharpe": value}) for value in (0.1, 1.1, 2.1, None)
    ]
    assert sharpe_variance([t.sharpe for t in trials], 10_000) == pytest.approx(
        1.0 / 252
    )
    assert sharpe_variance([t.sharpe for t in trials], 101) == pytest.approx(0.01)
    assert sharpe_variance([trials[0].sharpe], 501) == pytest.approx(0.002)
