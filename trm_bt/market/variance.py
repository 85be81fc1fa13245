r"""Forecasts of variance from past returns: the simple models that others must beat.

Variances are of one session, as squared decimals, float64, oldest session first; each
forecast is known at the close of its session, and NaN while it cannot be made.
"""

from typing import Final

import numpy as np
import pandas as pd

from trm_bt.market._typing import FloatArray, FloatSessions

DECAY: Final = 0.94
"""RiskMetrics' decay of daily variances."""
HAR_LOOKBACKS: Final = (1, 5, 22)
"""Corsi's day, week and month, in sessions."""
MIN_OUTCOMES: Final = 252
"""Known outcomes that a regression takes at least."""
_PERCENT: Final = 1e4
"""Squared per cent in a squared decimal: of that size, sums keep their digits."""


def ewma_variance(squares: FloatSessions, decay: float = DECAY) -> FloatSessions:
    r"""Return the exponentially weighted mean of squared returns.

    Parameters
    ----------
    squares : ndarray of shape (n_sessions,)
        Squared returns; the first, before which nothing is known, counts as none.
    decay : float
        Weight of a session relative to the next one.

    Returns
    -------
    ndarray of shape (n_sessions,)

    Notes
    -----
    .. math:: \hat\sigma^2_t = \sum_i \delta^i r^2_{t-i} \big/ \sum_i \delta^i

    References
    ----------
    J.P. Morgan/Reuters (1996). RiskMetrics technical document, 4th edition.
    """
    known = pd.Series(squares).where(np.arange(len(squares)) > 0)
    lookback = HAR_LOOKBACKS[-1]
    return known.ewm(alpha=1.0 - decay, min_periods=lookback).mean().to_numpy()


def har_terms(squares: FloatSessions) -> FloatArray:
    """Return mean squared returns of the last day, week and month.

    Parameters
    ----------
    squares : ndarray of shape (n_sessions,)
        As `ewma_variance` takes them.

    Returns
    -------
    ndarray of shape (n_sessions, 3)

    References
    ----------
    Corsi, F. (2009). A simple approximate long-memory model of realized volatility.
    Journal of Financial Econometrics 7(2), doi:10.1093/jjfinec/nbp001.
    """
    known = pd.Series(squares).where(np.arange(len(squares)) > 0)
    means = [known.rolling(lookback).mean() for lookback in HAR_LOOKBACKS]
    return np.column_stack(means)


def mean_ahead(squares: FloatSessions, horizon: int) -> FloatSessions:
    """Return the mean of the next `horizon` squared returns, NaN where not known yet.

    Shape (n_sessions,). Never a feature: it is what a forecast is held against.
    """
    return pd.Series(squares).rolling(horizon).mean().shift(-horizon).to_numpy()


def expanding_forecast(
    terms: FloatArray, outcomes: FloatSessions, delay: int
) -> FloatSessions:
    """Forecast variances by least squares, refitted at each close on all that is known.

    Parameters
    ----------
    terms : ndarray of shape (n_sessions, n_terms)
        What is known at each close; an intercept is added.
    outcomes : ndarray of shape (n_sessions,)
        The variance that followed each close.
    delay : int
        Sessions from a close until its outcome is known.

    Returns
    -------
    ndarray of shape (n_sessions,)
        A forecast outside the range of the outcomes it was fitted on is replaced by
        their mean, as in the source: a variance is never negative.

    References
    ----------
    Bollerslev, T., Patton, A. and Quaedvlieg, R. (2016). Exploiting the errors: a
    simple approach for improved volatility forecasting. Journal of Econometrics 192(1),
    doi:10.1016/j.jeconom.2015.10.007.
    """
    n_sessions = len(terms)
    rows = np.column_stack([np.ones(n_sessions), terms * _PERCENT])
    scaled = outcomes * _PERCENT
    is_whole = np.isfinite(rows).all(axis=1) & np.isfinite(scaled)
    used = np.where(is_whole[:, np.newaxis], rows, 0.0)
    answers = np.where(is_whole, scaled, 0.0)
    gram = _known(np.cumsum(used[:, :, np.newaxis] * used[:, np.newaxis], 0), delay)
    cross = _known(np.cumsum(used * answers[:, np.newaxis], 0), delay)
    n_known, total = (_known(np.cumsum(x), delay) for x in (is_whole, answers))
    low = _known(np.minimum.accumulate(np.where(is_whole, scaled, np.inf)), delay)
    high = _known(np.maximum.accumulate(np.where(is_whole, scaled, -np.inf)), delay)
    slopes = np.einsum("tij,tj->ti", np.linalg.pinv(gram, hermitian=True), cross)
    forecast = np.einsum("ti,ti->t", rows, slopes)
    is_sane = (forecast >= low) & (forecast <= high)
    usual = total / np.maximum(n_known, 1)
    forecast = np.where(is_sane | np.isnan(forecast), forecast, usual) / _PERCENT
    return np.where(n_known >= MIN_OUTCOMES, forecast, np.nan)


def _known(sums: FloatArray, delay: int) -> FloatArray:
    """Return running sums as they are known `delay` rows later, zero before."""
    late = np.zeros_like(sums)
    late[delay:] = sums[: len(sums) - delay]
    return late
