"""What stands in for a feature whose input is absent, from the three core roles alone.

`put_call_ratio` of the volatility index stands in for that of put/call volume: puts are
bought, and options dear, when investors are afraid. (Whaley, R. (2000). The investor
fear gauge. Journal of Portfolio Management 26(3). doi:10.3905/jpm.2000.319728.)

A proxy keeps the name, the range and the timing of its feature, and the schema says
that it is one. Breadth and dispersion follow from the one-factor picture of a market:
each member moves with the equity and has noise of its own, which grows with the
volatility of the whole. How well each proxy tracks its feature, and what else was
tried, is measured by ``tests/evidence/compare_proxies.py``; see ``docs/proxies.md``.

Rows and shapes are as in `trm_bt.market.formulas`.
"""

import numpy as np

from trm_bt.market._typing import FloatSessions
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.market.formulas import gini
from trm_bt.market.windows import Column, simple_returns, trailing_windows, window_means


def market_breadth_proxy(
    equity: FloatSessions, volatility: FloatSessions, lookback: int
) -> Column:
    r"""Estimate the share of members above their mean close, known at the close.

    The further the equity stands above its own mean, in units of what a random walk of
    its volatility would wander, the larger the share of members that are above theirs.

    Parameters
    ----------
    equity : ndarray of shape (n_sessions,)
        Adjusted closes.
    volatility : ndarray of shape (n_sessions,)
        Closes of the volatility index, percent a year.
    lookback : int
        Sessions in the mean, this one included.

    Returns
    -------
    Column of n_sessions - lookback + 1 rows
        A share in [0, 1], 0.5 where the equity is at its mean.

    Notes
    -----
    With the gap :math:`g = C_t / \bar C - 1`, :math:`\bar C` the mean of k closes, and
    its spread under a random walk :math:`s = \sigma_t \sqrt{k / 3}`, where
    :math:`\sigma_t` is the index as a decimal per session:

    .. math:: \tfrac{1}{2} \left( 1 + g / \sqrt{g^2 + s^2} \right)

    This is the distribution function of Student's t with two degrees of freedom at
    :math:`\sqrt 2\, g / s`. Being algebraic, it has the same bits on every machine.

    References
    ----------
    Sharpe, W. (1963). A simplified model for portfolio analysis. Management Science
    9(2). doi:10.1287/mnsc.9.2.277

    Examples
    --------
    >>> calm, afraid = np.array([20.0, 20.0]), np.array([20.0, 60.0])
    >>> rise = np.array([100.0, 102.0])
    >>> market_breadth_proxy(rise, calm, 2).values.round(3)
    array([0.847])
    >>> market_breadth_proxy(rise, afraid, 2).values.round(3)
    array([0.653])
    """
    gap = equity[lookback - 1 :] / window_means(equity, lookback) - 1.0
    spread = _sigma(volatility[lookback - 1 :]) * np.sqrt(lookback / 3.0)
    return Column.sure(0.5 * (1.0 + gap / np.sqrt(gap * gap + spread * spread)))


def gini_coefficient_proxy(equity: FloatSessions, lookback: int) -> Column:
    r"""Return how unequally the equity's sessions moved it, known at the close.

    Nothing in equity, bond and volatility shows how unequally members move: this
    concentrates over time where the feature concentrates over members, and the two are
    unrelated. Do not read it as an estimate.

    Parameters
    ----------
    equity : ndarray of shape (n_sessions,)
        Adjusted closes.
    lookback : int
        Daily returns compared.

    Returns
    -------
    Column of n_sessions - lookback rows
        Gini coefficient of absolute returns: 0 where all are equal, 1 - 1 / `lookback`
        where one session moved alone; 0, and counted, where none did.

    Notes
    -----
    The formula of `gini_coefficient` with :math:`s` the last k :math:`|r|`.

    Examples
    --------
    >>> gini_coefficient_proxy(np.array([8.0, 8.0, 9.0]), 2).values
    array([0.5])
    """
    return gini(trailing_windows(np.abs(simple_returns(equity)), lookback))


def sector_dispersion_proxy(
    equity: FloatSessions, volatility: FloatSessions, lookback: int
) -> Column:
    r"""Estimate the spread of members' returns, known at the close.

    Members differ by what they make of the equity's move, and by noise that grows with
    the volatility: the squares of both are added, with equal weight because nothing is
    fitted. So its level is about twice the feature's.

    Parameters
    ----------
    equity : ndarray of shape (n_sessions,)
        Adjusted closes.
    volatility : ndarray of shape (n_sessions,)
        Closes of the volatility index, percent a year.
    lookback : int
        Sessions over which the returns run.

    Returns
    -------
    Column of n_sessions - lookback rows
        A decimal return, above 0.

    Notes
    -----
    With :math:`R = C_t / C_{t-k} - 1` and :math:`\sigma_t` the index as a decimal a
    session:

    .. math:: \sqrt{R^2 + k \sigma_t^2}

    References
    ----------
    Sharpe, W. (1963). A simplified model for portfolio analysis. Management Science
    9(2). doi:10.1287/mnsc.9.2.277

    Examples
    --------
    >>> closes, index = np.array([100.0, 103.0]), np.array([20.0, 63.0])
    >>> sector_dispersion_proxy(closes, index, 1).values.round(6)
    array([0.049749])
    """
    move = simple_returns(equity, lookback)
    sigma = _sigma(volatility[lookback:])
    return Column.sure(np.sqrt(move * move + lookback * sigma * sigma))


def _sigma(volatility: FloatSessions) -> FloatSessions:
    """Turn percent a year into a decimal standard deviation per session."""
    return np.asarray(volatility / (100.0 * np.sqrt(SESSIONS_PER_YEAR)))
