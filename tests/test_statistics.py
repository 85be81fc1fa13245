import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from trm_bt.errors import ConfigError
from trm_bt.evaluation.overfitting import backtest_overfitting
from trm_bt.evaluation.regression import alpha
from trm_bt.evaluation.statistics import (
    Resampling,
    block_length,
    confidence_set,
    expected_best_sharpe,
    interval,
    lead,
    probabilistic_sharpe,
    resampled_sharpes,
    sharpe_ratios,
    superiority,
)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_sharpe_ratios_are_means_over_deviations(rng):
    excess = rng.normal(1e-4, 0.01, (50, 2))
    expected = [
        statistics.fmean(column) / statistics.stdev(column) for column in excess.T
    ]
    np.testing.assert_allclose(sharpe_ratios(excess), expected)
    assert math.isnan(sharpe_ratios(np.full((50, 1), 1e-4))[0])


def test_the_deflated_ratio_is_that_of_the_paper():
    """Bailey and López de Prado 2014: 2.5 a year over 1,250 sessions, skew -3."""
    found = 2.5 / math.sqrt(250)

    def deflated(n_trials, skew, kurtosis):
        best = expected_best_sharpe(0.5 / 250, n_trials)
        return probabilistic_sharpe(found, best, 1250, skew, kurtosis)

    assert deflated(100, -3.0, 10.0) == pytest.approx(0.9004, abs=5e-5)
    assert deflated(46, -3.0, 10.0) == pytest.approx(0.9505, abs=5e-5)
    assert deflated(88, 0.0, 3.0) == pytest.approx(0.9505, abs=5e-5)


def test_the_expected_best_is_about_the_mean_of_simulated_bests(rng):
    for n_trials in (5, 50):
        bests = rng.normal(0.0, 0.3, (20_000, n_trials)).max(axis=1)
        expected = expected_best_sharpe(0.09, n_trials)
        assert expected == pytest.approx(bests.mean(), rel=0.03)


def test_the_probability_of_a_normal_ratio_covers_as_it_says(rng):
    """Of worthless strategies one in twenty is above the 95 % line."""
    excess = rng.normal(0.0, 0.01, (500, 2000))
    ratios = sharpe_ratios(excess)
    chances = [probabilistic_sharpe(ratio, 0.0, 500, 0.0, 3.0) for ratio in ratios]
    assert np.mean(np.array(chances) > 0.95) == pytest.approx(0.05, abs=0.015)


def test_resampled_ratios_are_those_of_the_resampled_returns(rng):
    """The sums over counts equal the ratios of rows that were really taken."""
    from arch.bootstrap import StationaryBootstrap

    excess = rng.normal(2e-4, 0.01, (120, 3))
    how = Resampling(7.0, n_draws=20, seed=3)
    found = resampled_sharpes(excess, how)
    drawn = StationaryBootstrap(7.0, excess, seed=np.random.default_rng(3))
    for row, (data, _) in zip(found, drawn.bootstrap(20), strict=True):
        expected = [
            statistics.fmean(c) / statistics.stdev(c) * math.sqrt(252)
            for c in data[0].T
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-9)


@pytest.mark.slow
def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(5)
    truth = 0.05 * math.sqrt(252)
    n_covered = 0
    for seed in range(200):
        excess = rng.normal(0.05, 1.0, (400, 1))
        draws = resampled_sharpes(excess, Resampling(1.0, n_draws=300, seed=seed))
        low, high = interval(draws[:, 0])
        n_covered += low <= truth <= high
    low, high = stats.binom.ppf([0.005, 0.995], 200, 0.95)
    assert low <= n_covered <= high


@pytest.mark.slow
def test_leads_of_equals_are_rejected_as_often_as_they_should():
    rng = np.random.default_rng(6)
    n_rejected = 0
    for seed in range(200):
        common = rng.normal(2e-4, 0.01, (400, 1))
        excess = common + rng.normal(0.0, 0.004, (400, 2))
        draws = resampled_sharpes(excess, Resampling(1.0, n_draws=300, seed=seed))
        ratios = sharpe_ratios(excess) * math.sqrt(252)
        found = lead(ratios[0] - ratios[1], draws[:, 0] - draws[:, 1])
        n_rejected += found.p_value <= 0.05
    low, high = stats.binom.ppf([0.005, 0.995], 200, 0.05)
    assert low <= n_rejected <= high


def test_a_lead_counts_draws_as_far_from_it_as_it_is_from_zero():
    draws = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    found = lead(1.0, draws)
    assert found.p_value == pytest.approx(4 / 7)  # 0, 2 and 2.5 are 1 away or more
    assert (found.low, found.high) == (-0.5, 2.5)  # the farthest of six draws


@pytest.mark.parametrize("shift", [-0.4, -0.1, 0.0, 0.1, 0.19, 0.21, 0.4])
def test_interval_and_p_value_of_a_lead_agree(shift):
    draws = shift + np.random.default_rng(3).normal(0.0, 0.1, 2000)
    found = lead(shift, draws)
    assert (found.p_value <= 0.05) == (found.low > 0 or found.high < 0)


def test_a_large_lead_is_found(rng):
    excess = rng.normal([1e-3, 0.0], 0.01, (1000, 2))
    draws = resampled_sharpes(excess, Resampling(1.0, n_draws=500))
    ratios = sharpe_ratios(excess) * math.sqrt(252)
    found = lead(ratios[0] - ratios[1], draws[:, 0] - draws[:, 1])
    assert found.p_value < 0.05
    assert found.low < found.difference < found.high


def test_blocks_grow_with_what_returns_remember(rng):
    noise = rng.normal(0, 0.01, 2000)
    remembered = np.convolve(noise, np.ones(20), "valid")
    volatility = np.repeat(rng.uniform(0.2, 3.0, 40), 50)
    assert block_length(noise) < 4
    assert block_length(remembered) > 20
    assert block_length(noise * volatility) > 10
    assert block_length(np.zeros(100)) == 1.0


def test_alpha_is_that_of_a_plain_loop(rng):
    n = 300
    benchmark = rng.normal(3e-4, 0.01, n)
    noise = np.convolve(rng.normal(0, 0.004, n + 2), np.ones(3), "valid")
    excess = 5e-4 + 0.7 * benchmark + noise
    x = np.column_stack([np.ones(n), benchmark])
    inverse = np.linalg.inv(x.T @ x)
    a, b = inverse @ x.T @ excess
    moments = x * (excess - a - b * benchmark)[:, None]
    n_lags = math.floor(4 * (n / 100) ** (2 / 9))
    meat = sum(np.outer(m, m) for m in moments)
    for lag in range(1, n_lags + 1):
        weight = 1 - lag / (n_lags + 1)
        for t in range(lag, n):
            cross = np.outer(moments[t], moments[t - lag])
            meat = meat + weight * (cross + cross.T)
    errors = np.sqrt(np.diag(inverse @ meat @ inverse) * n / (n - 2))
    found = alpha(excess, benchmark)
    assert found.n_lags == n_lags == 5
    assert found.alpha_annual == pytest.approx(252 * a)
    assert found.beta == pytest.approx(b)
    assert found.t_value == pytest.approx(a / errors[0])
    upper = 0.5 * math.erfc(found.t_value / math.sqrt(2))
    assert found.p_value == pytest.approx(upper)


def test_a_copy_of_the_benchmark_has_no_alpha_to_speak_of(rng):
    benchmark = rng.normal(0, 0.01, 300)
    assert alpha(0.5 * benchmark, benchmark) is None


def test_superiority_finds_the_better_and_only_it(rng):
    equal = rng.normal(0.0, 1.0, (800, 5))
    how = Resampling(2.0, n_draws=500, seed=1)
    nothing = superiority(equal[:, 0], equal[:, 1:], how)
    assert nothing > 0.05
    better = equal.copy()
    better[:, 3] += 0.25
    assert superiority(better[:, 0], better[:, 1:], how) < 0.01
    assert superiority(better[:, 3], better[:, :3], how) > 0.3


def test_the_confidence_set_drops_the_worse_ones(rng):
    scaled = rng.normal([0.2, 0.2, 0.0, 0.0], 1.0, (1500, 4))
    p_values = confidence_set(scaled, Resampling(2.0, n_draws=500))
    assert (p_values[:2] > 0.1).all()
    assert (p_values[2:] <= 0.1).all()


def plain_overfitting(excess, n_blocks):
    """Count, split by split, how often the best of a half is below the median."""
    n_sessions, n_strategies = excess.shape
    length = n_sessions // n_blocks
    rows = list(range(n_sessions - length * n_blocks, n_sessions))
    blocks = [rows[i * length : (i + 1) * length] for i in range(n_blocks)]
    n_below, n_lost, splits = 0, 0, 0
    for taken in itertools.combinations(range(n_blocks), n_blocks // 2):
        inside = [row for i in taken for row in blocks[i]]
        outside = [row for row in rows if row not in set(inside)]

        def ratios(chosen):
            columns = [excess[chosen, k] for k in range(n_strategies)]
            return [
                statistics.fmean(column) / statistics.stdev(column)
                if np.ptp(column) > 1e-12
                else 0.0
                for column in columns
            ]

        before, after = ratios(inside), ratios(outside)
        best = before.index(max(before))
        rank = sum(ratio <= after[best] for ratio in after)
        n_below += rank / (n_strategies + 1) <= 0.5
        n_lost += after[best] < 0
        splits += 1
    return n_below / splits, n_lost / splits, splits


@pytest.mark.parametrize("n_strategies", [3, 6])
def test_overfitting_is_what_a_plain_count_says(rng, n_strategies):
    excess = rng.normal(1e-4, 0.01, (125, n_strategies))
    probability, lost, n_splits = plain_overfitting(excess, 6)
    found = backtest_overfitting(excess, 6)
    assert found.probability == pytest.approx(probability)
    assert found.loss_probability == pytest.approx(lost)
    assert found.n_splits == n_splits == 20
    assert 0 < probability < 1


@pytest.mark.parametrize("round_off", [0.0, 1e-17])
def test_a_strategy_in_cash_for_a_half_has_no_ratio_there(rng, round_off):
    """What is left of a return in excess of cash is nought, or round-off."""
    excess = rng.normal(0.0, 0.01, (120, 3))
    excess[:100, 0] = rng.choice([0.0, round_off], 100)
    probability, lost, _ = plain_overfitting(excess, 6)
    found = backtest_overfitting(excess, 6)
    assert found.probability == pytest.approx(probability)
    assert found.loss_probability == pytest.approx(lost)


def test_overfitting_of_noise_is_about_a_half_and_of_skill_none():
    rng = np.random.default_rng(0)
    noise = [
        backtest_overfitting(rng.normal(0, 0.01, (800, 10))).probability
        for _ in range(20)
    ]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.15)
    skilled = rng.normal([3e-3, *[0.0] * 9], 0.01, (800, 10))
    found = backtest_overfitting(skilled)
    assert found.probability == 0.0
    assert found.n_splits == 12_870


@pytest.mark.parametrize(
    ("shape", "n_blocks"), [((100, 1), 4), ((100, 3), 5), ((10, 3), 8)]
)
def test_overfitting_of_too_little_is_refused(rng, shape, n_blocks):
    with pytest.raises(ConfigError, match="an even number of blocks"):
        backtest_overfitting(rng.normal(size=shape), n_blocks)
