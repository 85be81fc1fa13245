r"""Rules that scale what they hold by a forecast of its volatility.

Each is a function of a `History`, as those of `trm_bt.strategies.rules`, with the
settings of its source, but long only and without leverage. Where a source fits its
target to the whole history, the target is that of `volatility_target`.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.market._typing import FloatSessionsByAsset
from trm_bt.market.variance import expanding_forecast, har_terms, mean_ahead
from trm_bt.strategies.rules import (
    MOMENTUM_LOOKBACK,
    RISK_AVERSION,
    RISK_LOOKBACK,
    TARGET_LOOKBACK,
    TARGET_VOLATILITY,
    History,
    Rule,
    best_long_only,
    equity_or_cash,
    expected_moments,
    monthly,
    padded,
    rolling,
    share_of_target,
)

HORIZON: Final = 5
"""Sessions over which HAR forecasts the variance: a week."""
HIGH_STATE: Final = 0.8
"""Quantile of past months' volatilities above which volatility is high."""
MIN_MONTHS: Final = 12
"""Past months that such a quantile needs at least."""
MOMENTUM_MASS: Final = 60
"""Centre of mass, in sessions, of Moskowitz's weighted volatility."""


def har_mean_variance(
    history: History, risk_aversion: float = RISK_AVERSION
) -> FloatSessionsByAsset:
    r"""Hold the best mean-variance mix, with variances that HAR forecasts for a week.

    Means are those of `mean_variance`, and so is the correlation; the variances of
    equity and bond are regressed on their last day, week and month, at each close on
    all outcomes known then.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session; what is not invested is cash.

    Notes
    -----
    With :math:`\bar r^2_k` the mean of the last k squared excess returns:

    .. math:: \hat\sigma^2 = b_0 + b_1 \bar r^2_1 + b_2 \bar r^2_5 + b_3 \bar r^2_{22}

    References
    ----------
    Corsi, F. (2009). A simple approximate long-memory model of realized volatility.
    Journal of Financial Econometrics 7(2), doi:10.1093/jjfinec/nbp001.
    """
    means, recent = expected_moments(history, RISK_LOOKBACK)
    variances = np.column_stack(
        [
            expanding_forecast(har_terms(column), mean_ahead(column, HORIZON), HORIZON)
            for column in (history.excess**2).T
        ]
    )
    correlation = recent[:, 2] / np.sqrt(recent[:, 0] * recent[:, 1])
    covariance = correlation * np.sqrt(variances.prod(axis=1))
    forecast = np.column_stack([variances, covariance])
    return best_long_only(means, forecast, risk_aversion)


def downside_target(
    history: History, target: float = TARGET_VOLATILITY, lookback: int = TARGET_LOOKBACK
) -> FloatSessionsByAsset:
    r"""Hold equity by the volatility of its losses alone, at most all.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session; the rest is cash.

    Notes
    -----
    Twice the mean of squared losses is the variance of returns that fall as they rise:

    .. math:: w = \min\left(1,
        target \big/ \sqrt{252 \cdot 2 \, \overline{\min(r, 0)^2}}\right)

    References
    ----------
    Wang, F. and Yan, X. (2021). Downside risk and the performance of
    volatility-managed portfolios. Journal of Banking & Finance 131,
    doi:10.1016/j.jbankfin.2021.106198.
    """
    losses = np.minimum(history.returns[1:, 0], 0.0)
    variance = 2.0 * (rolling(losses, lookback) ** 2).mean(axis=-1)
    return equity_or_cash(share_of_target(padded(np.sqrt(variance), history), target))


def conditional_target(history: History) -> FloatSessionsByAsset:
    r"""Hold all equity, but less of it after a month of high volatility.

    A month's volatility is high if it is among the highest fifth of the months so far;
    then equity is held by the volatility of all past sessions over that of the month.
    The source also borrows in the lowest fifth, which without leverage changes nothing.
    Decided once a month, at the close of its first session; a history's first month,
    which may be a part of one, counts for nothing.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session; the rest is cash.

    References
    ----------
    Bongaerts, D., Kang, X. and van Dijk, M. (2020). Conditional volatility targeting.
    Financial Analysts Journal 76(4), doi:10.1080/0015198X.2020.1790853.
    """
    months = history.sessions.to_period("M")
    equity = pd.Series(history.returns[:, 0]).where(np.arange(len(months)) > 0)
    volatility = equity.groupby(months).std().iloc[1:]
    high = volatility.expanding(MIN_MONTHS).quantile(HIGH_STATE)
    usual = equity.expanding(2).std().groupby(months).last().reindex(volatility.index)
    share = (usual / volatility).clip(upper=1.0).where(volatility >= high, 1.0)
    known = share.where(high.notna()).shift(1)
    return equity_or_cash(known.reindex(months).to_numpy())


def timed_momentum(
    history: History, target: float = TARGET_VOLATILITY
) -> FloatSessionsByAsset:
    """Hold equity by its volatility while it beat cash over a year, else cash.

    Decided once a month, at the close of its first session. Models with very many
    parameters that forecast returns from few come to much the same positions (Nagel).

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session; the rest is cash.

    References
    ----------
    Moskowitz, T., Ooi, Y. H. and Pedersen, L. (2012). Time series momentum. Journal of
    Financial Economics 104(2), doi:10.1016/j.jfineco.2011.11.003.
    Nagel, S. (2025). Seemingly virtuous complexity in return prediction. NBER working
    paper 34104.
    """
    values = history.values
    earned = values[MOMENTUM_LOOKBACK:] / values[:-MOMENTUM_LOOKBACK]
    is_ahead = padded((earned[:, 0] > earned[:, 2]).astype(np.float64), history)
    equity = pd.Series(history.returns[:, 0]).where(np.arange(len(values)) > 0)
    volatility = equity.ewm(com=MOMENTUM_MASS).std().to_numpy()
    weights = equity_or_cash(is_ahead * share_of_target(volatility, target))
    return monthly(history, weights)


VOLATILITY_RULES: Final[Mapping[str, Rule]] = {
    "har_mean_variance": har_mean_variance,
    "downside_target": downside_target,
    "conditional_target": conditional_target,
    "timed_momentum": timed_momentum,
}
"""Every rule by the name it has in tables."""
