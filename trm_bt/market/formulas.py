"""The ten features as formulas: numbers of past sessions in, one column out.

Every function takes arrays that run from the oldest session to the newest and returns
a `Column` with one row for each session that has its whole lookback: the last row
belongs to the last session and is known at its close. r is a simple daily return, t
the session of the row, k a lookback; sums run over the k sessions that end at t.

What each feature becomes where its input is absent is in `trm_bt.market.proxies`.
"""

from typing import Final

import numpy as np

from trm_bt.market._typing import FloatArray, FloatSessions, FloatSessionsByMember
from trm_bt.market.windows import (
    Column,
    simple_returns,
    trailing_windows,
    window_means,
    window_sums,
)

_STILL: Final = 1e-12
"""A deviation of daily returns below this is round-off of equal returns."""


def vix_level(volatility: FloatSessions) -> Column:
    """Return the volatility index itself, known at the close.

    Parameters
    ----------
    volatility : ndarray of shape (n_sessions,)
        Closes of the index: implied volatility of the next month, percent a year.

    Returns
    -------
    Column of n_sessions rows
        Index points, above 0.

    References
    ----------
    Whaley, R. (2000). The investor fear gauge. Journal of Portfolio Management 26(3).
    doi:10.3905/jpm.2000.319728

    Examples
    --------
    >>> vix_level(np.array([18.5, 21.0])).values
    array([18.5, 21. ])
    """
    return Column.sure(np.array(volatility, dtype=np.float64))


def spy_returns(equity: FloatSessions, lookback: int) -> Column:
    r"""Return what the equity earned over `lookback` sessions, known at the close.

    Parameters
    ----------
    equity : ndarray of shape (n_sessions,)
        Adjusted closes.
    lookback : int
        Sessions from the earlier close to this one, at least 1.

    Returns
    -------
    Column of n_sessions - lookback rows
        Simple returns as decimals, above -1.

    Notes
    -----
    .. math:: C_t / C_{t-k} - 1

    References
    ----------
    Jegadeesh, N. (1990). Evidence of predictable behavior of security returns. Journal
    of Finance 45(3). doi:10.1111/j.1540-6261.1990.tb05110.x

    Examples
    --------
    >>> spy_returns(np.array([100.0, 90.0, 125.0]), 2).values
    array([0.25])
    """
    return Column.sure(simple_returns(equity, lookback))


def volume_ratio(volume: FloatSessions, lookback: int) -> Column:
    r"""Divide the session's volume by its recent mean, known at the close.

    Parameters
    ----------
    volume : ndarray of shape (n_sessions,)
        Traded volume in any unit, at least 0.
    lookback : int
        Sessions in the mean, this one included.

    Returns
    -------
    Column of n_sessions - lookback + 1 rows
        A number from 0 to `lookback`, 1 on an average session; 0, and counted, where
        nothing was traded in the whole lookback.

    Notes
    -----
    .. math:: V_t / \tfrac{1}{k} \sum V

    References
    ----------
    Gervais, S., Kaniel, R. and Mingelgrin, D. (2001). The high-volume return premium.
    Journal of Finance 56(3). doi:10.1111/0022-1082.00349

    Examples
    --------
    >>> volume_ratio(np.array([1.0, 1.0, 4.0]), 3).values
    array([2.])
    """
    return Column.ratio(volume[lookback - 1 :], window_means(volume, lookback))


def market_breadth(members: FloatSessionsByMember, lookback: int) -> Column:
    r"""Return the share of members above their own mean close, known at the close.

    Parameters
    ----------
    members : ndarray of shape (n_sessions, n_members)
        Adjusted closes.
    lookback : int
        Sessions in each mean, this one included.

    Returns
    -------
    Column of n_sessions - lookback + 1 rows
        A share in [0, 1]; a member at its mean is not above it. NaN where a member
        has a NaN among its closes.

    Notes
    -----
    .. math:: \frac{1}{n} \sum_i [\, C_{i,t} > \tfrac{1}{k} \sum C_i \,]

    References
    ----------
    Colby, R. (2003). The Encyclopedia of Technical Market Indicators, 2nd ed.:
    breadth, and the share of stocks above a moving average.

    Examples
    --------
    >>> closes = np.array([[10.0, 10.0], [11.0, 9.0]])
    >>> market_breadth(closes, 2).values
    array([0.5])
    """
    means = window_means(members, lookback)
    share = (members[lookback - 1 :] > means).mean(axis=-1)
    return Column.sure(np.where(np.isnan(means).any(axis=-1), np.nan, share))


def correlation(equity: FloatSessions, bond: FloatSessions, lookback: int) -> Column:
    r"""Correlate the returns of equity and bond (Pearson), known at the close.

    Parameters
    ----------
    equity, bond : ndarray of shape (n_sessions,)
        Adjusted closes.
    lookback : int
        Daily returns in each coefficient, at least 2.

    Returns
    -------
    Column of n_sessions - lookback rows
        A coefficient in [-1, 1]; 0, and counted, where the returns of one of the two
        did not vary, round-off aside.

    Notes
    -----
    .. math:: \frac{\sum (r - \bar r)(b - \bar b)}
              {\sqrt{\sum (r - \bar r)^2 \sum (b - \bar b)^2}}

    References
    ----------
    Connolly, R., Stivers, C. and Sun, L. (2005). Stock market uncertainty and the
    stock-bond return relation. Journal of Financial and Quantitative Analysis 40(1).
    doi:10.1017/S0022109000001782

    Examples
    --------
    >>> correlation(np.array([4.0, 5.0, 4.0]), np.array([5.0, 4.0, 5.0]), 2).values
    array([-1.])
    """
    left = _centred(trailing_windows(simple_returns(equity), lookback))
    right = _centred(trailing_windows(simple_returns(bond), lookback))
    sizes = (left * left).sum(axis=-1), (right * right).sum(axis=-1)
    is_still = np.minimum(*sizes) < lookback * _STILL**2
    scale = np.where(is_still, 0.0, np.sqrt(sizes[0] * sizes[1]))
    values, is_zero = Column.ratio((left * right).sum(axis=-1), scale)
    return Column(np.clip(values, -1.0, 1.0), is_zero)


def put_call_ratio(put_call: FloatSessions, short: int, long: int) -> Column:
    r"""Hold the recent put/call ratio against its longer mean, known at the close.

    The ratio's level depends on the exchange and has broken with its rules; against
    its own mean such a break is forgotten after `long` sessions.

    Parameters
    ----------
    put_call : ndarray of shape (n_sessions,)
        Volume of puts over volume of calls, above 0.
    short, long : int
        Sessions in the numerator's and in the denominator's mean.

    Returns
    -------
    Column of n_sessions - max(short, long) + 1 rows
        A number above 0 and at most `long` / `short`, 1 at the usual ratio.

    Notes
    -----
    .. math:: \frac{\tfrac{1}{s} \sum_s q}{\tfrac{1}{l} \sum_l q}

    References
    ----------
    Pan, J. and Poteshman, A. (2006). The information in option volume for future stock
    prices. Review of Financial Studies 19(3). doi:10.1093/rfs/hhj024

    Examples
    --------
    >>> put_call_ratio(np.array([0.5, 0.5, 1.5, 1.5]), short=2, long=4).values
    array([1.5])
    """
    n_rows = len(put_call) - max(short, long) + 1
    return Column.ratio(
        window_means(put_call, short)[-n_rows:], window_means(put_call, long)[-n_rows:]
    )


def gini_coefficient(members: FloatSessionsByMember, lookback: int) -> Column:
    r"""Return how unequally members moved, as a Gini coefficient, known at the close.

    Parameters
    ----------
    members : ndarray of shape (n_sessions, n_members)
        Adjusted closes.
    lookback : int
        Daily returns in each member's sum.

    Returns
    -------
    Column of n_sessions - lookback rows
        0 where all moved alike, 1 - 1 / n_members where one moved alone; 0, and
        counted, where none moved.

    Notes
    -----
    With :math:`s_1 \le \dots \le s_n` the members' sums of absolute returns,
    :math:`\sum |r_i|`, in order:

    .. math:: \frac{\sum_i (2i - n - 1) s_i}{n \sum_i s_i}

    References
    ----------
    Gini, C. (1912). Variabilità e mutabilità.

    Examples
    --------
    >>> still, moving = [8.0, 8.0, 8.0], [8.0, 9.0, 8.0]
    >>> gini_coefficient(np.array([still, moving]).T, 2).values
    array([0.5])
    """
    return gini(window_sums(np.abs(simple_returns(members)), lookback))


def sector_dispersion(members: FloatSessionsByMember, lookback: int) -> Column:
    r"""Return the spread of the members' returns, known at the close.

    Parameters
    ----------
    members : ndarray of shape (n_sessions, n_members)
        Adjusted closes.
    lookback : int
        Sessions over which each member's return runs.

    Returns
    -------
    Column of n_sessions - lookback rows
        Standard deviation across members (denominator n_members) of decimal returns,
        at least 0.

    Notes
    -----
    With :math:`R_i = C_{i,t} / C_{i,t-k} - 1` and :math:`\bar R` their mean:

    .. math:: \sqrt{\tfrac{1}{n} \sum_i (R_i - \bar R)^2}

    References
    ----------
    Solnik, B. and Roulet, J. (2000). Dispersion as cross-sectional correlation.
    Financial Analysts Journal 56(1). doi:10.2469/faj.v56.n1.2330

    Examples
    --------
    >>> sector_dispersion(np.array([[100.0, 100.0], [110.0, 90.0]]), 1).values.round(9)
    array([0.1])
    """
    return Column.sure(simple_returns(members, lookback).std(axis=-1))


def signal_quality_score(equity: FloatSessions, lookback: int) -> Column:
    r"""Return how straight the equity's path was, known at the close.

    Parameters
    ----------
    equity : ndarray of shape (n_sessions,)
        Adjusted closes.
    lookback : int
        Daily returns in the path.

    Returns
    -------
    Column of n_sessions - lookback rows
        Kaufman's efficiency ratio of the returns: 1 where all have one sign, near 0
        where they cancel; 0, and counted, where prices did not move.

    Notes
    -----
    .. math:: |\sum r| / \sum |r|

    References
    ----------
    Kaufman, P. (2013). Trading Systems and Methods, 5th ed.: efficiency ratio.

    Examples
    --------
    >>> signal_quality_score(np.array([8.0, 9.0, 10.0, 11.0]), 3).values
    array([1.])
    """
    returns = simple_returns(equity)
    way = window_sums(np.abs(returns), lookback)
    return Column.ratio(np.abs(window_sums(returns, lookback)), way)


def gini(sizes: FloatArray) -> Column:
    """Return the Gini coefficient along the last axis of sizes that are at least 0.

    Parameters
    ----------
    sizes : ndarray of shape (n_rows, n)
        In any order and unit.

    Returns
    -------
    Column of n_rows rows
        From 0, all equal, to 1 - 1 / n, one alone; 0, and counted, where all are 0.

    Examples
    --------
    >>> gini(np.array([[2.0, 2.0, 2.0], [0.0, 5.0, 0.0]])).values.round(9)
    array([0.        , 0.66666667])
    """
    n = sizes.shape[-1]
    ranks = 2.0 * np.arange(1, n + 1) - n - 1
    ordered = np.sort(sizes, axis=-1)
    return Column.ratio((ordered * ranks).sum(axis=-1), n * sizes.sum(axis=-1))


def _centred(windows: FloatArray) -> FloatArray:
    """Subtract from each row its mean."""
    return np.asarray(windows - windows.mean(axis=-1, keepdims=True))
