"""Many schedules of weights replayed at once, with the accounts of the engine.

Backtrader runs one strategy in seconds; a thousand random ones, or a hundred costs,
take arrays. The trades, costs and cash are those of `run_backtest` with
`ScheduledWeights`, and a test holds the two together.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trm_bt.config import ScheduleName
from trm_bt.market.bars import Bars
from trm_bt.market.labels import cash_returns
from trm_bt.strategies.schedule import traded_rows
from trm_bt.strategies.sizing import CASH_RESERVE, MIN_DRIFT

_N_STEPS: Final = 3
"""Newton steps to the value after costs: one more than there are assets."""


@dataclass(frozen=True)
class Replay:
    """What became of each schedule.

    Parameters
    ----------
    values : ndarray of shape (n_sessions, n_paths)
        Value at each close of one unit of cash at the first.
    turnover : ndarray of shape (n_paths,)
        Half the traded value over the value at the close, summed over all sessions.
    """

    values: np.ndarray
    turnover: np.ndarray

    def excess(self, cash_returns: np.ndarray) -> np.ndarray:
        """Return session returns less those of cash, shape (n_sessions - 1, n_paths).

        Parameters
        ----------
        cash_returns : ndarray of shape (n_sessions - 1,)
            What cash earned in each session after the first.
        """
        returns = self.values[1:] / self.values[:-1] - 1.0
        return np.asarray(returns - cash_returns[:, np.newaxis])


def replay(
    bars: Bars,
    targets: np.ndarray,
    cost_rates: np.ndarray,
    *,
    band: float = 0.0,
    schedule: ScheduleName = "bar",
) -> Replay:
    """Trade each path over the bars, filled at the open after each decision.

    Parameters
    ----------
    bars : Bars
        The sessions of the schedules, no others.
    targets : ndarray of shape (n_sessions, n_paths, 2)
        Weights of equity and bond decided at each close; `n_paths` may be 1, to be
        replayed at several costs.
    cost_rates : ndarray of shape (n_paths,)
        Costs as a share of the traded value, one a path.
    band : float
        Weights may drift this far from their targets before anything is traded.
    schedule : {"bar", "weekly", "monthly", "change"}
        Closes whose decision is traded.

    Returns
    -------
    Replay
        The first row is the base: nothing is traded before the second session.
    """
    assets = (bars.equity, bars.bond)
    opens = np.column_stack([asset["open"] for asset in assets])
    closes = np.column_stack([asset["close"] for asset in assets])
    growth = 1.0 + cash_returns(bars).to_numpy()
    n_paths = max(targets.shape[1], len(cost_rates))
    is_due = traded_rows(bars.sessions, targets, schedule)
    shares, cash = np.zeros((n_paths, 2)), np.ones(n_paths)
    values, turnover = np.ones((len(opens), n_paths)), np.zeros(n_paths)
    for t in range(1, len(opens)):
        cash *= growth[t]
        held = shares * opens[t]
        trades = _trades(targets[t - 1], held, cash, cost_rates, band)
        trades *= is_due[t - 1][:, np.newaxis]
        traded = np.abs(trades).sum(axis=1)
        shares += trades / opens[t]
        cash -= trades.sum(axis=1) + cost_rates * traded
        values[t] = cash + shares @ closes[t]
        turnover += traded / values[t] / 2.0
    return Replay(values, turnover)


def _trades(
    targets: np.ndarray,
    held: np.ndarray,
    cash: np.ndarray,
    cost_rates: np.ndarray,
    band: float,
) -> np.ndarray:
    """Return the value to buy of each asset, shape (n_paths, 2); negative sells."""
    value = cash + held.sum(axis=1)
    gaps = np.abs(held - targets * value[:, np.newaxis])
    cash_gap = np.abs(cash - (1.0 - targets.sum(axis=1)) * value)
    is_left = np.maximum(gaps.max(axis=1), cash_gap) / value <= max(band, MIN_DRIFT)
    scale, costs = value, cost_rates[:, np.newaxis]
    for _ in range(_N_STEPS):
        slopes = np.where(targets * scale[:, np.newaxis] > held, costs, -costs)
        paid = value * (1.0 - CASH_RESERVE) + (slopes * held).sum(axis=1)
        scale = paid / (1.0 + (slopes * targets).sum(axis=1))
    trades = targets * scale[:, np.newaxis] - held
    trades[is_left] = 0.0
    return np.asarray(trades)
