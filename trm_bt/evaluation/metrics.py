r"""What a run earned, how bumpy it was, and how much it traded.

Every function reads the portfolio value at the closes of consecutive sessions; the
first row is the base, so n + 1 rows hold n sessions. A figure that is annualised is
None under `MIN_SESSIONS` sessions, where a few lucky days would read as a fortune.
"""

from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.bars import SESSIONS_PER_YEAR, check_positive, check_sessions

MIN_SESSIONS: Final = 60
"""Sessions below which nothing is annualised."""


def session_returns(equity: pd.Series) -> pd.Series:
    """Return what each session after the base earned.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.

    Returns
    -------
    Series of shape (n_sessions,)
        Simple returns as decimals, stamped with the session that earned them.

    Raises
    ------
    BarsError
        If a session is out of order, or a value is not a positive number.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=3)
    >>> session_returns(pd.Series([100.0, 110.0, 99.0], sessions)).round(6).tolist()
    [0.1, -0.1]
    """
    check_sessions(equity.index, "equity")
    check_positive(equity.to_frame("value"), "equity")
    return equity.astype(np.float64).pct_change().iloc[1:]


def excess_returns(
    equity: pd.Series, cash_returns: pd.Series | None = None
) -> pd.Series:
    """Return what each session after the base earned beyond cash.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.
    cash_returns : Series of shape (n_cash,), optional
        What cash earned in each session, as a decimal; every session after the base
        must be in its index. Without it cash is taken to earn nothing.

    Returns
    -------
    Series of shape (n_sessions,)
        Decimals, stamped with the session that earned them.

    Raises
    ------
    BarsError
        If `cash_returns` lacks a session, or as `session_returns` does.
    """
    returns = session_returns(equity)
    if cash_returns is None:
        return returns
    missing = returns.index.difference(cash_returns.index)
    if len(missing):
        raise BarsError(
            f"cash returns: every session of the equity needs one, {len(missing)} "
            f"have none, first {missing[0].date()}."
        )
    return returns - cash_returns.reindex(returns.index)


def total_return(equity: pd.Series) -> float:
    r"""Return what the whole span earned, as a decimal.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.

    Notes
    -----
    .. math:: V_n / V_0 - 1

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=3)
    >>> round(total_return(pd.Series([100.0, 110.0, 99.0], sessions)), 6)
    -0.01
    """
    return float(equity.iloc[-1] / equity.iloc[0] - 1)


def cagr(equity: pd.Series) -> float | None:
    r"""Return the growth rate a year, as a decimal; None under `MIN_SESSIONS` sessions.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.

    Notes
    -----
    .. math:: (V_n / V_0)^{252 / n} - 1

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=253)
    >>> round(cagr(pd.Series(np.linspace(100.0, 121.0, 253), sessions)), 6)
    0.21
    """
    n_sessions = len(equity) - 1
    if n_sessions < MIN_SESSIONS:
        return None
    growth = 1 + total_return(equity)
    return float(growth ** (SESSIONS_PER_YEAR / n_sessions) - 1)


def volatility_annual(equity: pd.Series) -> float | None:
    r"""Return the volatility a year, as a decimal; None under `MIN_SESSIONS` sessions.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.

    Notes
    -----
    The sample standard deviation (divisor n - 1) of the session returns r:

    .. math:: \mathrm{std}(r) \sqrt{252}

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=101)
    >>> zigzag = pd.Series(100 * np.cumprod([1.0] + [1.01, 0.99] * 50), sessions)
    >>> round(volatility_annual(zigzag), 4)
    0.1595
    """
    returns = session_returns(equity)
    if len(returns) < MIN_SESSIONS:
        return None
    return float(returns.std() * np.sqrt(SESSIONS_PER_YEAR))


def sharpe(equity: pd.Series, cash_returns: pd.Series | None = None) -> float | None:
    r"""Return the Sharpe ratio in excess of cash; None where it has no meaning.

    It has none under `MIN_SESSIONS` sessions, nor where the returns never vary.

    Parameters
    ----------
    equity, cash_returns
        As `excess_returns` takes them.

    Raises
    ------
    BarsError
        As `excess_returns` does.

    Notes
    -----
    With r the session returns and c the cash returns:

    .. math:: \frac{\mathrm{mean}(r - c)}{\mathrm{std}(r - c)} \sqrt{252}

    References
    ----------
    Sharpe, W. F. (1994), The Sharpe Ratio, doi:10.3905/jpm.1994.409501.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=101)
    >>> equity = pd.Series(100 * np.cumprod([1.0] + [1.02, 0.99] * 50), sessions)
    >>> round(sharpe(equity), 3)
    5.265
    >>> round(sharpe(equity, pd.Series(0.002, sessions)), 3)
    3.159
    """
    excess = excess_returns(equity, cash_returns)
    deviation = float(excess.std())
    if len(excess) < MIN_SESSIONS or deviation < 1e-12:
        return None
    return float(excess.mean()) / deviation * float(np.sqrt(SESSIONS_PER_YEAR))


def drawdowns(equity: pd.Series) -> pd.Series:
    r"""Return how far each close lies below the highest close so far.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.

    Returns
    -------
    Series of shape (n_sessions + 1,)
        Decimals from -1 to 0; the base row is 0.

    Notes
    -----
    .. math:: V_t / \max_{s \le t} V_s - 1

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=4)
    >>> drawdowns(pd.Series([100.0, 80.0, 120.0, 90.0], sessions)).round(6).tolist()
    [0.0, -0.2, 0.0, -0.25]
    """
    return equity / equity.cummax() - 1


def max_drawdown(equity: pd.Series) -> float:
    """Return the deepest of `drawdowns`, a decimal from -1 to 0.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=4)
    >>> round(max_drawdown(pd.Series([100.0, 80.0, 120.0, 90.0], sessions)), 6)
    -0.25
    """
    return float(drawdowns(equity).min())


def turnover(equity: pd.Series, orders: pd.DataFrame) -> float:
    r"""Return the share of the portfolio exchanged over the whole span.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.
    orders : DataFrame of shape (n_orders, n_columns)
        Has `filled_on` (a session, missing if never filled) and `value` (what was
        traded, in quote currency, of either sign).

    Raises
    ------
    BarsError
        If an order was filled on a session that `equity` lacks.

    Notes
    -----
    With v the value of an order and V the portfolio value at the close of its session:

    .. math:: \sum_{orders} \frac{|v|}{2 V}

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=9)
    >>> equity = pd.Series(100.0, sessions)
    >>> sold = {"filled_on": sessions[5], "value": -60.0}
    >>> bought = {"filled_on": sessions[5], "value": 60.0}
    >>> turnover(equity, pd.DataFrame([sold, bought]))
    0.6
    """
    filled = orders.dropna(subset=["filled_on"])
    held = equity.reindex(pd.DatetimeIndex(filled["filled_on"]))
    if held.isna().any():
        first = held.index[held.isna()][0]
        raise BarsError(
            f"orders: each must be filled on a session of the equity, {first.date()} "
            "is none."
        )
    traded = np.abs(filled["value"].to_numpy(np.float64)) / held.to_numpy(np.float64)
    return float(traded.sum() / 2)


def turnover_annual(equity: pd.Series, orders: pd.DataFrame) -> float | None:
    r"""Return the share of the portfolio exchanged a year; None when too short.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.
    orders : DataFrame of shape (n_orders, n_columns)
        As in `turnover`.

    Raises
    ------
    BarsError
        If an order was filled on a session that `equity` lacks.

    Notes
    -----
    With U the `turnover` of the n sessions:

    .. math:: 252 U / n

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=253)
    >>> sold = {"filled_on": sessions[5], "value": -60.0}
    >>> turnover_annual(pd.Series(100.0, sessions), pd.DataFrame([sold]))
    0.3
    """
    n_sessions, exchanged = len(equity) - 1, turnover(equity, orders)
    if n_sessions < MIN_SESSIONS:
        return None
    return exchanged * SESSIONS_PER_YEAR / n_sessions


def summarize_strategy(
    equity: pd.Series,
    *,
    orders: pd.DataFrame,
    cash_returns: pd.Series | None = None,
) -> dict[str, float | None]:
    """Return the figures a run prints for one strategy, None where one has no meaning.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.
    orders : DataFrame of shape (n_orders, n_columns)
        The strategy's orders, as `turnover_annual` takes them.
    cash_returns : Series of shape (n_cash,), optional
        What cash earned in each session, as `sharpe` takes it.

    Returns
    -------
    dict of str to (float or None)
        total_return, cagr, volatility_annual, sharpe, max_drawdown, turnover_annual.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=3)
    >>> none = pd.DataFrame({"filled_on": [], "value": []})
    >>> flat = summarize_strategy(pd.Series(100.0, sessions), orders=none)
    >>> flat["total_return"], flat["sharpe"]
    (0.0, None)
    """
    return {
        "total_return": total_return(equity),
        "cagr": cagr(equity),
        "volatility_annual": volatility_annual(equity),
        "sharpe": sharpe(equity, cash_returns),
        "max_drawdown": max_drawdown(equity),
        "turnover_annual": turnover_annual(equity, orders),
    }
