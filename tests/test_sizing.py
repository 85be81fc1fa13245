"""Sizing, held against bisection: what the formulas must satisfy, searched for."""

import numpy as np
import pytest

from trm_bt.strategies.sizing import (
    CASH_RESERVE,
    affordable_share,
    drift,
    target_values,
)

RNG = np.random.default_rng(3)
CASES = [
    (
        RNG.dirichlet([1.0, 1.0, 1.0])[:2],
        RNG.uniform(0.0, 100.0, 2),
        float(RNG.uniform(0.0, 50.0)),
        RNG.uniform(0.0, 0.05, 2),
    )
    for _ in range(40)
]


def bisect(is_too_much, low, high):
    """Find the largest number that is not too much, by halving."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if is_too_much(middle) else (middle, high)
    return low


@pytest.mark.parametrize(("weights", "held", "cash", "rates"), CASES)
def test_costs_and_targets_use_up_the_value(weights, held, cash, rates):
    value = cash + held.sum()

    def costs_more_than_there_is(left):
        costs = sum(
            rate * abs(weight * left - now)
            for weight, now, rate in zip(weights, held, rates, strict=True)
        )
        return left + costs > value * (1 - CASH_RESERVE)

    left = bisect(costs_more_than_there_is, 0.0, 2 * value)
    got = target_values(weights, held, cash, rates)
    np.testing.assert_allclose(got, weights * left, rtol=1e-12)


def test_without_costs_targets_are_shares_of_the_value():
    got = target_values([0.25, 0.5], [30.0, 10.0], 60.0, [0.0, 0.0])
    assert got == [0.25 * 100.0 * (1 - CASH_RESERVE), 0.5 * 100.0 * (1 - CASH_RESERVE)]


def flat_and_share(size, price):
    """Charge one unit of currency a trade, and a hundredth of the value."""
    return 1.0 + 0.01 * size * price


def per_share(size, price):
    """Charge a twentieth of a unit a share, at any price."""
    return 0.05 * size


@pytest.mark.parametrize(
    ("trades", "cash"),
    [
        ((10.0, 4.0), 90.0),
        ((10.0, -4.0), 50.0),
        ((-3.0, 10.0), 20.0),
        ((10.0, 0.0), 55.5),
        ((0.0, 8.0), 40.0),
    ],
)
def test_buys_are_cut_to_what_cash_and_sells_pay_for(trades, cash):
    prices, gaps = (10.0, 7.0), (0.1, 0.2)
    commissions = (flat_and_share, per_share)
    need = paid_in = 0.0
    for trade, price, gap, commission in zip(
        trades, prices, gaps, commissions, strict=True
    ):
        if trade > 0:
            dear = price + gap * price
            need += trade * dear + commission(trade, dear)
        if trade < 0:
            cheap = price - gap * price
            paid_in += -trade * cheap - commission(-trade, cheap)
    limit = bisect(lambda share: share * need > cash + paid_in, 0.0, 1.0)
    got = affordable_share(trades, prices, cash, gaps, commissions)
    assert got == pytest.approx(limit, rel=1e-8)
    assert got < limit or limit == 0.0


def test_cash_that_is_enough_to_the_last_unit_buys_all():
    free = [lambda size, price: 0.0] * 2
    exact = affordable_share([4.0, 3.0], [10.0, 20.0], 100.0, [0.0, 0.0], free)
    assert exact == 1.0
    short = affordable_share([4.0, 3.0], [10.0, 20.0], 99.0, [0.0, 0.0], free)
    assert short == pytest.approx(0.99, rel=1e-8)


def test_nothing_to_trade_and_nothing_to_pay_with():
    free = [lambda size, price: 0.0] * 2
    assert affordable_share([0.0, 0.0], [10.0, 20.0], 0.0, [0.1, 0.1], free) == 1.0
    assert affordable_share([1.0, 0.0], [10.0, 20.0], -5.0, [0.1, 0.1], free) == 0.0


def test_assets_of_unequal_number_are_refused():
    free = [lambda size, price: 0.0] * 2
    with pytest.raises(ValueError, match="zip"):
        target_values([0.5, 0.5], [1.0], 1.0, [0.0, 0.0])
    with pytest.raises(ValueError, match="zip"):
        target_values([0.5], [1.0], 1.0, [0.0, 0.0])
    with pytest.raises(ValueError, match="zip"):
        affordable_share([1.0], [1.0, 1.0], 1.0, [0.0, 0.0], free)
    with pytest.raises(ValueError, match="zip"):
        drift([0.5], [1.0, 2.0], 1.0)


@pytest.mark.parametrize(("weights", "held", "cash", "_"), CASES)
def test_drift_is_the_largest_gap_of_a_weight(weights, held, cash, _):
    value = held.sum() + cash
    actual = [*(held / value), cash / value]
    wanted = [*weights, 1 - weights.sum()]
    gaps = [abs(a - w) for a, w in zip(actual, wanted, strict=True)]
    assert drift(weights, held, cash) == pytest.approx(max(gaps), rel=1e-12)
