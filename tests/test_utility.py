"""Utilities against plain loops and a napkin."""

import math
import statistics

import numpy as np
import pytest

from trm_bt.config import TrainingConfig
from trm_bt.market.utility import expected_returns, risk_utilities, session_utilities


@pytest.mark.parametrize(
    ("utility", "formula"),
    [
        ("linear", lambda r: r / 5),
        ("log", lambda r: math.log(1 + r) / 5),
        ("mean_variance", lambda r: (r - 7 / 2 * r * r) / 5),
    ],
)
def test_session_utilities_equal_a_plain_loop(utility, formula):
    returns = np.random.default_rng(0).normal(0, 0.04, (11, 8))
    config = TrainingConfig(utility=utility, risk_aversion=7.0)

    found = session_utilities(returns, 5, config)

    expected = [[formula(r) for r in row] for row in returns.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-16)


def test_utilities_on_a_napkin():
    # ten percent in five sessions, at a risk aversion of 3
    ten = np.array([[0.10]])

    def utility(name):
        config = TrainingConfig(utility=name, risk_aversion=3.0)
        return session_utilities(ten, 5, config).item()

    assert utility("linear") == pytest.approx(0.02)
    assert utility("log") == pytest.approx(0.0953102 / 5, abs=1e-8)
    assert utility("mean_variance") == pytest.approx(0.017)  # (0.1 - 0.015) / 5


def test_expected_returns_are_means_or_paid_by_risk():
    returns = np.random.default_rng(4).normal(0.001, [0.01] * 4 + [0.03] * 4, (90, 8))

    means = expected_returns(returns, 10, TrainingConfig(prior_sharpe=None))
    paid = expected_returns(returns, 10, TrainingConfig(prior_sharpe=0.4))

    for k in range(8):
        column = returns[:, k].tolist()
        assert means[k] == pytest.approx(statistics.fmean(column), rel=1e-12)
        # 0.4 a year of 252 sessions, over 10 of them
        per_risk = 0.4 * math.sqrt(10 / 252)
        assert paid[k] == pytest.approx(per_risk * statistics.pstdev(column), rel=1e-12)


def test_risk_utilities_on_a_napkin():
    # 0.5 % expected in five sessions; at an aversion of 4, deviations of 2.236 % and
    # 5.916 % over them take 0.1 % and 0.7 %
    config = TrainingConfig(risk_aversion=4.0)
    found = risk_utilities(np.array([0.005]), np.array([[0.0005], [0.0035]]), 5, config)
    assert found.ravel().tolist() == pytest.approx([0.0008, -0.0004])
