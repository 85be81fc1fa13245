"""What an outcome is worth: utilities of realised returns, and what trading costs."""

from typing import Final

import numpy as np

from trm_bt.config import TrainingConfig
from trm_bt.market.allocations import ALLOCATION_WEIGHTS

_BASIS_POINT: Final = 1e-4
_N_TRADED: Final = 2
"""Equity and bond come first; the third, cash, is what is left and costs nothing."""


def session_utilities(
    returns: np.ndarray, horizon: int, config: TrainingConfig
) -> np.ndarray:
    r"""Return the utility per session of each realised return.

    Parameters
    ----------
    returns : ndarray of shape (n_rows, n_allocations)
        Realised returns over the horizon, as decimals above -1.
    horizon : int
        Sessions that each return took.
    config : TrainingConfig
        Its `utility` and `risk_aversion`.

    Returns
    -------
    ndarray of shape (n_rows, n_allocations)
        Decimals per session, known when the returns are.

    Notes
    -----
    With :math:`R` the return over h sessions: linear :math:`R / h`, log
    :math:`\ln(1 + R) / h`, mean-variance :math:`(R - \lambda R^2 / 2) / h`, in which
    :math:`R^2` estimates the variance from the one outcome there is.

    References
    ----------
    Markowitz, H. (1952). Portfolio selection. Journal of Finance 7(1).
    Kelly, J. (1956). A new interpretation of information rate. Bell System Technical
    Journal 35(4).
    """
    if config.utility == "log":
        returns = np.log1p(returns)
    elif config.utility == "mean_variance":
        returns = returns - 0.5 * config.risk_aversion * returns**2
    per_session: np.ndarray = returns / horizon
    return per_session


def turnover_costs(before: np.ndarray, config: TrainingConfig) -> np.ndarray:
    """Return what it costs to go from given weights to each allocation.

    Parameters
    ----------
    before : ndarray of shape (n_rows, 3)
        Weights of equity, bond and cash held before the decision.
    config : TrainingConfig
        Its `turnover_cost_bps`.

    Returns
    -------
    ndarray of shape (n_rows, n_allocations)
        Decimals: basis points of the value traded in equity and bond.

    Examples
    --------
    >>> config = TrainingConfig(turnover_cost_bps=5)
    >>> turnover_costs(np.array([[0.2, 0.5, 0.3]]), config)[0, :2].round(7).tolist()
    [0.0, 0.0002]
    """
    moved = ALLOCATION_WEIGHTS[None, :, :_N_TRADED] - before[:, None, :_N_TRADED]
    costs: np.ndarray = (
        config.turnover_cost_bps * _BASIS_POINT * np.abs(moved).sum(axis=2)
    )
    return costs


def decided_utilities(
    utilities: np.ndarray, choices: np.ndarray, config: TrainingConfig
) -> np.ndarray:
    """Return what a sequence of decisions was worth, net of trading between them.

    Parameters
    ----------
    utilities : ndarray of shape (n_rows, n_allocations)
        Utility of every allocation, rows oldest first.
    choices : ndarray of shape (n_rows,)
        Class index of the allocation chosen in each row.
    config : TrainingConfig
        Its `turnover_cost_bps`.

    Returns
    -------
    ndarray of shape (n_rows,)
        Decimals per session; the first row pays nothing to get in.
    """
    rows = np.arange(len(choices))
    held_before = ALLOCATION_WEIGHTS[choices[np.maximum(rows - 1, 0)]]
    net: np.ndarray = (utilities - turnover_costs(held_before, config))[rows, choices]
    return net
