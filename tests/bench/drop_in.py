"""Time whole runs of the allocator against a plain script that trades the same weights.

The plain script is an ordinary one: `PandasData` feeds, Backtrader's own broker, no
observers, no model; it reads precomputed weights and sizes its orders at the open with
cheat-on-open, exactly as the allocator does, so that orders and equity are the same.
All runs are made in this process, turn by turn, with the default-size network; the
fastest of each counts, in seconds of the processor, so that other work on the machine
counts little, and in seconds of the clock, since a batch of decisions uses all cores.
Answers are computed, but for one run, which finds them as a new process would. Orders
and equity are compared before any time is taken.
    python -m tests.bench.drop_in [folder with SPY, TLT and VIX files]
"""

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import backtrader as bt
import numpy as np
import pandas as pd
import torch

from tests.bench.side_by_side import processor_name
from trm_bt import TRMAllocator, TRMPolicy, load_bars
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.feeds.backtrader import add_bars
from trm_bt.learning import answers
from trm_bt.learning.checkpoint import save_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.trainer import train
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FeatureSchema, compute_features, schema_for
from trm_bt.market.labels import compute_labels
from trm_bt.strategies.broker import FractionalShares, QuietBroker
from trm_bt.strategies.sizing import MIN_DRIFT, target_values

N_TURNS = 3
N_SESSIONS = 7_500
N_BAR_BY_BAR = 100
N_HELD = 5
"""Sessions between two changes of the targets in the run with a band."""
COST = 0.0005
CASH = 1_000_000.0
ROLES = ("equity", "bond", "volatility")


class Plain(bt.Strategy):
    """What somebody would write who has the weights already: one row a bar."""

    params = (("weights", ()), ("first", 0))

    def next_open(self) -> None:
        """Size yesterday's weights at today's open; sell first, then buy."""
        decided = len(self.datas[0]) - 2
        if decided < self.p.first:
            return
        feeds = self.datas[:2]
        prices = [feed.open[0] for feed in feeds]
        sizes = [self.getposition(feed).size for feed in feeds]
        held = [size * price for size, price in zip(sizes, prices, strict=True)]
        weights, cash = self.p.weights[decided], self.broker.getcash()
        wanted = target_values(weights, held, cash, [COST] * 2)
        trades = [
            value / price - size
            for value, price, size in zip(wanted, prices, sizes, strict=True)
        ]
        moved = max(abs(trades[i]) * prices[i] for i in (0, 1))
        if moved <= MIN_DRIFT * (cash + sum(held)):  # round-off, as in a flat market
            return
        for i in sorted((0, 1), key=lambda i: trades[i]):
            if trades[i] < 0:
                self.sell(feeds[i], size=-trades[i])
            elif trades[i] > 0:
                self.buy(feeds[i], size=trades[i])


class Precomputed:
    """A policy without a model: the decisions are there already."""

    def __init__(self, bars: Bars, classes: np.ndarray) -> None:
        self.schema: FeatureSchema = schema_for(bars)
        self._classes = dict(zip(bars.sessions, classes.tolist(), strict=True))
        self._even = np.full(len(ALLOCATION_WEIGHTS), 1 / len(ALLOCATION_WEIGHTS))

    def check_schema(self, schema: object) -> None:
        """Take any features: they are not read."""

    def decide(
        self, sessions: pd.DatetimeIndex, features: np.ndarray
    ) -> list[Decision]:
        """Look the decisions up."""
        return [
            Decision(session, self._classes[session], self._even, 0.5, 1, "known")
            for session in sessions
        ]


def run_plain(bars: Bars, classes: np.ndarray, first: int) -> bt.Strategy:
    """Run the plain script over stock feeds."""
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True)
    cerebro.broker.set_cash(CASH)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=COST))
    for role in ROLES:
        feed = bt.feeds.PandasData(dataname=getattr(bars, role))
        cerebro.adddata(feed, name=role)
    weights = [tuple(map(float, ALLOCATION_WEIGHTS[i][:2])) for i in classes]
    cerebro.addstrategy(Plain, weights=weights, first=first)
    (ran,) = cerebro.run()
    return ran


def run_ours(
    bars: Bars, *, is_quiet: bool = True, runonce: bool = True, **params: object
) -> bt.Strategy:
    """Run the allocator over bulk feeds; with our broker, or with Backtrader's."""
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True, runonce=runonce)
    if is_quiet:
        cerebro.broker = QuietBroker()
    cerebro.broker.set_cash(CASH)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=COST))
    add_bars(cerebro, bars, roles=ROLES)
    cerebro.addstrategy(TRMAllocator, decision="argmax", n_averaged=1, **params)
    (ran,) = cerebro.run()
    return ran


def save_model(bars: Bars, folder: Path, *, max_steps: int) -> Path:
    """Save a default-size network, hardly trained: its speed is that of any other."""
    config = TRMConfig(
        model=ModelConfig(max_supervision_steps=max_steps),
        training=TrainingConfig(
            epochs=1, max_batches_per_epoch=2, n_supervision_steps=1
        ),
    )
    head = bars.between(None, bars.sessions[800])
    features = compute_features(head)
    labels = compute_labels(head, features)
    name = f"steps{max_steps}"
    model = train(samples_from_labels(labels), features.schema, config, name=name)
    save_checkpoint(model, folder / name)
    return folder / name


def decided_classes(bars: Bars, checkpoint: Path) -> np.ndarray:
    """Return the classes that a checkpoint decides, 0 before the first."""
    features = compute_features(bars).frame
    policy = TRMPolicy.load(checkpoint, allow_in_sample=True)
    decided = policy.decide(features.index, features.to_numpy())
    classes = np.zeros(len(bars.sessions), dtype=np.int64)
    classes[-len(decided) :] = [decision.allocation for decision in decided]
    return classes


def check_same(plain: bt.Strategy, ours: bt.Strategy) -> None:
    """Compare number of orders, and final cash and positions, of two runs."""
    ends = []
    for ran in (plain, ours):
        broker = ran.broker
        sizes = [broker.getposition(feed).size for feed in ran.datas[:2]]
        ends.append([broker.getvalue(), broker.getcash(), *sizes])
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-9)
    np.testing.assert_allclose(ends[0][2:], ends[1][2:], rtol=1e-9, atol=1e-9)
    filled = [order for order in plain._orders if order.status == order.Completed]
    assert len(filled) == len(ours.orders) == ours.n_submitted


def fastest(runs: dict[str, Callable[[], bt.Strategy]]) -> dict[str, np.ndarray]:
    """Make every run `N_TURNS` times, turn by turn.

    Returns the fewest seconds of processor and clock of each.
    """
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    for _ in range(N_TURNS):
        for name, run in runs.items():
            gc.collect()
            begun = np.array([time.process_time(), time.perf_counter()])
            run()
            ended = np.array([time.process_time(), time.perf_counter()])
            seconds[name].append(ended - begun)
    return {name: np.min(taken, axis=0) for name, taken in seconds.items()}


def new_folder(work: str) -> Path:
    """Return an empty folder for answers."""
    return Path(tempfile.mkdtemp(dir=work))


def run_kept(bars: Bars, folder: Path, **params: object) -> bt.Strategy:
    """Run the allocator as a process would that finds answers in a folder."""
    answers._kept.cache_clear()
    os.environ[answers.SWITCH] = str(folder)
    try:
        return run_ours(bars, **params)
    finally:
        os.environ[answers.SWITCH] = "off"


def main() -> None:
    """Print every ratio to the plain script."""
    torch.set_num_threads(1)
    os.environ[answers.SWITCH] = "off"
    bars = load_bars(sys.argv[1] if len(sys.argv) > 1 else "sample")
    bars = Bars(bars.equity, bars.bond, bars.volatility, source=bars.source)
    bars = bars.between(bars.sessions[max(len(bars.sessions) - N_SESSIONS, 0)])
    tail = bars.between(bars.sessions[-N_BAR_BY_BAR - 59])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as work:
        one, four = (save_model(bars, Path(work), max_steps=n) for n in (1, 4))
        model = {"allow_in_sample": True, "checkpoint": one}
        default = {"allow_in_sample": True, "checkpoint": four}
        kept = new_folder(work)
        run_kept(bars, kept, **default)
        classes = decided_classes(bars, one)
        drawn = rng.integers(0, 8, len(bars.sessions))
        held = np.repeat(drawn[::N_HELD], N_HELD)[: len(drawn)]
        check_same(run_plain(bars, classes, 59), run_ours(bars, **model))
        check_same(
            run_plain(bars, drawn, 59), run_ours(bars, policy=Precomputed(bars, drawn))
        )
        known, rare = Precomputed(bars, drawn), Precomputed(bars, held)
        taken = fastest(
            {
                "plain": lambda: run_plain(bars, classes, 59),
                "model, 1 step": lambda: run_ours(bars, **model),
                "model, defaults": lambda: run_kept(bars, new_folder(work), **default),
                "model, defaults, again": lambda: run_kept(bars, kept, **default),
                "no model": lambda: run_ours(bars, policy=known),
                "no model, their broker": lambda: run_ours(
                    bars, policy=known, is_quiet=False
                ),
                "no model, band": lambda: run_ours(
                    bars, policy=rare, rebalance_band=0.05
                ),
                "bar by bar": lambda: run_ours(tail, runonce=False, **model),
            }
        )
    per_bar = taken.pop("bar by bar") / N_BAR_BY_BAR
    batch = taken["model, 1 step"] / (len(bars.sessions) - 59)
    print(f"On {processor_name()}; 3 feeds of {len(bars.sessions)} sessions.\n")
    print("| relative to the plain script | processor | wall clock |\n|---|---|---|")
    for name, seconds in taken.items():
        of_processor, of_clock = seconds / taken["plain"]
        print(f"| {name} | {of_processor:.2f} | {of_clock:.2f} |")
    print(
        f"\nBar by bar, 1 step: {1e3 * per_bar[0]:.1f} ms a decision, with its bar and "
        f"its orders; {per_bar[0] / batch[0]:.0f} times as long as in one batch."
    )


if __name__ == "__main__":
    main()
