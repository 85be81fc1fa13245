import numpy as np
import pandas as pd
import pytest

from tests.test_backtest import assert_simulated
from tests.test_replay import random_weights
from trm_bt.backtest import run_backtest
from trm_bt.config import BacktestConfig
from trm_bt.errors import ConfigError
from trm_bt.strategies.scheduled import ScheduledWeights


def test_a_schedule_equals_the_simulation(bars):
    config = BacktestConfig(cost_bps=20.0)
    weights = random_weights(bars.sessions, 2)
    result = run_backtest(
        bars, ScheduledWeights, params={"weights": weights}, config=config
    )
    targets = weights[["equity", "bond"]].to_numpy()
    assert_simulated(result, bars, targets, config)
    assert result.n_completed == result.n_submitted > 0


def test_a_session_without_a_row_keeps_the_weights_before(bars):
    config = BacktestConfig()
    weights = random_weights(bars.sessions, 3)
    some = weights.iloc[::7]
    result = run_backtest(
        bars, ScheduledWeights, params={"weights": some}, config=config
    )
    kept = weights.copy()
    for i in range(len(kept)):
        kept.iloc[i] = weights.iloc[i - i % 7]
    assert_simulated(result, bars, kept[["equity", "bond"]], config)


def test_a_row_between_sessions_is_in_force_from_the_next_one(bars):
    month_ends = pd.date_range(bars.sessions[0], bars.sessions[-1], freq="ME")
    weights = random_weights(month_ends, 4)
    places = bars.sessions.searchsorted(month_ends)
    assert not month_ends.isin(bars.sessions).all()
    moved = weights.set_axis(bars.sessions[places])
    given, wanted = (
        run_backtest(bars, ScheduledWeights, params={"weights": table}).equity
        for table in (weights.set_axis(month_ends + pd.Timedelta(hours=16)), moved)
    )
    pd.testing.assert_series_equal(given, wanted, check_exact=True)


def test_shares_in_single_precision_are_shares(bars):
    weights = random_weights(bars.sessions, 5).astype(np.float32)
    assert len(run_backtest(bars, ScheduledWeights, params={"weights": weights}).equity)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[:0], "must have a row"),
        (lambda table: table.tz_localize("UTC"), "tz-naive dates"),
        (lambda table: table.reset_index(drop=True), "tz-naive dates"),
        (lambda table: table.astype(object).assign(bond="x"), "numbers"),
        (
            lambda table: pd.concat([table, table.shift(freq=pd.Timedelta(hours=16))]),
            "one row per session",
        ),
    ],
)
def test_a_table_without_clear_dates_and_numbers_is_refused(bars, change, message):
    table = change(random_weights(bars.sessions, 6))
    with pytest.raises(ConfigError, match=message):
        run_backtest(bars, ScheduledWeights, params={"weights": table})


def test_a_schedule_starts_where_it_is_told(bars):
    weights = random_weights(bars.sessions, 5)
    first = bars.sessions[150]
    whole, cut = (
        run_backtest(
            b, ScheduledWeights, params={"weights": weights}, decide_from=first
        )
        for b in (bars, bars.between(first))
    )
    assert whole.equity.index[0] == first
    pd.testing.assert_series_equal(whole.equity, cut.equity, check_exact=True)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ([0.6, 0.6, -0.2], "sum to 1"),
        ([0.6, 0.3, 0.0], "sum to 1"),
        ([np.nan, 0.5, 0.5], "sum to 1"),
    ],
)
def test_a_row_that_is_no_portfolio_is_refused(bars, row, rule):
    weights = random_weights(bars.sessions, 0)
    weights.iloc[30] = row
    with pytest.raises(ConfigError, match=rf"{rule}, on {bars.sessions[30].date()}"):
        run_backtest(bars, ScheduledWeights, params={"weights": weights})


@pytest.mark.parametrize("weights", [None, pd.DataFrame({"equity": [1.0]})])
def test_something_else_than_a_table_is_refused(bars, weights):
    with pytest.raises(ConfigError, match="must be a DataFrame with the columns"):
        run_backtest(bars, ScheduledWeights, params={"weights": weights})
