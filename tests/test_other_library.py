"""The same targets at the same close give another library's equity.

Opt-in: `pip install bt` into the environment, else it is skipped.
"""

import backtrader
import numpy as np
import pandas as pd
import pytest

from tests.test_execution import hard_switches
from tests.test_rebalancing import Scripted
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.bars import Bars
from trm_bt.strategies.broker import FractionalShares

library = pytest.importorskip("bt", reason="`pip install bt` to compare with it")


def test_equity_equals_that_of_bt(real_bars, record_property):
    bars = Bars(**vars(real_bars.between("2006-01-03")) | {"cash_rate": None})
    script = hard_switches(len(bars.sessions), seed=3)
    cerebro = backtrader.Cerebro(stdstats=False)
    cerebro.broker.set_cash(1e6)
    cerebro.broker.set_coc(True)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=0.0))
    add_bars(cerebro, bars)
    cerebro.addstrategy(Scripted, script=script)
    ours = cerebro.run()[0].closes["broker_value"]

    closes = pd.DataFrame({"SPY": bars.equity["close"], "TLT": bars.bond["close"]})
    targets = pd.DataFrame(script, closes.index, closes.columns)
    daily = library.Strategy(
        "targets",
        [
            library.algos.RunDaily(run_on_first_date=True),
            library.algos.SelectAll(),
            library.algos.WeighTarget(targets),
            library.algos.Rebalance(),
        ],
    )
    test = library.Backtest(
        daily, closes, initial_capital=1e6, integer_positions=False, progress_bar=False
    )
    theirs = library.run(test).backtests["targets"].strategy.values[closes.index]
    difference = np.abs(theirs / ours - 1.0)
    record_property("largest_difference", difference.max())
    assert difference.max() < 1e-5
