"""Forecasts of variance against other libraries and loops."""

import numpy as np
import pytest
from statsmodels.api import OLS, add_constant

from trm_bt.market.variance import (
    MIN_OUTCOMES,
    ewma_variance,
    expanding_forecast,
    har_terms,
    mean_ahead,
)


def squares_of(n_sessions, seed=0):
    """Squared returns whose variance comes and goes; the first is none."""
    rng = np.random.default_rng(seed)
    logs = np.zeros(n_sessions)
    for t in range(1, n_sessions):
        logs[t] = 0.97 * logs[t - 1] + rng.normal(0.0, 0.25)
    squares = (0.01 * np.exp(logs / 2) * rng.standard_normal(n_sessions)) ** 2
    squares[0] = 0.0
    return squares


def test_ewma_is_the_weighted_mean_of_all_past_squares():
    squares = squares_of(300)
    found = ewma_variance(squares)
    assert np.isnan(found[:22]).all()
    for t in (22, 150, 299):
        past = squares[1 : t + 1][::-1]
        weights = [0.94**i for i in range(t)]
        expected = sum(w * r for w, r in zip(weights, past, strict=True)) / sum(weights)
        assert found[t] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("delay", [5, 6])
def test_the_regression_knows_only_outcomes_that_are_known(delay):
    squares = squares_of(900)
    terms, outcomes = har_terms(squares), mean_ahead(squares, 5)
    found = expanding_forecast(terms, outcomes, delay)
    first = 22 + MIN_OUTCOMES - 1 + delay
    assert np.isnan(found[:first]).all()
    n_replaced = 0
    for t in [first, *range(first + 1, 900, 13)]:
        rows = slice(22, t - delay + 1)
        known = outcomes[rows]
        fitted = OLS(known * 1e4, add_constant(terms[rows] * 1e4)).fit()
        expected = float(fitted.predict([1.0, *(terms[t] * 1e4)])[0]) / 1e4
        if not known.min() <= expected <= known.max():
            expected, n_replaced = known.mean(), n_replaced + 1
        assert found[t] == pytest.approx(expected, rel=1e-7)
    later = squares.copy()
    later[601:] *= 50.0
    changed = expanding_forecast(har_terms(later), mean_ahead(later, 5), delay)
    np.testing.assert_array_equal(changed[:601], found[:601])
    assert (changed[602:] != found[602:]).all()


def test_a_forecast_outside_what_was_seen_is_the_mean():
    """Two terms that determine the outcome, and a last row far beyond both."""
    rng = np.random.default_rng(4)
    terms = rng.uniform(1e-4, 2e-4, (400, 2))
    outcomes = terms @ [0.5, 0.25]
    terms[399] = [1.0, 1.0]
    terms[398] = [1.5e-4, 1.5e-4]
    found = expanding_forecast(terms, outcomes, 1)
    assert found[399] == pytest.approx(outcomes[:399].mean())
    assert found[398] == pytest.approx(0.75 * 1.5e-4)


def test_an_asset_that_never_moves_is_forecast_to_stay():
    found = expanding_forecast(np.zeros((400, 3)), np.zeros(400), 5)
    assert (found[300:] == 0.0).all()
