"""Regimes against a plain loop and a napkin."""

import statistics

import numpy as np

from tests.conftest import make_bars
from trm_bt.config import LabelConfig, TrainingConfig, TRMConfig
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.rows import Rows
from trm_bt.market.allocations import Allocations
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.market.regimes import Regimes


def test_regimes_equal_a_plain_loop():
    rng = np.random.default_rng(3)
    returns = rng.normal(0.001, 0.03, (41, 4))
    variances = rng.gamma(2.0, 1e-4, (41, 4)) * [1.0, 3.0, 2.0, 1.0]

    found = Regimes.fit(returns, variances, 4.0)

    limit = statistics.median(variances[:, 1].tolist())
    best = {}
    for is_turbulent in (False, True):
        rows = [r for r in range(41) if (variances[r, 1] > limit) == is_turbulent]
        means = [
            statistics.fmean(returns[r, k] - 4.0 / 2 * variances[r, k] for r in rows)
            for k in range(4)
        ]
        best[is_turbulent] = means.index(max(means))
    assert found == Regimes(1, limit, best[False], best[True])


def test_regimes_on_a_napkin():
    # equity earns 1 % in calm sessions and loses 2 % in turbulent ones, cash nothing
    returns = np.array([[0.0, 0.01], [0.0, 0.01], [0.0, -0.02], [0.0, -0.02]])
    variances = np.array([[0.0, 1e-5], [0.0, 1e-5], [0.0, 1e-3], [0.0, 1e-3]])

    regimes = Regimes.fit(returns, variances, 1.0)

    assert (regimes.calm, regimes.turbulent) == (1, 0)
    later = np.array([[0.0, 5e-3], [0.0, 0.0]])
    assert regimes.allocations(later).tolist() == [0, 1]


def test_a_regime_charges_for_risk_as_the_labels_do():
    """Scores by mean-variance utility say what each allocation is worth."""
    bars = make_bars(700)
    paid = LabelConfig(objective="mean_variance", risk_aversion=5.0)
    labels = compute_labels(bars, compute_features(bars), paid)
    training = TrainingConfig(target="regime", risk_aversion=5.0)
    samples = samples_from_labels(labels)

    found = Rows(samples, samples, TRMConfig(training=training)).old.winners

    table = Allocations.of(None)
    variances = labels[list(table.columns("variance"))]
    riskiest = variances[variances.mean().idxmax()]
    is_turbulent = (riskiest > riskiest.median()).to_numpy()
    for rows in (is_turbulent, ~is_turbulent):
        worth = labels.loc[rows, list(table.columns("score"))].mean().to_numpy()
        assert set(found[rows].tolist()) == {int(worth.argmax())}
