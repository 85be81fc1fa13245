"""Train on 2003 to 2006, then let the allocator trade 2007 to 2010.

Run: python examples/quickstart.py
"""

import tempfile
from pathlib import Path

import backtrader as bt

from trm_bt import (
    RunRequest,
    TrainingConfig,
    TRMAllocator,
    TRMConfig,
    add_bars,
    load_bars,
    train_checkpoint,
)


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        checkpoint = Path(work) / "model"
        config = TRMConfig(training=TrainingConfig(epochs=2))  # to be quick, not 8
        request = RunRequest("sample", config, start="2003-01-02", end="2006-12-29")
        model = train_checkpoint(request, checkpoint)

        bars = load_bars("sample", start="2006-06-01", end="2010-12-31")
        cerebro = bt.Cerebro()
        add_bars(cerebro, bars)
        cerebro.broker.set_cash(100_000)
        cerebro.broker.setcommission(0.0005)
        cerebro.addstrategy(TRMAllocator, checkpoint=checkpoint)
        (ran,) = cerebro.run()

    decisions = ran.decisions.dropna(subset=["allocation"])
    spy = bars.equity["close"].loc[decisions["session"].iloc[0] :]
    print(bars.source)
    print(f"trained until    {model.record.last_label_known_on}")
    print(f"decisions        {len(decisions)}")
    print(f"sessions in cash {ran.n_abstained} (inside the training span)")
    print(f"orders rejected  {ran.n_rejected}")
    print(f"allocator        {cerebro.broker.getvalue() / 100_000 - 1:+.1%}")
    print(f"equity alone     {spy.iloc[-1] / spy.iloc[0] - 1:+.1%}")
    print(decisions["allocation_name"].value_counts().to_string())


if __name__ == "__main__":
    main()
