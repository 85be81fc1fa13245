"""What stands in for a feature whose input is absent, from the three core roles alone.

A proxy keeps the name, the range and the timing of its feature, and the schema says
that it is one.

Rows and shapes are as in `trm_bt.market.formulas`.
"""

import numpy as np

from trm_bt.market.formulas import gini, put_call_ratio, sector_dispersion
from trm_bt.market.windows import (
    Column,
    simple_returns,
    trailing_windows,
    window_means,
)


def market_breadth_proxy(equity: np.ndarray, lookback: int) -> Column:
    r"""Return the share of the equity's sessions that rose, known at the close.

    Parameters
    ----------
    equity : ndarray of shape (n_sessions,)
        Adjusted closes.
    lookback : int
        Daily returns counted.

    Returns
    -------
    Column of n_sessions - lookback rows
        A share in [0, 1].

    Notes
    -----
    .. math:: \tfrac{1}{k} \sum [\, r > 0 \,]

    Examples
    --------
    >>> market_breadth_proxy(np.array([8.0, 9.0, 8.0]), 2).values
    array([0.5])
    """
    rises = (simple_returns(equity) > 0).astype(np.float64)
    return Column.sure(window_means(rises, lookback))


def put_call_ratio_proxy(volatility: np.ndarray, short: int, long: int) -> Column:
    r"""Hold the recent volatility index against its longer mean, known at the close.

    Puts are bought, and options dear, when investors are afraid.

    Parameters
    ----------
    volatility : ndarray of shape (n_sessions,)
        Closes of the volatility index, above 0.
    short, long : int
        Sessions in the numerator's and in the denominator's mean.

    Returns
    -------
    Column of n_sessions - max(short, long) + 1 rows
        A number above 0 and at most `long` / `short`, 1 at the usual level.

    Notes
    -----
    .. math:: \frac{\tfrac{1}{s} \sum_s v}{\tfrac{1}{l} \sum_l v}

    References
    ----------
    Whaley, R. (2000). The investor fear gauge. Journal of Portfolio Management 26(3).
    doi:10.3905/jpm.2000.319728

    Examples
    --------
    >>> put_call_ratio_proxy(np.array([10.0, 10.0, 30.0, 30.0]), 2, 4).values
    array([1.5])
    """
    return put_call_ratio(volatility, short, long)


def gini_coefficient_proxy(equity: np.ndarray, lookback: int) -> Column:
    r"""Return how unequally the equity's sessions moved it, known at the close.

    Nothing in equity, bond and volatility tells how unequally members move: this
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
    equity: np.ndarray, bond: np.ndarray, lookback: int
) -> Column:
    r"""Return the spread of the returns of equity and bond, known at the close.

    Parameters
    ----------
    equity, bond : ndarray of shape (n_sessions,)
        Adjusted closes.
    lookback : int
        Sessions over which the returns run.

    Returns
    -------
    Column of n_sessions - lookback rows
        Standard deviation of the two decimal returns, at least 0.

    Notes
    -----
    The formula of `sector_dispersion` with equity and bond as members.

    Examples
    --------
    >>> equity, bond = np.array([100.0, 110.0]), np.array([100.0, 90.0])
    >>> sector_dispersion_proxy(equity, bond, 1).values.round(9)
    array([0.1])
    """
    return sector_dispersion(np.stack([equity, bond], axis=-1), lookback)
