"""The model's decision and a rule of your own: less equity while volatility runs high.

`target_weights` is the hook: ask the allocator what the model wants, change it, and the
execution, the log and the analyzers stay as they are. Run: python examples/own_rules.py
"""

import tempfile
from pathlib import Path

import backtrader as bt
import pandas as pd
from small_model import train_small

from trm_bt import TRMAllocator, add_bars, load_bars


class Cautious(TRMAllocator):
    """Cap the equity while the volatility index stands above its own average."""

    params = (("cap", 0.5), ("period", 100), ("excess", 1.25))

    def __init__(self) -> None:
        super().__init__()
        volatility = self.getdatabyname("volatility")
        self.average = bt.indicators.SMA(volatility.close, period=self.p.period)
        self.capped: list[pd.Timestamp] = []

    def target_weights(self) -> tuple[float, float] | None:
        """Return the model's weights, the equity's capped in turmoil."""
        weights = super().target_weights()
        level = self.getdatabyname("volatility").close[0]
        is_calm = level < self.p.excess * self.average[0]
        if weights is None or is_calm or weights[0] <= self.p.cap:
            return weights
        self.capped.append(pd.Timestamp(self.data.datetime.date(0)))
        return self.p.cap, weights[1]


def run(strategy: type[TRMAllocator], checkpoint: Path) -> TRMAllocator:
    cerebro = bt.Cerebro(cheat_on_open=True)
    add_bars(cerebro, load_bars("sample", start="2006-06-01", end="2010-12-31"))
    cerebro.broker.set_cash(100_000)
    cerebro.broker.setcommission(0.0005)
    cerebro.addanalyzer(bt.analyzers.DrawDown, _name="drawdown")
    cerebro.addstrategy(strategy, checkpoint=checkpoint)
    (ran,) = cerebro.run()
    return ran


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        checkpoint = train_small(Path(work))
        plain, ruled = (run(each, checkpoint) for each in (TRMAllocator, Cautious))

    print(load_bars("sample").source)
    wants, gets = (
        ran.decisions.dropna(subset=["allocation"]).set_index("session")[
            "target_equity"
        ]
        for ran in (plain, ruled)
    )
    is_capped = wants.index.isin(ruled.capped)
    print(f"{'':8}{'sessions':>9}{'capped':>8}   equity in the capped ones")
    for year, rows in wants.groupby(wants.index.year):
        capped = rows.index[is_capped[wants.index.year == year]]
        said = "-"
        if len(capped):
            said = f"{wants[capped].mean():.0%} wanted, {gets[capped].mean():.0%} held"
        print(f"{year:<8}{len(rows):9}{len(capped):8}   {said}")
    same = (wants[~is_capped] == gets[~is_capped]).mean()
    print(f"the targets of the other sessions are the same: {same:.0%}")
    for ran in (plain, ruled):
        fallen = ran.analyzers.drawdown.get_analysis().max.drawdown
        value = ran.broker.getvalue()
        print(f"{type(ran).__name__:14}value {value:9,.0f}  drawdown {fallen:.1f}%")
    print(f"Shown: your own rule changed {is_capped.sum()} of {len(wants)} decisions.")


if __name__ == "__main__":
    main()
