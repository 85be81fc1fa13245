"""Time labels against a loop in pure Python that walks every held allocation.

Both run in this process, turn by turn, on the same prices; the fastest of each counts,
and their returns, scores, winners and margins are compared. "arrays" is the kernel that
the label table is made from, "table" the whole of `compute_labels`, with the ten
features, dates and crises of each row beside the outcome.
    python -m tests.bench.label_speed [folder with SPY, TLT and VIX files]
"""

import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from trm_bt import load_bars
from trm_bt.config import LabelConfig
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.market.features import Features, compute_features
from trm_bt.market.labels import compute_labels, fill_prices, pick_winners
from trm_bt.market.objectives import mix, score

N_TURNS = 5
N_ARRAY_TURNS = 200
N_SESSIONS = 7_500
Row = tuple[list[float], list[float], int, float]
"""Returns, scores, winner and margin of one session."""


def loop(prices: list[list[float]], config: LabelConfig) -> list[Row]:
    """Hold each allocation from each fill on, session by session."""
    weights = ALLOCATION_WEIGHTS.tolist()
    rows = []
    for first in range(len(prices) - config.horizon):
        path = prices[first : first + config.horizon + 1]
        returns, scores = [], []
        for allocation in weights:
            moves, total = walk(path, allocation)
            returns.append(total)
            scores.append(rate(moves, total, path, config))
        winner = max(range(len(scores)), key=scores.__getitem__)
        others = [score for i, score in enumerate(scores) if i != winner]
        rows.append((returns, scores, winner, scores[winner] - max(others)))
    return rows


def walk(path: list[list[float]], weights: list[float]) -> tuple[list[float], float]:
    """Return what a held allocation earned in each session, and in all."""
    units = [weight / price for weight, price in zip(weights, path[0], strict=True)]
    moves, value = [], 1.0
    for prices in path[1:]:
        worth = units[0] * prices[0] + units[1] * prices[1] + units[2] * prices[2]
        moves.append(worth / value - 1.0)
        value = worth
    return moves, value - 1.0


def rate(
    moves: list[float], total: float, path: list[list[float]], config: LabelConfig
) -> float:
    """Score an allocation by the objective."""
    if config.objective == "pnl":
        return total
    if config.objective == "sharpe":
        idle = [later[2] / sooner[2] - 1.0 for sooner, later in pairwise(path)]
        excess = [move - idle[k] for k, move in enumerate(moves)]
        return sum(excess) / len(excess) / variance(excess) ** 0.5
    return total - config.risk_aversion / 2 * len(moves) * variance(moves)


def variance(values: list[float]) -> float:
    """Return the sample variance."""
    mean = sum(values) / len(values)
    return sum([(value - mean) ** 2 for value in values]) / (len(values) - 1)


def fastest(function: Callable[[], object], n_turns: int) -> float:
    """Return the seconds of the fastest of `n_turns` calls."""
    taken = []
    for _ in range(n_turns):
        begun = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def outcomes(prices: np.ndarray, config: LabelConfig) -> tuple[np.ndarray, ...]:
    """Return returns, scores, winners and margins of every fill."""
    held = prices[config.horizon :] / prices[: -config.horizon] - 1.0
    returns = mix(held)
    scores = score(prices, returns, config)
    winners, margins, _ = pick_winners(scores)
    return returns, scores, winners, margins


def check(rows: list[Row], found: tuple[np.ndarray, ...]) -> None:
    """Hold the arrays against the rows of the loop."""
    returns, scores, winners, margins = zip(*rows, strict=True)
    np.testing.assert_allclose(found[0].T, returns, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found[1].T, scores, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found[2], winners)
    np.testing.assert_allclose(found[3], margins, rtol=1e-7, atol=1e-9)


def measure(bars: Bars, features: Features, config: LabelConfig) -> str:
    """Return the times of one objective, and the ratios, in a line."""
    prices = fill_prices(bars, config)
    plain = prices.tolist()
    check(loop(plain, config), outcomes(prices, config))
    slow, arrays, table = [], [], []
    for _ in range(N_TURNS):
        slow.append(fastest(lambda: loop(plain, config), 1))
        arrays.append(fastest(lambda: outcomes(prices, config), N_ARRAY_TURNS))
        table.append(fastest(lambda: compute_labels(bars, features, config), 3))
    base = min(slow)
    return (
        f"{config.objective:14} loop {base * 1e3:6.1f} ms  "
        f"arrays {min(arrays) * 1e3:6.3f} ms ({base / min(arrays):5.0f} times)  "
        f"table {min(table) * 1e3:5.2f} ms ({base / min(table):4.0f} times)"
    )


def main() -> None:
    """Print a line an objective."""
    bars = load_bars(sys.argv[1] if len(sys.argv) > 1 else "sample")
    bars = bars.between(bars.sessions[max(len(bars.sessions) - N_SESSIONS, 0)])
    features = compute_features(bars)
    print(f"{len(bars.sessions)} sessions, 8 allocations, 5 sessions held")
    for objective in ("pnl", "sharpe", "mean_variance"):
        print(measure(bars, features, LabelConfig(objective=objective)))


if __name__ == "__main__":
    main()
