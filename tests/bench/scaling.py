"""How seconds and memory grow with the bars: features, labels, inference, backtests.

Every measurement is made in a process of its own, on one thread: its processor seconds,
the median of up to five runs where they are short, and how far its memory rose above
what it had before. Bars are a random walk. Prints a Markdown table; the exponent is
that of a power law fitted to the seconds.
    python -m tests.bench.scaling [number of sessions ...]
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from tests.bench.drop_in import CASH, COST, ROLES, Precomputed, run_ours, run_plain
from tests.bench.side_by_side import processor_name
from trm_bt.config import ModelConfig
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.market.bars import Bars
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.broker import FractionalShares, QuietBroker

SIZES = (1_000, 7_500, 75_000)
FIRST = "1700-01-04"
N_RUNS, LONG = 5, 3.0
"""Runs at most, and seconds after which none is added."""
MIX = 2
"""Number of the allocation that the fixed mix and the plain script hold."""


def draw_bars(n_sessions: int, n_members: int = 0) -> Bars:
    """Draw random walks, and a volatility index that falls where the equity rises."""
    rng = np.random.default_rng(0)
    sessions = pd.bdate_range(FIRST, periods=n_sessions, name="session")

    def walk(deviation: float) -> pd.DataFrame:
        close = 100 * np.exp(np.cumsum(rng.normal(0, deviation, n_sessions)))
        open_ = close * np.exp(rng.normal(0, deviation / 3, n_sessions))
        high, low = np.maximum(open_, close), np.minimum(open_, close)
        values = {"open": open_, "high": high, "low": low, "close": close}
        return pd.DataFrame({**values, "volume": 1e6}, index=sessions)

    members = {f"M{i}": walk(0.01)["close"] for i in range(n_members)}
    equity = walk(0.01)
    above = equity["close"] / equity["close"].ewm(span=20).mean()
    index = (20 * above**-5).clip(9, 90)
    volatility = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), index)
    ).assign(volume=0.0)
    return Bars(
        equity,
        walk(0.005),
        volatility,
        members=pd.DataFrame(members) if members else None,
        source="random walk",
    )


def run_mix(bars: Bars) -> None:
    """Rebalance a fixed mix on each bar, without a model."""
    import backtrader as bt

    from trm_bt.feeds.backtrader import add_bars

    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True)
    cerebro.broker = QuietBroker()
    cerebro.broker.set_cash(CASH)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=COST))
    add_bars(cerebro, bars, roles=ROLES)
    cerebro.addstrategy(FixedMix, weights=(0.6, 0.2, 0.2))
    cerebro.run()


def work(what: str, n_sessions: int) -> Callable[[], object]:
    """Prepare a piece of work by its name, and return what does it."""
    name, _, n_members = what.partition(", members ")
    bars = draw_bars(n_sessions, int(n_members or 0))
    drawn = np.random.default_rng(0).integers(0, 8, n_sessions)
    if name == "features":
        return lambda: compute_features(bars)
    if name == "labels":
        features = compute_features(bars)
        return lambda: compute_labels(bars, features)
    if name == "a pass of the network":
        model = TinyRecursiveModel(ModelConfig(max_supervision_steps=1))
        rows = torch.randn(n_sessions, 10)
        return lambda: model.predict(rows)
    if name == "plain script, fixed mix":
        return lambda: run_plain(bars, np.full(n_sessions, MIX), 0)
    if name == "fixed mix":
        return lambda: run_mix(bars)
    return lambda: run_ours(bars, policy=Precomputed(bars, drawn))


WORK = (
    *[f"features, members {n}" for n in (0, 9, 50, 500)],
    "labels",
    "a pass of the network",
    "plain script, fixed mix",
    "fixed mix",
    "allocator, decisions known",
)


def measure(what: str, n_sessions: int) -> tuple[float, float]:
    """Do a piece of work here; return its processor seconds and MiB above the start."""
    torch.set_num_threads(1)
    do = work(what, n_sessions)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds: list[float] = []
    while len(seconds) < N_RUNS and sum(seconds) < LONG:
        begun = time.process_time()
        do()
        seconds.append(time.process_time() - begun)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(np.median(seconds)), (after - before) / 1024


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 3 and sys.argv[1] in WORK:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        return
    sizes = [int(size) for size in sys.argv[1:]] or [*SIZES]
    print(f"On {processor_name()}.\n")
    print("| microseconds a session |", *[f"{n:,} |" for n in sizes], end=" ")
    print(f"exponent | MiB at {sizes[-1]:,} |\n|---|{'---|' * (len(sizes) + 2)}")
    for what in WORK:
        command = [sys.executable, "-W", "ignore", "-m", "tests.bench.scaling", what]
        found = [json.loads(subprocess.check_output([*command, str(n)])) for n in sizes]
        seconds = [one[0] for one in found]
        exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        cells = [f"{1e6 * s / n:.1f}" for s, n in zip(seconds, sizes, strict=True)]
        cells += [f"{exponent:.2f}", f"{found[-1][1]:,.0f}"]
        print(f"| {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
