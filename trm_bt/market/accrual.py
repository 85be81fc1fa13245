"""Income that a fund earns each session and pays once a month, put where it is earned.

The net asset value of a bond fund holds no accrued income, so closes adjusted for its
distributions rise by a month's income on the session that pays it.
"""

from typing import Final

import numpy as np
import pandas as pd

_SHORTEST_MONTH: Final = 19
"""Sessions: those before the first close have earned of its payment too."""
_LEAST_MONTHS: Final = 24
_AROUND: Final = 61
"""Months whose mean is the income of the one in their middle."""
_SIGNIFICANT: Final = 4.0
"""Standard errors that last sessions must stand above the others."""


def accrue(closes: pd.Series, paid: pd.Series) -> pd.Series:
    r"""Spread each payment evenly over the sessions since the one before.

    Parameters
    ----------
    closes : Series of shape (n_sessions,)
        Adjusted closes, which rise by a payment on its session.
    paid : Series of shape (n_payments,)
        Payments as a share of the value before, by their session.

    Returns
    -------
    Series of shape (n_sessions,)
        Closes with the same growth from payment to payment. Sessions after the last
        payment accrue at its pace.

    Notes
    -----
    A payment :math:`i` at the end of n sessions changes their logarithmic returns by
    :math:`\ln(1 + i) / n`, and that of the last one by :math:`-\ln(1 + i)` as well.
    """
    places = np.sort(closes.index.get_indexer(paid.index))
    income = np.log1p(paid.sort_index().to_numpy(np.float64))
    change = np.zeros(len(closes))
    begin, pace = 0, 0.0
    for place, amount in zip(places, income, strict=True):
        n_sessions = place - begin if begin else max(place + 1, _SHORTEST_MONTH)
        pace = amount / n_sessions
        change[begin + 1 : place + 1] += pace
        change[place] -= amount
        begin = place
    change[begin + 1 :] += pace
    return closes * np.exp(np.cumsum(change))


def monthly_income(closes: pd.Series) -> pd.Series:
    """Estimate what adjusted closes pay on the last session of each month.

    Parameters
    ----------
    closes : Series of shape (n_sessions,)
        Adjusted closes, oldest session first.

    Returns
    -------
    Series of shape (n_months,)
        By the last session of each whole month: how much more those sessions earn than
        the others of their months, as a mean over five years around. Empty over less
        than two years, or where they earn no more.
    """
    index = pd.DatetimeIndex(closes.index)
    months = index.year * 12 + index.month
    moves = closes.pct_change().to_numpy()
    is_last = np.append(months[1:] != months[:-1], False)
    others = pd.Series(np.where(is_last, np.nan, moves)).groupby(months).mean()
    ends = index[is_last]
    excess = pd.Series(moves[is_last] - others.loc[months[is_last]].to_numpy(), ends)
    excess = excess.iloc[1:]
    error = excess.std() / np.sqrt(max(len(excess), 1))
    if len(excess) < _LEAST_MONTHS or not excess.mean() > _SIGNIFICANT * error:
        return excess.iloc[:0]
    around = excess.rolling(_AROUND, center=True, min_periods=_LEAST_MONTHS).mean()
    return around.ffill().bfill().clip(lower=0.0)
