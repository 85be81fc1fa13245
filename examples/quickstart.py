"""From bars to a result: train one model, and let the allocator trade what follows.

The model learns from 1999 to 2006 and decides 2007 to 2010. Beside it stand the equity
alone and a mix of 60/40. Run: python examples/quickstart.py [tearsheet.html]
"""

import sys
import tempfile
from pathlib import Path

import backtrader as bt
import pandas as pd
from small_model import SMALL

from trm_bt import (
    RunRequest,
    TRMAllocator,
    add_bars,
    load_bars,
    tearsheet,
    train_checkpoint,
)


def trade(checkpoint: Path) -> TRMAllocator:
    """Run the allocator in an ordinary Cerebro."""
    cerebro = bt.Cerebro()
    add_bars(cerebro, load_bars("sample", start="2006-06-01", end="2010-12-31"))
    cerebro.broker.set_cash(100_000)
    cerebro.broker.setcommission(0.0005)
    cerebro.addanalyzer(bt.analyzers.TimeReturn, _name="returns")
    cerebro.addstrategy(TRMAllocator, checkpoint=checkpoint)
    (ran,) = cerebro.run()
    return ran


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        # the settings are small to be quick; without them it is the full model
        request = RunRequest("sample", SMALL, start="1999-01-01", end="2006-12-29")
        model = train_checkpoint(request, Path(work) / "model")
        ran = trade(Path(work) / "model")

    bars, record = load_bars("sample"), model.record
    decided = ran.decisions.dropna(subset=["allocation"])
    first, last = decided["session"].iloc[[0, -1]]
    print(bars.source)
    print(f"trained on       {record.n_train:,} sessions")
    print(f"knows outcomes   up to {record.last_label_known_on}, in cash until then")
    print(f"decided          {len(decided):,} sessions, {first:%F} to {last:%F}")
    for name, share in decided["allocation_name"].value_counts(normalize=True).items():
        print(f"most probable    {name} on {share:.0%} of them")
    print("held             the allocations mixed by probability")
    print(f"orders           {ran.n_submitted:,}, rejected {ran.n_rejected}")

    equity, bond = (
        frame["close"].loc[first:last].pct_change().fillna(0.0)
        for frame in (bars.equity, bars.bond)
    )
    returns = pd.Series(ran.analyzers.returns.get_analysis()).loc[first:]
    print(f"\n{'':18}{'return':>8}{'largest drawdown':>18}")
    for name, daily in (
        ("allocator", returns),
        ("equity alone", equity),
        ("60/40", 0.6 * equity + 0.4 * bond),
    ):
        value = (1 + daily).cumprod()
        fallen = 1 - (value / value.cummax()).min()
        print(f"{name:18}{value.iloc[-1] - 1:8.1%}{fallen:18.1%}")
    if len(sys.argv) > 1:
        sheet = tearsheet(returns, sys.argv[1], benchmark=equity.rename("equity alone"))
        print(f"\npage: {sheet}")
    print(
        "\nShown: a model trained and traded; one span of one small model is no proof."
    )


if __name__ == "__main__":
    main()
