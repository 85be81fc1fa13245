"""What decisions earned, through the accounts of the engine, to one investor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from benchmarks.ablation.folds import TEST_SPANS
from trm_bt.evaluation.metrics import max_drawdown, sharpe
from trm_bt.evaluation.replay import replay
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.labels import cash_returns

RISK_AVERSION: Final = 5.0
"""Of the investor who chooses: what pays 0.4 a year for a unit of risk he holds at a
volatility of 8 %, and sees 20 % under water now and then."""
COST_RATE: Final = 5e-4


@dataclass(frozen=True)
class Rule:
    """How probabilities become weights; as the settings of the strategy.

    Parameters
    ----------
    decision : {"argmax", "blend"}
        The most probable allocation, or all by probability.
    n_averaged : int
        Probabilities are averaged over the last so many decisions.
    rebalance_band : float
        Weights may drift so far before anything is traded.
    """

    decision: Literal["argmax", "blend"] = "argmax"
    n_averaged: int = 1
    rebalance_band: float = 0.0

    def weights(self, probabilities: pd.DataFrame) -> np.ndarray:
        """Return weights of equity and bond.

        Parameters
        ----------
        probabilities : DataFrame of shape (n_sessions, 8)
            Oldest first.

        Returns
        -------
        ndarray of shape (n_sessions, 2)
            Known at the close of their session.
        """
        shares = probabilities.rolling(self.n_averaged, min_periods=1).mean().to_numpy()
        if self.decision == "argmax":
            return ALLOCATION_WEIGHTS[shares.argmax(axis=1), :2]
        return np.asarray(shares @ ALLOCATION_WEIGHTS[:, :2])


RULES: Final = tuple(
    Rule(decision, n_averaged, band)
    for decision in ("argmax", "blend")
    for n_averaged in (1, 5)
    for band in (0.0, 0.1)
)


@dataclass(frozen=True)
class Record:
    """What one schedule of weights came to, net of 5 basis points of what it traded.

    Parameters
    ----------
    equity : Series of shape (n_sessions,)
        Value at the closes; the first row is the base.
    excess : Series of shape (n_sessions - 1,)
        Session returns less those of cash.
    sharpe, max_drawdown, turnover : float
        Annual and in excess of cash; a decimal, at most 0; a year.
    mean_weights : ndarray of shape (2,)
        Average target weights of equity and bond.
    """

    equity: pd.Series
    excess: pd.Series
    sharpe: float
    max_drawdown: float
    turnover: float
    mean_weights: np.ndarray

    @property
    def utility(self) -> float:
        """Mean-variance utility of a year, as a decimal."""
        return utility(self.excess)

    @property
    def by_span(self) -> list[float]:
        """The same for each test span."""
        return [utility(self.excess[start:end]) for start, end in TEST_SPANS]  # type: ignore[misc]


def utility(excess: pd.Series) -> float:
    r"""Return the mean-variance utility of a year, as a decimal.

    Parameters
    ----------
    excess : Series of shape (n_sessions,)
        Session returns less those of cash.

    Notes
    -----
    With :math:`\bar e` and :math:`s^2` the mean and the variance of the excess returns,
    :math:`252 (\bar e - \lambda s^2 / 2)` at :math:`\lambda = 5`.
    """
    penalty = RISK_AVERSION / 2 * excess.var()
    return float(SESSIONS_PER_YEAR * (excess.mean() - penalty))


def hold(bars: Bars, schedules: Sequence[np.ndarray], band: float) -> list[Record]:
    """Trade schedules of weights over the same bars.

    Parameters
    ----------
    bars : Bars
        The sessions of the schedules, no others.
    schedules : sequence of ndarray of shape (n_sessions, 2)
        Weights of equity and bond decided at each close.
    band : float
        As `Rule.rebalance_band`.
    """
    targets = np.stack(schedules, axis=1)
    run = replay(bars, targets, np.full(len(schedules), COST_RATE), band=band)
    cash = cash_returns(bars)
    excess = run.excess(cash.to_numpy()[1:])
    n_years = (len(bars.sessions) - 1) / SESSIONS_PER_YEAR
    records = []
    for path, schedule in enumerate(schedules):
        equity = pd.Series(run.values[:, path], bars.sessions)
        ratio = sharpe(equity, cash)
        assert ratio is not None
        records.append(
            Record(
                equity,
                pd.Series(excess[:, path], bars.sessions[1:]),
                ratio,
                max_drawdown(equity),
                float(run.turnover[path] / n_years),
                schedule.mean(axis=0),
            )
        )
    return records
