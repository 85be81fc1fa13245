import math
import multiprocessing
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.trials import (
    n_distinct,
    read_returns,
    read_trials,
    record_trial,
    sharpe_variance,
    trial_of,
)

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def walked(walk):
    """Returns of a walk, and the weights that made it."""
    sessions = pd.bdate_range("2020-01-01", periods=201)
    rng = np.random.default_rng(walk)
    steps = pd.Series(rng.normal(3e-4, 0.01, 200), sessions[1:])
    return steps, pd.DataFrame(rng.dirichlet(np.ones(3), 201), sessions)


def made(seed=0, *, walk=0, n_sessions=200):
    steps, weights = walked(walk)
    growth = np.cumprod(np.r_[1.0, 1 + steps[:n_sessions]])
    equity = pd.Series(100 * growth, weights.index[: n_sessions + 1])
    return trial_of(TRMConfig(seed=seed), weights, equity, None, NOW)


def record(log, seed=0, *, walk=0, n_sessions=200):
    trial = made(seed, walk=walk, n_sessions=n_sessions)
    return record_trial(log, trial, walked(walk)[0][:n_sessions])


def test_a_trial_says_what_was_run():
    trial = made(walk=4)
    steps = np.random.default_rng(4).normal(3e-4, 0.01, 200)
    expected = steps.mean() / steps.std(ddof=1) * math.sqrt(252)
    assert trial.sharpe == pytest.approx(expected)
    assert trial.n_sessions == 200
    assert str(trial.start) == "2020-01-02"
    assert len(trial.configuration) == len(trial.decisions) == 64


def test_the_log_keeps_each_trial_once(tmp_path):
    log = tmp_path / "runs" / "trials.jsonl"
    assert read_trials(log) == []
    for seed, walk in ((0, 0), (1, 0), (0, 0), (0, 1), (1, 0)):
        recorded = record(log, seed, walk=walk)
    assert [t.key for t in recorded] == [
        made(0).key,
        made(1).key,
        made(0, walk=1).key,
    ]
    assert read_trials(log) == recorded
    assert len(log.read_text().splitlines()) == 3


def test_another_span_of_a_trial_is_no_other_trial(tmp_path):
    log = tmp_path / "trials.jsonl"
    record(log)
    trials = record(log, n_sessions=100)
    assert len(trials) == len(read_trials(log)) == 2
    assert trials[0].sharpe != trials[1].sharpe
    assert n_distinct(trials) == 1
    assert n_distinct([*trials, made(1), made(0, walk=1)]) == 3


def record_some(log, seeds):
    for seed in seeds:
        record(log, seed)


def test_processes_that_record_at_once_lose_nothing(tmp_path):
    log = tmp_path / "trials.jsonl"
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
    assert len({trial.key for trial in read_trials(log)}) == 12


def test_what_trials_earned_is_known_where_they_cover_the_sessions(tmp_path):
    log = tmp_path / "trials.jsonl"
    record(log, walk=1)
    record(log, walk=2, n_sessions=150)
    record(log, walk=3)
    trials = record(log, walk=3, n_sessions=120)  # the same trial over fewer
    sessions = walked(0)[0].index[20:160]
    known = read_returns(log, trials, sessions)
    expected = [walked(walk)[0].loc[sessions] for walk in (1, 3)]
    np.testing.assert_array_equal(known.to_numpy().T, expected)
    few = read_returns(log, trials, sessions[:100])
    assert few.shape == (100, 3)


def test_a_trial_over_the_same_sessions_goes_before_one_over_more(tmp_path):
    log = tmp_path / "trials.jsonl"
    record(log)
    own = walked(0)[0][:120] + 0.001  # begun anew, it earns something else
    trials = record_trial(log, made(n_sessions=120), own)
    known = read_returns(log, trials, pd.DatetimeIndex(own.index))
    np.testing.assert_array_equal(known.to_numpy()[:, 0], own)


def test_a_log_that_is_older_than_returns_gains_them_with_the_next_record(tmp_path):
    log = tmp_path / "trials.jsonl"
    (trial,) = record(log)
    sessions = pd.DatetimeIndex(walked(0)[0].index)
    (file,) = log.with_suffix(".returns").iterdir()
    file.unlink()
    assert read_returns(log, [trial], sessions).shape == (200, 0)
    record(log)
    assert read_returns(log, [trial], sessions).shape == (200, 1)
    assert len(read_trials(log)) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more"])
def test_returns_that_cannot_be_read_are_named(tmp_path, content):
    log = tmp_path / "trials.jsonl"
    trials = record(log)
    (file,) = log.with_suffix(".returns").iterdir()
    file.write_bytes(content)
    with pytest.raises(RunError, match=f"{file.name}.*cannot be read.*Remove it"):
        read_returns(log, trials, pd.DatetimeIndex(walked(0)[0].index))


@pytest.mark.parametrize("line", ["{}", "not json", '{"configuration": "a"}'])
def test_a_line_that_is_no_trial_is_named_and_kept(tmp_path, line):
    log = tmp_path / "trials.jsonl"
    record(log)
    log.write_text(log.read_text() + line + "\n")
    before = log.read_text()
    with pytest.raises(RunError, match="line 2 must be a trial"):
        record(log, 1)
    assert log.read_text() == before


def test_the_variance_across_trials_is_never_below_that_of_luck():
    trials = [
        made().model_copy(update={"sharpe": value}) for value in (0.1, 1.1, 2.1, None)
    ]
    assert sharpe_variance(trials, 10_000) == pytest.approx(1.0 / 252)
    assert sharpe_variance(trials, 101) == pytest.approx(0.01)
    assert sharpe_variance(trials[:1], 501) == pytest.approx(0.002)
