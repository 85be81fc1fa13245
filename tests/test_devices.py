"""What was tried beside the settings does what its words say."""

import statistics

import numpy as np
import pandas as pd
import pytest

from benchmarks.ablation.folds import Fold
from benchmarks.selection import devices
from benchmarks.selection.candidates import CANDIDATES
from benchmarks.selection.trainings import trainings_of
from trm_bt.learning.dataset import Samples
from trm_bt.market.allocations import ALLOCATION_WEIGHTS

N_KNOWN, N_TEST = 900, 40


def rows_of(features, rng):
    n_rows = len(features)
    sessions = pd.bdate_range("2000-01-03", periods=n_rows)
    returns = rng.normal(0.0, 0.01, (n_rows, 8))
    return Samples(sessions, sessions, features, returns, returns.argmax(axis=1))


@pytest.fixture
def rng():
    return np.random.default_rng(6)


@pytest.fixture
def fold(rng):
    features = rng.normal(3.0, 2.0, (N_KNOWN + N_TEST, 10)).cumsum(axis=0)
    known, test = features[:N_KNOWN], features[N_KNOWN:]
    return Fold("one", rows_of(known, rng), rows_of(test, rng))


def test_rolling_inputs_are_in_units_of_the_last_three_years(fold):
    scaled = devices.rolling(fold)
    assert len(scaled.known) == N_KNOWN - 251
    assert scaled.known.sessions[0] == fold.known.sessions[251]
    every = np.concatenate([fold.known.features, fold.test.features])
    for row, found in (
        (251, scaled.known.features[0]),
        (920, scaled.test.features[20]),
    ):
        for column in (0, 7):
            window = every[max(row - 755, 0) : row + 1, column].tolist()
            centre, spread = statistics.fmean(window), statistics.stdev(window)
            expected = (window[-1] - centre) / spread
            assert found[column] == pytest.approx(expected, rel=1e-9)


def test_later_rows_change_no_rolling_input(fold, rng):
    later = rows_of(fold.test.features + rng.normal(9.0, 1.0, (N_TEST, 10)), rng)
    changed = devices.rolling(Fold("one", fold.known, later))
    np.testing.assert_array_equal(
        devices.rolling(fold).known.features, changed.known.features
    )


def test_robust_inputs_come_from_the_known_rows_alone(fold):
    scaled = devices.robust(fold)
    column = sorted(fold.known.features[:, 4].tolist())
    low, centre, high = statistics.quantiles(column, n=4, method="inclusive")
    spread = (high - low) / 1.3489795
    for found, raw in (
        (scaled.known.features[5, 4], fold.known.features[5, 4]),
        (scaled.test.features[5, 4], fold.test.features[5, 4]),
    ):
        expected = min(max((raw - centre) / spread, -3.0), 3.0)
        assert found == pytest.approx(expected, rel=1e-6)


def test_rearranged_answers_never_hold_more_equity_at_a_higher_level(rng):
    known = rng.normal(18.0, 5.0, (200, 10))
    row = rng.normal(18.0, 5.0, 10)
    same = np.tile(row, (30, 1))
    same[:, 0] = np.linspace(1.0, 60.0, 30)  # one day, at thirty levels
    points = devices.grid(same, known)
    assert points[:, 0].tolist() == same.tolist()
    # what is said depends on the level alone, and anything but falls with it
    share = 0.5 + 0.4 * np.sin(points[:, :, 0])
    said = np.zeros((30, 11, 8))
    said[:, :, 5], said[:, :, 0] = share, 1.0 - share
    kept = devices.rearranged(points, said)
    raw, sorted_ = (p @ ALLOCATION_WEIGHTS[:, 0] for p in (said[:, 0], kept))
    assert (np.diff(raw) > 0).any()
    for place, level in enumerate(same[:, 0]):
        heard = sorted((said[place] @ ALLOCATION_WEIGHTS[:, 0]).tolist(), reverse=True)
        n_lower = sum(other < level for other in points[place, 1:, 0])
        assert sorted_[place] == pytest.approx(heard[n_lower])


def test_what_falls_already_is_left_as_it_is(rng):
    points = devices.grid(rng.normal(18, 5, (20, 10)), rng.normal(18, 5, (99, 10)))
    share = 1.0 / (1.0 + np.exp(points[:, :, 0] - 18.0))
    said = np.zeros((20, 11, 8))
    said[:, :, 5], said[:, :, 0] = share, 1.0 - share
    np.testing.assert_array_equal(devices.rearranged(points, said), said[:, 0])


def test_answers_are_drawn_to_the_best_allocation_as_far_as_validation_likes(rng):
    def earning(column, n_rows):
        rows = rows_of(np.zeros((n_rows, 10)), rng)
        rows.returns[:] = 0.0
        rows.returns[:, column] = 0.01
        return rows

    said = rng.dirichlet(np.ones(8), 6)
    uniform = np.full((50, 8), 0.125)
    best = np.eye(8)[3]
    for new, share in ((earning(3, 50), 1.0), (earning(4, 50), 0.0)):
        found = devices.shrunk(said, uniform, earning(3, 80), new)
        np.testing.assert_allclose(found, share * best + (1 - share) * said)


def test_pooled_models_decide_all_the_later_spans(fold):
    folds = [Fold(name, fold.known, fold.test) for name in "abc"]
    by_device = {one.device: one for one in CANDIDATES}
    pooled = trainings_of(by_device["pooled"], 1, folds)
    assert ["".join(f.name for f in one.decided) for one in pooled] == [
        "abc",
        "bc",
        "c",
    ]
    alone = trainings_of(by_device["rolling"], 1, folds)
    assert ["".join(f.name for f in one.decided) for one in alone] == ["a", "b", "c"]
