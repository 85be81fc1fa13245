"""Properties that each formula must have, whatever the numbers are."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import make_bars
from trm_bt.config import FeatureConfig
from trm_bt.market import formulas, proxies
from trm_bt.market.feature_table import FEATURES
from trm_bt.market.features import FEATURE_NAMES, feature_rows, input_arrays, schema_for
from trm_bt.market.windows import Column, window_means, window_sums

K, N = 20, 9
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(1e-3, 1e3)
positions = st.integers(0, N - 1)
quickly = settings(max_examples=40, deadline=None)


def walk(seed: int, *shape: int) -> np.ndarray:
    """Draw positive closes; about one step in ten is no move at all."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.02, shape) * (rng.random(shape) > 0.1)
    return 50.0 * np.exp(np.cumsum(steps, axis=0))


def last(column: Column) -> float:
    return float(column.values[-1])


def with_last(values: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the newest session."""
    changed = values.copy()
    changed[-1] *= factor
    return changed


# Scale, ranges and truncation, for all features together


def rows_of(bars, **scaled: float) -> np.ndarray:
    arrays = {k: v * scaled.get(k, 1.0) for k, v in input_arrays(bars).items()}
    return feature_rows(arrays, schema_for(bars))[0]


@quickly
@given(seed=seeds, scale=scales, has_options=st.booleans())
@pytest.mark.parametrize("role", ["equity", "bond", "members", "volume", "put_call"])
def test_no_feature_depends_on_the_unit_of(role, seed, scale, has_options):
    bars = make_bars(270, seed, has_options=has_options)
    np.testing.assert_allclose(
        rows_of(bars, **{role: scale}), rows_of(bars), rtol=1e-7, atol=1e-9
    )


@quickly
@given(seed=seeds, scale=st.floats(1.5, 50), has_options=st.booleans())
def test_only_these_features_read_the_volatility_in_points(seed, scale, has_options):
    bars = make_bars(270, seed, has_options=has_options)
    plain, scaled = rows_of(bars), rows_of(bars, volatility=scale)
    is_changed = ~np.isclose(plain, scaled, rtol=1e-7, atol=1e-9).all(axis=0)
    dependent = {
        n for n, changed in zip(FEATURE_NAMES, is_changed, strict=True) if changed
    }
    estimated = {"market_breadth", "sector_dispersion"}
    assert dependent == {"vix_level"} | (set() if has_options else estimated)
    np.testing.assert_allclose(scaled[:, 0], scale * plain[:, 0])


@quickly
@given(seed=seeds, has_options=st.booleans())
def test_every_feature_keeps_its_range(seed, has_options):
    bars = make_bars(270, seed, has_options=has_options)
    rows = dict(zip(FEATURE_NAMES, rows_of(bars).T, strict=True))
    n_moves = len(bars.members.columns) if has_options else 20
    inclusive = {
        "volume_ratio": (0, 20),
        "market_breadth": (0, 1),
        "correlation": (-1, 1),
        "put_call_ratio": (0, (252 if has_options else 60) / 5),
        "gini_coefficient": (0, 1 - 1 / n_moves),
        "sector_dispersion": (0, math.inf),
        "signal_quality_score": (0, 1),
        "vix_level": (0, math.inf),
        "spy_returns_5d": (-1, math.inf),
        "spy_returns_20d": (-1, math.inf),
    }
    assert set(inclusive) == set(FEATURE_NAMES)
    for name, (low, high) in inclusive.items():
        assert ((rows[name] >= low) & (rows[name] <= high)).all(), name


SHORT = FeatureConfig(put_call_long_lookback=140)
EVERY_FORMULA = [
    formula
    for feature in FEATURES
    for formula in (feature.formula, feature.proxy)
    if formula
]


@pytest.mark.parametrize("formula", EVERY_FORMULA, ids=lambda f: f.compute.__name__)
def test_a_row_reads_its_own_sessions_and_no_other(formula):
    arrays = input_arrays(make_bars(200, 3, has_options=True))
    inputs = [arrays[name] for name in formula.inputs]
    lookbacks = formula.sessions_looked_back(SHORT)
    n_sessions = formula.n_sessions(SHORT)
    whole, _ = formula.compute(*inputs, *lookbacks)
    assert len(whole) == 200 - n_sessions + 1
    reads_oldest = False
    for end in range(n_sessions, 201):
        window = [values[end - n_sessions : end].copy() for values in inputs]
        row, _ = formula.compute(*window, *lookbacks)
        assert row.tobytes() == whole[end - n_sessions].tobytes()
        for values in window:
            values[0] *= 1.5
        reads_oldest |= row != formula.compute(*window, *lookbacks).values
    assert reads_oldest


@pytest.mark.parametrize("lookback", [*range(1, 35), 127, 128, 129, 252, 300])
def test_window_sums_are_the_sums_of_windows(lookback):
    values = np.random.default_rng(lookback).normal(size=(310, 2))
    sums, means = window_sums(values, lookback), window_means(values, lookback)
    assert sums.shape == (311 - lookback, 2)
    for i, (row, mean) in enumerate(zip(sums, means, strict=True)):
        for j in range(2):
            exact = math.fsum(values[i : i + lookback, j])
            assert row[j] == pytest.approx(exact, rel=1e-12, abs=1e-13)
            assert mean[j] == pytest.approx(exact / lookback, rel=1e-12, abs=1e-13)


# What moves a feature, and which way


@quickly
@given(seed=seeds, rise=st.floats(1.001, 3))
def test_returns_rise_with_the_close(seed, rise):
    close = walk(seed, K + 1)
    assert last(formulas.spy_returns(with_last(close, rise), K)) > last(
        formulas.spy_returns(close, K)
    )


@quickly
@given(seed=seeds, rise=st.floats(1.01, 100))
def test_volume_ratio_rises_with_the_volume_of_the_session(seed, rise):
    volume = walk(seed, K)
    assert last(formulas.volume_ratio(with_last(volume, rise), K)) > last(
        formulas.volume_ratio(volume, K)
    )


def test_volume_ratio_reaches_its_ends():
    alone, absent = np.zeros(K), np.ones(K)
    alone[-1], absent[-1] = 7.0, 0.0
    assert last(formulas.volume_ratio(alone, K)) == K
    assert last(formulas.volume_ratio(absent, K)) == 0
    assert last(formulas.volume_ratio(np.ones(K), K)) == 1


@quickly
@given(seed=seeds, member=positions)
def test_breadth_rises_as_a_member_rises_above_its_mean(seed, member):
    closes = walk(seed, K, N)
    closes[-1, member] = closes[:-1, member].min() / 2
    below = last(formulas.market_breadth(closes, K))
    closes[-1, member] = closes[:-1, member].max() * 2
    assert last(formulas.market_breadth(closes, K)) == pytest.approx(below + 1 / N)


@quickly
@given(seed=seeds, rise=st.floats(1.001, 2), fear=st.floats(1.01, 5))
def test_estimated_breadth_rises_with_the_close_and_shrinks_with_fear(seed, rise, fear):
    close, volatility = walk(seed, K), walk(seed + 1, K)
    here = last(proxies.market_breadth_proxy(close, volatility, K))
    higher = with_last(close, rise)
    assert last(proxies.market_breadth_proxy(higher, volatility, K)) > here
    afraid = with_last(volatility, fear)
    assert abs(last(proxies.market_breadth_proxy(close, afraid, K)) - 0.5) <= abs(
        here - 0.5
    )


def test_estimated_breadth_is_a_half_at_the_mean_and_symmetric_about_it():
    volatility = np.full(3, 20.0)
    flat = proxies.market_breadth_proxy(np.full(3, 9.0), volatility, 3)
    assert flat.values.tolist() == [0.5]
    up, down = (
        last(proxies.market_breadth_proxy(np.array(closes), volatility, 3))
        for closes in ([9.0, 11.0, 11.5], [11.0, 9.0, 8.5])
    )
    gaps = 11.5 / 10.5 - 1, 8.5 / 9.5 - 1
    assert up > 0.5 > down
    spread = 0.2 / math.sqrt(252)
    for value, gap in zip((up, down), gaps, strict=True):
        odds = 2 * value - 1  # the sine of the angle whose tangent is gap over spread
        assert math.asin(odds) == pytest.approx(math.atan2(gap, spread))


@quickly
@given(seed=seeds, factor=st.floats(0.1, 3))
def test_correlation_is_symmetric_and_one_with_a_scaled_self(seed, factor):
    equity, bond = walk(seed, K + 1), walk(seed + 1, K + 1)
    there = last(formulas.correlation(equity, bond, K))
    assert last(formulas.correlation(bond, equity, K)) == there
    r = equity[1:] / equity[:-1] - 1
    for sign in (1, -1):
        image = np.r_[1.0, np.cumprod(1 + sign * factor * r)]
        assert last(formulas.correlation(equity, image, K)) == pytest.approx(sign)


@quickly
@given(seed=seeds, rise=st.floats(1.01, 10))
def test_put_call_rises_with_what_is_new_and_falls_with_what_is_old(seed, rise):
    ratio, compute = walk(seed, 2 * K), formulas.put_call_ratio
    here = last(compute(ratio, K, 2 * K))
    newer, older = ratio.copy(), ratio.copy()
    newer[-K:] *= rise
    older[:K] *= rise
    assert last(compute(newer, K, 2 * K)) > here > last(compute(older, K, 2 * K))


def test_put_call_is_one_at_its_mean_and_at_most_long_over_short():
    assert last(formulas.put_call_ratio(np.full(8, 0.7), 2, 8)) == pytest.approx(1)
    peak = np.r_[np.full(6, 1e-12), 5.0, 5.0]
    assert last(formulas.put_call_ratio(peak, 2, 8)) == pytest.approx(4)


@quickly
@given(seed=seeds, poor=positions, rich=positions)
def test_gini_rises_as_a_move_passes_from_the_less_to_the_more_moved(seed, poor, rich):
    sizes = np.random.default_rng(seed).uniform(1, 2, (1, N))
    order = np.argsort(sizes[0])
    poor, rich = order[min(poor, rich)], order[max(poor, rich)]
    here = last(formulas.gini(sizes))
    sizes[0, poor] -= 0.5
    sizes[0, rich] += 0.5
    assert (last(formulas.gini(sizes)) > here) is bool(poor != rich)


@given(n=st.integers(2, 30), size=st.floats(1e-6, 1e6))
def test_gini_is_zero_when_all_are_equal_and_greatest_when_one_moves(n, size):
    assert last(formulas.gini(np.full((1, n), size))) == pytest.approx(0, abs=1e-12)
    alone = np.zeros((1, n))
    alone[0, n // 2] = size
    assert last(formulas.gini(alone)) == pytest.approx(1 - 1 / n)
    none = formulas.gini(np.zeros((1, n)))
    assert (none.values.tolist(), none.is_zero.tolist()) == ([0.0], [True])


@quickly
@given(seed=seeds)
def test_gini_of_members_and_of_sessions_have_the_same_ends(seed):
    alone = np.full((K + 1, N), 10.0)
    alone[:, 4] = walk(seed, K + 1)
    members = formulas.gini_coefficient(alone, K)
    assert last(members) == pytest.approx(1 - 1 / N)
    jump = np.r_[np.full(K, 10.0), 11.0]
    assert last(proxies.gini_coefficient_proxy(jump, K)) == pytest.approx(1 - 1 / K)
    same = np.tile(walk(seed, K + 1)[:, np.newaxis], N)
    assert last(formulas.gini_coefficient(same, K)) == pytest.approx(0, abs=1e-12)
    steady = 1.01 ** np.arange(K + 1)
    assert last(proxies.gini_coefficient_proxy(steady, K)) == pytest.approx(0, abs=1e-9)


@quickly
@given(seed=seeds, further=st.floats(1.05, 3))
def test_dispersion_is_zero_together_and_grows_as_the_leader_leaves(seed, further):
    same = np.tile(walk(seed, K + 1)[:, np.newaxis], N)
    assert last(formulas.sector_dispersion(same, K)) == pytest.approx(0, abs=1e-12)
    closes = walk(seed, K + 1, N)
    here = last(formulas.sector_dispersion(closes, K))
    leader = int((closes[-1] / closes[0]).argmax())
    closes[-1, leader] *= further
    assert last(formulas.sector_dispersion(closes, K)) > here


@quickly
@given(seed=seeds, fear=st.floats(1.01, 5))
def test_estimated_dispersion_grows_with_fear_and_with_the_move(seed, fear):
    close, volatility = walk(seed, K + 1), walk(seed + 1, K + 1)
    here = last(proxies.sector_dispersion_proxy(close, volatility, K))
    afraid = with_last(volatility, fear)
    assert last(proxies.sector_dispersion_proxy(close, afraid, K)) > here
    move = abs(close[-1] / close[0] - 1)
    assert here > move
    for further in (1 + 2 * move, 1 - min(2 * move, 0.99)):
        moved = close.copy()
        moved[-1] = close[0] * further
        changed = last(proxies.sector_dispersion_proxy(moved, volatility, K))
        assert (changed > here) == (move > 0)


@quickly
@given(seed=seeds, is_up=st.booleans())
def test_efficiency_is_one_on_a_monotone_path(seed, is_up):
    steps = np.random.default_rng(seed).uniform(1e-4, 0.05, K)
    path = np.r_[1.0, np.cumprod(1 + steps if is_up else 1 - steps)]
    assert last(formulas.signal_quality_score(path, K)) == pytest.approx(1)


@quickly
@given(seed=seeds)
def test_efficiency_is_less_than_one_after_a_turn_and_zero_after_all_is_lost(seed):
    rng = np.random.default_rng(seed)
    steps = rng.uniform(1e-4, 0.05, K) * np.where(
        np.arange(K) == rng.integers(K), -1, 1
    )
    path = np.r_[1.0, np.cumprod(1 + steps)]
    assert last(formulas.signal_quality_score(path, K)) < 1 - 1e-6
    there_and_back = np.r_[1.0, np.cumprod(np.tile([1.1, 0.9], K // 2))]
    assert last(formulas.signal_quality_score(there_and_back, K)) == pytest.approx(
        0, abs=1e-12
    )


def test_a_member_without_a_close_leaves_breadth_unknown():
    members = np.array([[1.0, 1.0], [np.nan, 2.0], [2.0, 3.0], [3.0, 4.0]])
    found = formulas.market_breadth(members, 2).values
    np.testing.assert_array_equal(found, [np.nan, np.nan, 1.0])


def test_returns_that_do_not_vary_have_no_correlation():
    steady = 100 * 1.0003 ** np.arange(60)
    moving = 50 + np.sin(np.arange(60))
    column = formulas.correlation(moving, steady, 20)
    assert (column.values == 0).all()
    assert column.is_zero.all()
