"""The S&P 500's published bars made to stand for SPY and VIX before they began.

Dividends are those that S&P publishes by year. Implied volatility is estimated from the
index's own ranges and drift, with coefficients fitted once on VIX closes of 2014-2018
(`scripts/build_sample.py` repeats the fit).
"""

from typing import Final

import numpy as np
import pandas as pd

from trm_bt.market.bars import SESSIONS_PER_YEAR

INDEX_DIVIDENDS: Final = {
    1962: 2.13, 1963: 2.28, 1964: 2.50, 1965: 2.72, 1966: 2.87, 1967: 2.92, 1968: 3.07,
    1969: 3.16, 1970: 3.14, 1971: 3.07, 1972: 3.15, 1973: 3.38, 1974: 3.60, 1975: 3.68,
    1976: 4.05, 1977: 4.67, 1978: 5.07, 1979: 5.65, 1980: 6.16, 1981: 6.63, 1982: 6.87,
    1983: 7.09, 1984: 7.53, 1985: 7.90, 1986: 8.28, 1987: 8.81, 1988: 9.73, 1989: 11.05,
    1990: 12.09, 1991: 12.20, 1992: 12.38, 1993: 12.58, 1994: 13.18, 1995: 13.79,
    1996: 14.90, 1997: 15.50, 1998: 16.20, 1999: 16.48, 2000: 16.27, 2001: 15.74,
    2002: 16.07, 2003: 17.39, 2004: 19.44, 2005: 22.22, 2006: 24.88, 2007: 27.73,
    2008: 28.39, 2009: 22.41, 2010: 22.73, 2011: 26.43, 2012: 31.25, 2013: 34.99,
    2014: 39.44, 2015: 43.39, 2016: 45.70, 2017: 48.93,
}  # fmt: skip
"""Dividends of the S&P 500 in index points a calendar year."""
FIRST_TRADED_RANGE: Final = pd.Timestamp("1982-04-21")
"""Before this session, the first of futures on the index, its high and low are those of
its stocks added up, each at whatever time it came: twice as wide as ranges are."""
_SHARE_OF_SQUARES: Final = 0.75
"""What ranges say of the variance to what squared returns say, 2014-2018: an index that
opens where it closed has no range over night."""
COEFFICIENTS: Final = (0.6264, 0.7516, -0.2571)


def index_growth(close: pd.Series) -> pd.Series:
    """Return by how much each session's close and dividend exceed the close before.

    A year's dividends are spread evenly over all its sessions.

    Parameters
    ----------
    close : Series of shape (n_sessions,)
        Published closes of whole years, index points.

    Returns
    -------
    Series of shape (n_sessions,)
        Growth factors, known at the close but for the year's dividends; NaN on the
        first session and in years without a published dividend.
    """
    year = pd.DatetimeIndex(close.index).year
    per_session = pd.Series(INDEX_DIVIDENDS) / year.value_counts()
    dividend = per_session.reindex(year).to_numpy()
    growth: pd.Series = (close + dividend) / close.shift()
    return growth


def volatility_terms(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the three terms of the estimated volatility, in index points.

    Parameters
    ----------
    bars : DataFrame of shape (n_sessions, n_columns)
        Published high, low and close of the S&P 500; the first sessions warm up.

    Returns
    -------
    DataFrame of shape (n_sessions, 3)
        Columns fast, slow and drift, known at the close; NaN on the first session.

    Notes
    -----
    The variance of a session is that of its true range (Parkinson 1980), which reaches
    to the close before; before ranges were traded, .75 of the squared return.

    References
    ----------
    Parkinson, M. (1980). The extreme value method for estimating the variance of the
    rate of return. Journal of Business 53(1).
    """
    before = bars["close"].shift()
    reach = np.log(np.maximum(bars["high"], before) / np.minimum(bars["low"], before))
    move = np.log(bars["close"] / before)
    variance = SESSIONS_PER_YEAR * reach**2 / (4 * np.log(2))
    by_closes = SESSIONS_PER_YEAR * _SHARE_OF_SQUARES * move**2
    variance = variance.where(bars.index >= FIRST_TRADED_RANGE, by_closes)
    drift = np.sqrt(SESSIONS_PER_YEAR) * move
    return 100 * pd.DataFrame(
        {
            "fast": np.sqrt(variance.ewm(halflife=4).mean()),
            "slow": np.sqrt(variance.ewm(halflife=200).mean()),
            "drift": drift.ewm(halflife=2).mean(),
        }
    )


def estimated_volatility(bars: pd.DataFrame) -> pd.Series:
    """Return an estimate of the VIX from the index's bars, as `volatility_terms` does.

    Returns
    -------
    Series of shape (n_sessions,)
        Index points, to two decimals.
    """
    terms = volatility_terms(bars)
    return pd.Series(terms.to_numpy() @ np.array(COEFFICIENTS), terms.index).round(2)
