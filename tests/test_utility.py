"""Utilities and trading costs against plain loops and a napkin."""

import math
import statistics

import numpy as np
import pytest

from trm_bt.config import TrainingConfig
from trm_bt.market.utility import (
    decided_utilities,
    expected_returns,
    risk_utilities,
    session_utilities,
    turnover_costs,
)

MIXES = [
    (0.2, 0.5, 0.3),
    (0.4, 0.3, 0.3),
    (0.6, 0.2, 0.2),
    (0.7, 0.2, 0.1),
    (0.8, 0.15, 0.05),
    (0.9, 0.1, 0.0),
    (0.85, 0.15, 0.0),
    (0.75, 0.25, 0.0),
]
"""Equity, bond and cash of the eight allocations, class index first."""


def plain_cost(before, allocation, bps):
    equity = abs(MIXES[allocation][0] - before[0])
    bond = abs(MIXES[allocation][1] - before[1])
    return bps / 10_000 * (equity + bond)


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


def test_turnover_costs_equal_a_plain_loop():
    rng = np.random.default_rng(1)
    before = rng.dirichlet(np.ones(3), 9)

    found = turnover_costs(before, TrainingConfig(turnover_cost_bps=12.5))

    expected = [[plain_cost(row, k, 12.5) for k in range(8)] for row in before]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-18)


def test_cash_is_traded_for_nothing():
    # out of all cash into 20 % equity and 50 % bond: 70 % of the value at 10 bp
    costs = turnover_costs(
        np.array([[0.0, 0.0, 1.0]]), TrainingConfig(turnover_cost_bps=10)
    )

    assert costs[0, 0] == pytest.approx(0.0007)


def test_decided_utilities_equal_a_plain_loop():
    rng = np.random.default_rng(2)
    utilities, choices = rng.normal(0, 0.01, (40, 8)), rng.integers(0, 8, 40)

    found = decided_utilities(utilities, choices, TrainingConfig(turnover_cost_bps=30))

    expected, held = [], MIXES[choices[0]]
    for row, choice in enumerate(choices):
        expected.append(utilities[row, choice] - plain_cost(held, choice, 30))
        held = MIXES[choice]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[0] == utilities[0, choices[0]]


def test_staying_is_free_and_moving_is_not():
    # from class 0 to class 5: 70 % of equity bought and 40 % of bond sold, at 10 bp
    worth = np.full((3, 8), 0.01)

    found = decided_utilities(
        worth, np.array([0, 0, 5]), TrainingConfig(turnover_cost_bps=10)
    )

    assert found.tolist() == pytest.approx([0.01, 0.01, 0.01 - 0.0011])
