"""What makes one allocation better than another: a score for each.

Whatever the objective, an allocation is bought once at the fill and held over the
horizon. Arrays run with the class index first, shape (n_allocations, n_rows): numpy is
fastest along a long last axis, and each row is computed from its own columns alone.
"""

from typing import Final

import numpy as np

from trm_bt.config import LabelConfig
from trm_bt.market._typing import (
    FloatAllocationsBySession,
    FloatArray,
    FloatSessionsByAsset,
)
from trm_bt.market.allocations import Allocations

ROUND_OFF: Final = 1e-12
"""Scores nearer than this are tied, and a deviation this small is none.

Dividing prices leaves errors of some 1e-16 in a return; a billionth of a basis point is
far above that and far below anything that could be earned.
"""


def mix(
    assets: FloatSessionsByAsset, allocations: Allocations | None = None
) -> FloatAllocationsBySession:
    """Weigh what equity, bond and cash came to by each allocation.

    Parameters
    ----------
    assets : ndarray of shape (n_rows, 3)
        Returns or values of equity, bond and cash.
    allocations : Allocations, optional
        By default the eight.

    Returns
    -------
    ndarray of shape (n_allocations, n_rows)
        The weighted sums.
    """
    table = (allocations or Allocations.of(None)).weights
    # sums of products, because BLAS rounds one row unlike the same row among others
    by_asset = np.ascontiguousarray(assets.T)
    mixed: FloatAllocationsBySession = table[:, :1] * by_asset[0]
    for weights, values in zip(table.T[1:], by_asset[1:], strict=True):
        mixed += weights[:, None] * values
    return mixed


def score(
    prices: FloatSessionsByAsset,
    returns: FloatAllocationsBySession,
    config: LabelConfig,
) -> FloatAllocationsBySession:
    r"""Score the allocations by the objective of `config`; the highest wins.

    Parameters
    ----------
    prices : ndarray of shape (n_rows + horizon, 3)
        Prices of equity and bond, and the value of cash, from the first fill on.
    returns : ndarray of shape (n_allocations, n_rows)
        What each allocation earned over the horizon.
    config : LabelConfig
        Objective, horizon, risk aversion and allocations.

    Returns
    -------
    ndarray of shape (n_allocations, n_rows)
        Decimals over the horizon for "pnl" and "mean_variance"; a ratio, not
        annualised, for "sharpe". NaN where a Sharpe ratio has no meaning, because the
        return in excess of cash was the same in each session.

    Notes
    -----
    With :math:`V_k` the value of the held allocation k sessions after the fill,
    :math:`r_k = V_k / V_{k-1} - 1`, :math:`e_k` its excess over the return of cash,
    and :math:`s` a standard deviation over the h sessions, of divisor h - 1:

    .. math:: \text{pnl} = V_h / V_0 - 1
    .. math:: \text{sharpe} = \bar e / s_e
    .. math:: \text{mean\_variance} = V_h / V_0 - 1 - \tfrac{\lambda}{2} h s_r^2

    References
    ----------
    Sharpe, W. F. (1994). The Sharpe ratio. Journal of Portfolio Management 21(1).
    Markowitz, H. (1952). Portfolio selection. Journal of Finance 7(1).
    """
    if config.objective == "pnl":
        return returns
    if config.objective == "mean_variance":
        variances = realised_variances(prices, config)
        return np.asarray(returns - config.risk_aversion / 2 * variances)
    held, cash = held_returns(prices, config)
    excess = held - cash
    deviation = excess.std(axis=0, ddof=1)
    has_risk = deviation > ROUND_OFF
    ratios = np.full(deviation.shape, np.nan)
    ratios[has_risk] = excess.mean(axis=0)[has_risk] / deviation[has_risk]
    return ratios


def realised_variances(
    prices: FloatSessionsByAsset, config: LabelConfig
) -> FloatAllocationsBySession:
    r"""Return the variance that each held allocation had over the horizon.

    Parameters
    ----------
    prices : ndarray of shape (n_rows + horizon, 3)
        Prices of equity and bond, and the value of cash, from the first fill on.
    config : LabelConfig
        Allocations, and the horizon, at least 2.

    Returns
    -------
    ndarray of shape (n_allocations, n_rows)
        Squared decimals over the horizon: in the notation of `score`,
        :math:`h s_r^2`.
    """
    held, _ = held_returns(prices, config)
    return np.asarray(config.horizon * held.var(axis=0, ddof=1))


def held_returns(
    prices: FloatSessionsByAsset, config: LabelConfig
) -> tuple[FloatArray, FloatArray]:
    """Return what each held allocation, and cash, earned session by session.

    Parameters
    ----------
    prices : ndarray of shape (n_rows + horizon, 3)
        Prices of equity and bond, and the value of cash, from the first fill on.
    config : LabelConfig
        Allocations and horizon.

    Returns
    -------
    held : ndarray of shape (horizon, n_allocations, n_rows)
        Simple returns of the allocations, as decimals.
    cash : ndarray of shape (horizon, 1, n_rows)
        Simple returns of cash.
    """
    n_rows = len(prices) - config.horizon
    steps, table = range(config.horizon + 1), Allocations.of(config.allocations)
    grown = (prices[k : k + n_rows] / prices[:n_rows] for k in steps)
    values = np.stack([mix(growth, table) for growth in grown])
    cash = np.stack([prices[k : k + n_rows, 2] for k in steps])[:, np.newaxis]
    return values[1:] / values[:-1] - 1.0, cash[1:] / cash[:-1] - 1.0
