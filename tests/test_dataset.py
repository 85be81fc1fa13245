"""Samples, the purged split and the scaler."""

import numpy as np
import pandas as pd
import pytest

from tests.planted import N_AHEAD, planted_samples
from trm_bt.config import LabelConfig
from trm_bt.errors import BarsError
from trm_bt.learning.dataset import (
    Samples,
    Scaler,
    known_by,
    samples_from_labels,
    split_chronologically,
)
from trm_bt.market.bars import Bars
from trm_bt.market.features import FEATURE_NAMES, compute_features
from trm_bt.market.labels import compute_labels


@pytest.fixture(scope="module")
def labels(bars: Bars) -> pd.DataFrame:
    return compute_labels(bars, compute_features(bars))


def test_samples_carry_every_label_row(labels):
    samples = samples_from_labels(labels)

    assert len(samples) == len(labels)
    assert samples.features.shape == (len(labels), 10)
    assert samples.returns.shape == (len(labels), 8)
    assert samples.winners.dtype == np.int64
    row = 37
    assert samples.features[row, 3] == labels["volume_ratio"].iloc[row]
    assert samples.returns[row, 5] == labels["return_aggressive_growth"].iloc[row]
    assert samples.winners[row] == samples.returns[row].argmax()
    assert (samples.known_on > samples.sessions).all()


@pytest.mark.parametrize("objective", ["sharpe", "mean_variance"])
def test_samples_take_the_winners_of_any_objective(bars, labels, objective):
    config = LabelConfig(objective=objective, risk_aversion=20.0)
    other = compute_labels(bars, compute_features(bars), config)
    plain, samples = samples_from_labels(labels), samples_from_labels(other)
    assert samples.winners.tolist() == other["winner"].tolist()
    assert (samples.winners != plain.winners).any()
    np.testing.assert_array_equal(samples.returns, plain.returns)


def test_variances_are_those_of_the_table(bars, labels):
    samples = samples_from_labels(labels)
    one = samples_from_labels(
        compute_labels(bars, compute_features(bars), LabelConfig(horizon=1))
    )

    assert one.variances is None
    assert one.where(np.arange(len(one)) < 9).variances is None
    row = samples.where(np.arange(len(samples)) == 41)
    assert row.variances[0, 4] == labels["variance_growth"].iloc[41]


def test_a_variance_that_is_missing_is_named(labels):
    table = labels.copy()
    table.loc[table.index[7], "variance_balanced_safe"] = np.nan
    with pytest.raises(BarsError, match="`variance_balanced_safe` must be finite"):
        samples_from_labels(table)


def test_samples_refuse_what_is_not_finite(labels):
    broken = labels.copy()
    broken.loc[broken.index[5], "correlation"] = np.nan

    with pytest.raises(BarsError, match=f"correlation.*{labels.index[5].date()}"):
        samples_from_labels(broken)


@pytest.mark.parametrize("cut", [0, 1, 5, 6, 7, 100, 299, 305, 400])
def test_known_by_takes_rows_by_the_session_of_their_outcome(cut):
    samples = planted_samples(300)
    calendar = samples.sessions.union(samples.known_on)
    session = calendar[min(cut, len(calendar) - 1)]

    kept = known_by(samples, session)

    both = (samples.sessions, samples.known_on)
    expected = [s for s, k in zip(*both, strict=True) if k <= session]
    assert list(kept.sessions) == expected
    assert len(kept) == np.clip(cut - N_AHEAD + 1, 0, 300)


@pytest.mark.parametrize("n_rows", [20, 100, 301])
@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.4])
def test_split_purges_what_is_known_too_late(n_rows, fraction):
    samples = planted_samples(n_rows)

    old, new = split_chronologically(samples, fraction)

    assert len(new) == -(-n_rows * fraction // 1)
    assert new.sessions[-1] == samples.sessions[-1]
    assert (old.known_on < new.sessions[0]).all()
    assert len(samples) - len(old) - len(new) == N_AHEAD
    assert old.sessions[0] == samples.sessions[0]


@pytest.mark.parametrize("n_rows", [0, 1, 7])
def test_split_refuses_too_few_rows(n_rows):
    with pytest.raises(BarsError, match=f"got {n_rows} labels"):
        split_chronologically(planted_samples(n_rows), 0.4)


def test_scaler_standardises_what_it_was_fitted_on():
    features = planted_samples(500).features

    scaled = Scaler.fit(features).transform(features)

    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-6)


def test_scaler_by_hand():
    scaler = Scaler.fit(np.array([[1.0, 10.0], [3.0, 30.0]]))

    assert scaler.mean.tolist() == [2.0, 20.0]
    assert scaler.std.tolist() == [1.0, 10.0]
    assert scaler.transform(np.array([[4.0, 5.0]])).tolist() == [[2.0, -1.5]]


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e7])
def test_scaler_maps_a_constant_feature_to_zero(constant):
    features = np.column_stack([np.full(97, constant), np.arange(97.0)])

    scaled = Scaler.fit(features).transform(features)

    np.testing.assert_allclose(scaled[:, 0], 0, atol=1e-6)


def test_training_side_ignores_later_rows():
    """Changing rows after the training span leaves the scaler alone."""
    samples = planted_samples(200)
    old, _ = split_chronologically(samples, 0.2)
    features = samples.features.copy()
    features[len(old) :] += 100.0
    changed = Samples(
        samples.sessions, samples.known_on, features, samples.returns, samples.winners
    )

    other, _ = split_chronologically(changed, 0.2)

    assert Scaler.fit(other.features).mean.tolist() == (
        Scaler.fit(old.features).mean.tolist()
    )
    assert len(FEATURE_NAMES) == old.features.shape[1]
