"""Time the ten features of 7,500 sessions with nine members against pandas and numba.

Every version sees the same random bars in this process, turn by turn; the fastest turn
of each counts, and the results are compared. numba is not needed by anything else:
    pip install numba
    python -m tests.bench.features
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from trm_bt.config import FeatureConfig
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, feature_rows

try:
    from numba import njit
except ImportError:
    sys.exit("The comparison needs numba: pip install numba")

N_SESSIONS, N_MEMBERS = 7500, 9
N_TURNS = 7
SCHEMA = FeatureSchema(
    members=tuple(f"M{i}" for i in range(N_MEMBERS)), has_put_call=True
)
CONFIG = FeatureConfig()
FIRST = SCHEMA.n_lookback - 1
Inputs = dict[str, np.ndarray]


def random_inputs(rng: np.random.Generator) -> Inputs:
    """Draw closes from random walks, volumes and put/call ratios uniformly."""

    def walk(vol: float, *shape: int) -> np.ndarray:
        steps = rng.normal(2e-4, vol, (N_SESSIONS, *shape))
        return 100.0 * np.exp(np.cumsum(steps, axis=0))

    return {
        "equity": walk(0.01),
        "bond": walk(0.006),
        "volatility": rng.uniform(10.0, 40.0, N_SESSIONS),
        "volume": rng.uniform(1e6, 5e6, N_SESSIONS),
        "put_call": rng.uniform(0.5, 1.3, N_SESSIONS),
        "members": walk(0.015, N_MEMBERS),
    }


def with_trm_bt(inputs: Inputs) -> np.ndarray:
    """Compute the rows as the product does."""
    return feature_rows(inputs, SCHEMA)[0]


def gini_of(sizes: np.ndarray) -> float:
    """Return the Gini coefficient of one row."""
    n = len(sizes)
    ranks = 2.0 * np.arange(1, n + 1) - n - 1
    return float((np.sort(sizes) * ranks).sum() / (n * sizes.sum()))


def with_pandas(inputs: Inputs, *, is_applied: bool) -> np.ndarray:
    """Compute the rows with `rolling`, windows by `apply` or by its built-in sums."""
    equity, bond = pd.Series(inputs["equity"]), pd.Series(inputs["bond"])
    volume, put_call = pd.Series(inputs["volume"]), pd.Series(inputs["put_call"])
    members = pd.DataFrame(inputs["members"])
    r = equity.pct_change()

    def sums(values: pd.Series, lookback: int) -> pd.Series:
        windows = values.rolling(lookback)
        return windows.apply(np.sum, raw=True) if is_applied else windows.sum()

    def means(values: pd.Series, lookback: int) -> pd.Series:
        windows = values.rolling(lookback)
        return windows.apply(np.mean, raw=True) if is_applied else windows.mean()

    moves = sums(members.pct_change().abs(), CONFIG.gini_lookback)
    columns = {
        "vix_level": pd.Series(inputs["volatility"]),
        "spy_returns_5d": equity.pct_change(CONFIG.short_return_lookback),
        "spy_returns_20d": equity.pct_change(CONFIG.long_return_lookback),
        "volume_ratio": volume / means(volume, CONFIG.volume_lookback),
        "market_breadth": (members > means(members, CONFIG.breadth_lookback)).mean(
            axis=1
        ),
        "correlation": r.rolling(CONFIG.correlation_lookback).corr(bond.pct_change()),
        "put_call_ratio": means(put_call, CONFIG.put_call_short_lookback)
        / means(put_call, CONFIG.put_call_long_lookback),
        "gini_coefficient": moves.apply(gini_of, axis=1, raw=True),
        "sector_dispersion": members.pct_change(CONFIG.dispersion_lookback).std(
            axis=1, ddof=0
        ),
        "signal_quality_score": sums(r, CONFIG.efficiency_lookback).abs()
        / sums(r.abs(), CONFIG.efficiency_lookback),
    }
    return pd.DataFrame(columns)[list(FEATURE_NAMES)].to_numpy()[FIRST:]


@njit
def mean_of(values: np.ndarray) -> float:
    """Average one window."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


@njit
def correlation_of(left: np.ndarray, right: np.ndarray) -> float:
    """Correlate one window of each."""
    left_mean, right_mean = mean_of(left), mean_of(right)
    both = left_square = right_square = 0.0
    for i in range(len(left)):
        x, y = left[i] - left_mean, right[i] - right_mean
        both += x * y
        left_square += x * x
        right_square += y * y
    return both / np.sqrt(left_square * right_square)


@njit
def spread_of(values: np.ndarray) -> float:
    """Return the standard deviation of one row."""
    centre = mean_of(values)
    total = 0.0
    for value in values:
        total += (value - centre) ** 2
    return np.sqrt(total / len(values))


@njit
def numba_rows(
    equity: np.ndarray,
    bond: np.ndarray,
    volatility: np.ndarray,
    volume: np.ndarray,
    put_call: np.ndarray,
    members: np.ndarray,
) -> np.ndarray:
    """Compute each row from its own windows, as ours are, with default lookbacks."""
    n, m = members.shape
    r, b = equity[1:] / equity[:-1] - 1.0, bond[1:] / bond[:-1] - 1.0
    moved = np.abs(members[1:] / members[:-1] - 1.0)
    rows = np.empty((n - 251, 10))
    moves, returns = np.empty(m), np.empty(m)
    for t in range(251, n):
        row = rows[t - 251]
        row[0] = volatility[t]
        row[1] = equity[t] / equity[t - 5] - 1.0
        row[2] = equity[t] / equity[t - 20] - 1.0
        row[3] = volume[t] / mean_of(volume[t - 19 : t + 1])
        row[5] = correlation_of(r[t - 20 : t], b[t - 20 : t])
        row[6] = mean_of(put_call[t - 4 : t + 1]) / mean_of(put_call[t - 251 : t + 1])
        way = path = 0.0
        for i in range(t - 20, t):
            path += r[i]
            way += abs(r[i])
        row[9] = abs(path) / way
        n_above = 0
        for j in range(m):
            n_above += members[t, j] > mean_of(members[t - 49 : t + 1, j])
            moves[j] = 20.0 * mean_of(moved[t - 20 : t, j])
            returns[j] = members[t, j] / members[t - 20, j] - 1.0
        row[4] = n_above / m
        ordered = np.sort(moves)
        weighted = 0.0
        for j in range(m):
            weighted += (2.0 * (j + 1) - m - 1.0) * ordered[j]
        row[7] = weighted / (m * m * mean_of(ordered))
        row[8] = spread_of(returns)
    return rows


def with_numba(inputs: Inputs) -> np.ndarray:
    """Compute the rows with compiled loops."""
    names = ("equity", "bond", "volatility", "volume", "put_call", "members")
    return np.asarray(numba_rows(*[inputs[name] for name in names]))


def main() -> None:
    """Print the time of every version, its ratio to ours, and how far it is off."""
    inputs = random_inputs(np.random.default_rng(0))
    versions: dict[str, Callable[[Inputs], np.ndarray]] = {
        "trm_bt": with_trm_bt,
        "numba": with_numba,
        "pandas, built-in": lambda arrays: with_pandas(arrays, is_applied=False),
        "pandas, apply": lambda arrays: with_pandas(arrays, is_applied=True),
    }
    expected = with_trm_bt(inputs)
    differences = {}
    for name, compute in versions.items():  # this also compiles what is compiled
        found = compute(inputs)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
        differences[name] = float(np.abs(found - expected).max())
    seconds = dict.fromkeys(versions, np.inf)
    for _ in range(N_TURNS):
        for name, compute in versions.items():
            begun = time.perf_counter()
            compute(inputs)
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    print(
        f"{len(FEATURE_NAMES)} features of {N_SESSIONS} sessions, {N_MEMBERS} members"
    )
    for name, spent in seconds.items():
        print(
            f"{name:18}{spent * 1e3:9.2f} ms  {spent / seconds['trm_bt']:7.2f} times "
            f"ours, largest difference {differences[name]:.0e}"
        )


if __name__ == "__main__":
    main()
