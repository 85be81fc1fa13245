r"""Rules that turn past prices into target weights, without a model.

Each rule is a function of a `History` and returns weights of equity, bond and cash, one
row per session, known at its close: long only, summing to 1. A row is NaN while the
lookback is not full. No setting was fitted here: they are those of the sources.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from trm_bt.market._typing import FloatArray, FloatSessionsByAsset
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.labels import cash_returns

RISK_LOOKBACK: Final = 63
"""Sessions over which inverse volatility and mean-variance see risk: a quarter."""
TARGET_LOOKBACK: Final = 21
"""Sessions over which the volatility target sees risk: a month, as Moreira and Muir."""
TARGET_VOLATILITY: Final = 0.10
MIN_MEAN_SESSIONS: Final = 252
"""Sessions of past returns that an expected return needs at least."""
RISK_AVERSION: Final = 3.0
AVERAGE_LOOKBACK: Final = 200
MOMENTUM_LOOKBACK: Final = 252


@dataclass(frozen=True)
class History:
    """What the three assets earned, session by session.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_sessions,)
        Oldest first.
    returns : ndarray of shape (n_sessions, 3)
        Close-to-close returns of equity, bond and cash as decimals, known at the close
        of their session; the first row, before which nothing is known, is 0.
    """

    sessions: pd.DatetimeIndex
    returns: FloatSessionsByAsset

    @property
    def values(self) -> FloatSessionsByAsset:
        """What one unit in each asset has grown to, shape (n_sessions, 3)."""
        return np.asarray(np.cumprod(1.0 + self.returns, axis=0))

    @property
    def excess(self) -> FloatArray:
        """Returns of equity and bond minus that of cash, shape (n_sessions, 2)."""
        return np.asarray(self.returns[:, :2] - self.returns[:, 2:])


Rule = Callable[[History], FloatSessionsByAsset]


def history_of(bars: Bars) -> History:
    """Return the history of the bars; without a `cash_rate` cash earns nothing."""
    closes = np.column_stack([bars.equity["close"], bars.bond["close"]])
    returns = np.zeros((len(closes), 3))
    returns[1:, :2] = closes[1:] / closes[:-1] - 1.0
    returns[:, 2] = cash_returns(bars)
    return History(bars.sessions, returns)


def inverse_volatility(
    history: History, lookback: int = RISK_LOOKBACK
) -> FloatSessionsByAsset:
    r"""Weigh equity and bond by one over their volatility, and hold no cash.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session.

    Notes
    -----
    With :math:`\sigma_i` the standard deviation of the last `lookback` returns:

    .. math:: w_i = \sigma_i^{-1} / \sum_j \sigma_j^{-1}
    """
    inverse = 1.0 / deviations(history, lookback)
    weights = inverse / inverse.sum(axis=1, keepdims=True)
    return np.column_stack([weights, 0.0 * weights[:, 0]])


def volatility_target(
    history: History, target: float = TARGET_VOLATILITY, lookback: int = TARGET_LOOKBACK
) -> FloatSessionsByAsset:
    r"""Hold as much equity as would have had the volatility `target`, at most all.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session; the rest is cash.

    Notes
    -----
    .. math:: w = \min(1, target / (\sigma \sqrt{252}))

    References
    ----------
    Moreira, A. and Muir, T. (2017). Volatility-managed portfolios. Journal of Finance
    72(4), doi:10.1111/jofi.12513.
    """
    deviation = deviations(history, lookback)[:, 0]
    return equity_or_cash(share_of_target(deviation, target))


def mean_variance(
    history: History,
    risk_aversion: float = RISK_AVERSION,
    lookback: int = RISK_LOOKBACK,
) -> FloatSessionsByAsset:
    r"""Hold the long-only weights with the best mean-variance utility.

    Expected returns in excess of cash are the means of all the past, at least a year;
    risk is the covariance of the last `lookback` returns, so that only risk moves much.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session; what is not invested is cash.

    Notes
    -----
    .. math:: \max_w \; w'\mu - \tfrac{\lambda}{2} w'\Sigma w
        \quad \text{s.t.} \quad w \ge 0, \; \sum_i w_i \le 1

    The best weights are those inside the triangle, or else the best on an edge of it.

    References
    ----------
    Markowitz, H. (1952). Portfolio selection. Journal of Finance 7(1).
    """
    means, covariances = expected_moments(history, lookback)
    return best_long_only(means, covariances, risk_aversion)


def best_long_only(
    means: FloatArray, covariances: FloatArray, aversion: float
) -> FloatSessionsByAsset:
    """Return the long-only weights of the best mean-variance utility.

    Parameters
    ----------
    means, covariances : ndarray of shape (n_sessions, 2) and (n_sessions, 3)
        As `expected_moments` returns them.
    aversion : float

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        NaN where something is not known.
    """
    (e, b), (ee, bb, eb) = means.T, covariances.T
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = np.stack([e * bb - b * eb, b * ee - e * eb], axis=-1)
        inside /= aversion * (ee * bb - eb**2)[:, np.newaxis]
        no_bond = np.clip(e / (aversion * ee), 0.0, 1.0)
        no_equity = np.clip(b / (aversion * bb), 0.0, 1.0)
        along = (e - b + aversion * (bb - eb)) / (aversion * (ee + bb - 2.0 * eb))
    along, none = np.clip(along, 0.0, 1.0), np.zeros(len(e))
    edges = ((no_bond, none), (none, no_equity), (along, 1.0 - along))
    points = np.stack([inside, *[np.stack(edge, axis=-1) for edge in edges]], axis=1)
    utility = _utility(points, means, covariances, aversion)
    is_allowed = (points >= 0.0).all(axis=-1) & (points.sum(axis=-1) <= 1.0)
    best = np.where(is_allowed, utility, -np.inf).argmax(axis=1)
    risky = points[np.arange(len(e)), best]
    weights = np.column_stack([risky, 1.0 - risky.sum(axis=1)])
    weights[np.isnan(means[:, 0]) | np.isnan(covariances).any(axis=1)] = np.nan
    return weights


def mean_variance_of_eight(
    history: History,
    risk_aversion: float = RISK_AVERSION,
    lookback: int = RISK_LOOKBACK,
    allocations: Allocations | None = None,
) -> FloatSessionsByAsset:
    """Hold the allocation, of the eight or those given, with the best utility.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session; of tied allocations, the first.
    """
    means, covariances = expected_moments(history, lookback)
    table = (allocations or Allocations.of(None)).weights
    points = np.tile(table[:, :2], (len(means), 1, 1))
    utility = _utility(points, means, covariances, risk_aversion)
    best = np.nan_to_num(utility).argmax(axis=1)
    weights: FloatSessionsByAsset = table[best]
    weights[np.isnan(means[:, 0])] = np.nan
    return weights


def moving_average(
    history: History, lookback: int = AVERAGE_LOOKBACK
) -> FloatSessionsByAsset:
    """Hold equity while it closes above its average of `lookback` closes, else cash.

    Decided once a month, at the close of its first session (the source decides one
    session earlier, which takes a calendar of the future to know).

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session.

    References
    ----------
    Faber, M. (2007). A quantitative approach to tactical asset allocation. Journal of
    Wealth Management 9(4).
    """
    equity = history.values[:, 0]
    averages = rolling(equity, lookback).mean(axis=-1)
    is_above = equity[lookback - 1 :] > averages
    return monthly(history, padded(np.eye(3)[np.where(is_above, 0, 2)], history))


def dual_momentum(
    history: History, lookback: int = MOMENTUM_LOOKBACK
) -> FloatSessionsByAsset:
    """Hold the better of equity and bond over a year if it beat cash, else cash.

    Decided once a month, at the close of its first session; of equals, the first.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session.

    References
    ----------
    Antonacci, G. (2014). Dual Momentum Investing. McGraw-Hill.
    """
    values = history.values
    earned = values[lookback:] / values[:-lookback]
    better = earned[:, :2].argmax(axis=1)
    is_ahead = earned[:, :2].max(axis=1) > earned[:, 2]
    return monthly(history, padded(np.eye(3)[np.where(is_ahead, better, 2)], history))


WEIGHT_RULES: Final[Mapping[str, Rule]] = {
    "inverse_volatility": inverse_volatility,
    "volatility_target": volatility_target,
    "mean_variance": mean_variance,
    "mean_variance_of_eight": mean_variance_of_eight,
    "moving_average_200": moving_average,
    "dual_momentum": dual_momentum,
}
"""Every rule by the name it has in tables."""


def rolling(values: FloatArray, lookback: int) -> FloatArray:
    """Return the last `lookback` values of each row that has them, last axis."""
    if len(values) < lookback:
        return np.empty((0, *values.shape[1:], lookback))
    return sliding_window_view(values, lookback, axis=0)


def padded(rows: FloatArray, history: History) -> FloatArray:
    """Put NaN rows before `rows`, so that there is one a session."""
    n_before = len(history.sessions) - len(rows)
    return np.concatenate([np.full((n_before, *rows.shape[1:]), np.nan), rows])


def deviations(history: History, lookback: int) -> FloatArray:
    """Return standard deviations of equity and bond, shape (n_sessions, 2)."""
    # the first return is none: it looks back on nothing
    windows = rolling(history.returns[1:, :2], lookback)
    return padded(windows.std(axis=-1, ddof=1), history)


def expected_moments(history: History, lookback: int) -> tuple[FloatArray, FloatArray]:
    """Return what mean-variance rules expect of the next session, NaN before they can.

    Means of equity and bond in excess of cash, shape (n_sessions, 2), and variances of
    the two and their covariance, shape (n_sessions, 3).
    """
    n_past = np.arange(len(history.sessions))[:, np.newaxis]
    means = np.cumsum(history.excess, axis=0) / np.maximum(n_past, 1)
    means[:MIN_MEAN_SESSIONS] = np.nan
    windows = rolling(history.excess[1:], lookback)
    centred = windows - windows.mean(axis=-1, keepdims=True)
    equity, bond = centred[:, 0], centred[:, 1]
    products = [(equity**2), (bond**2), (equity * bond)]
    sums = np.stack([product.sum(axis=-1) for product in products], axis=-1)
    return means, padded(sums / (lookback - 1), history)


def _utility(
    points: FloatArray, means: FloatArray, covariances: FloatArray, aversion: float
) -> FloatArray:
    """Return mean-variance utilities of weights, shape (n_sessions, n_points).

    Parameters
    ----------
    points : ndarray of shape (n_sessions, n_points, 2)
    means, covariances : ndarray
        As `expected_moments` returns them.
    aversion : float
    """
    equity, bond = points[..., 0], points[..., 1]
    ee, bb, eb = (column[:, np.newaxis] for column in covariances.T)
    variance = equity**2 * ee + bond**2 * bb + 2.0 * equity * bond * eb
    expected = equity * means[:, :1] + bond * means[:, 1:]
    return np.asarray(expected - aversion / 2.0 * variance)


def monthly(history: History, weights: FloatArray) -> FloatArray:
    """Keep the weights decided on the first session of each month until the next."""
    months = history.sessions.to_period("M")
    is_first = np.r_[False, months[1:] != months[:-1]]
    rows = np.maximum.accumulate(np.where(is_first, np.arange(len(is_first)), 0))
    held = weights[rows]
    held[rows == 0] = np.nan
    return held


def share_of_target(volatility: FloatArray, target: float) -> FloatArray:
    """Return the share of equity with the annual volatility `target`, at most 1.

    `volatility` is that of a session, shape (n_sessions,).
    """
    with np.errstate(divide="ignore"):
        share = target / (volatility * np.sqrt(SESSIONS_PER_YEAR))
    return np.asarray(np.minimum(1.0, share))


def equity_or_cash(equity: FloatArray) -> FloatSessionsByAsset:
    """Return weights that hold `equity`, shape (n_sessions,), and cash for the rest."""
    return np.column_stack([equity, 0.0 * equity, 1.0 - equity])
