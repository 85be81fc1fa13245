r"""Return, risk and turnover of one portfolio, and the calibration of decisions.

`equity` is an `Equity` everywhere: n + 1 closes, the first of them the base, hold n
sessions. An annualised figure is None under `MIN_SESSIONS` sessions, where a few lucky
sessions would look like a fortune. Each figure is known at the last close.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.bars import SESSIONS_PER_YEAR, check_positive, check_sessions

MIN_SESSIONS: Final = 60
"""Sessions below which nothing is annualised."""
TENTHS: Final = np.linspace(0.0, 1.0, 11)
"""Edges of the ten bins of `calibration`."""
_ROUND_OFF: Final = 1e-12

Equity = pd.Series
"""Portfolio value at the closes in quote currency, shape (n_sessions + 1,), float64.

Indexed by session, oldest first; the first row is the base, the close before the first
session that counts.
"""


@dataclass(frozen=True)
class StrategyFigures:
    """Figures of one strategy over a span, decimals; None where undefined."""

    total_return: float
    cagr: float | None
    volatility_annual: float | None
    sharpe: float | None
    max_drawdown: float
    turnover_annual: float | None


@dataclass(frozen=True)
class CalibrationBin:
    """Decisions of one tenth of the confidence, from `low` to `high`.

    `confidence` is their mean confidence, `accuracy` the share that was right.
    """

    low: float
    high: float
    sessions: int
    confidence: float
    accuracy: float


def session_returns(equity: Equity) -> pd.Series:
    """Return the simple return of each session after the base.

    Returns
    -------
    Series of shape (n_sessions,)
        Decimals, stamped with the session that earned them.

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


def excess_returns(equity: Equity, cash_returns: pd.Series | None = None) -> pd.Series:
    """Return the return of each session in excess of cash.

    Parameters
    ----------
    equity : Equity
    cash_returns : Series of shape (n_cash,), optional
        Return of cash in each session, a decimal; its index must hold every session
        after the base. Without it cash earns nothing.

    Returns
    -------
    Series of shape (n_sessions,)
        Decimals, stamped with the session that earned them.

    Raises
    ------
    BarsError
        If `cash_returns` lacks a session, or as in `session_returns`.
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


def total_return(equity: Equity) -> float:
    r"""Return what the whole span earned, :math:`V_n / V_0 - 1`, a decimal.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=3)
    >>> round(total_return(pd.Series([100.0, 110.0, 99.0], sessions)), 6)
    -0.01
    """
    return float(equity.iloc[-1] / equity.iloc[0] - 1)


def cagr(equity: Equity) -> float | None:
    r"""Return the annual growth rate, :math:`(V_n / V_0)^{252 / n} - 1`, a decimal.

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


def volatility_annual(equity: Equity) -> float | None:
    r"""Return the annual volatility of the session returns r, a decimal.

    Notes
    -----
    With the sample standard deviation (divisor n - 1):
    :math:`\mathrm{std}(r) \sqrt{252}`.

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


def sharpe(equity: Equity, cash_returns: pd.Series | None = None) -> float | None:
    r"""Return the annual Sharpe ratio in excess of cash; None if returns never vary.

    Parameters
    ----------
    equity, cash_returns
        As in `excess_returns`.

    Raises
    ------
    BarsError
        As in `excess_returns`.

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
    if len(excess) < MIN_SESSIONS or deviation < _ROUND_OFF:
        return None
    return float(excess.mean()) / deviation * float(np.sqrt(SESSIONS_PER_YEAR))


def drawdowns(equity: Equity) -> pd.Series:
    r"""Return how far each close lies below the highest close so far.

    Returns
    -------
    Series of shape (n_sessions + 1,)
        :math:`V_t / \max_{s \le t} V_s - 1`, from -1 to 0; the base row is 0.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=4)
    >>> drawdowns(pd.Series([100.0, 80.0, 120.0, 90.0], sessions)).round(6).tolist()
    [0.0, -0.2, 0.0, -0.25]
    """
    return equity / equity.cummax() - 1


def max_drawdown(equity: Equity) -> float:
    """Return the deepest of `drawdowns`, a decimal from -1 to 0.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=4)
    >>> round(max_drawdown(pd.Series([100.0, 80.0, 120.0, 90.0], sessions)), 6)
    -0.25
    """
    return float(drawdowns(equity).min())


def turnover(equity: Equity, orders: pd.DataFrame) -> float:
    r"""Return the share of the portfolio that was exchanged over the whole span.

    Parameters
    ----------
    equity : Equity
    orders : DataFrame of shape (n_orders, n_columns)
        With `filled_on` (a session, missing if never filled) and `value` (the traded
        value in quote currency, of either sign).

    Raises
    ------
    BarsError
        If an order was filled on a session that `equity` lacks.

    Notes
    -----
    With v the value of an order and V the portfolio value at the close of its session:
    :math:`\sum_{orders} |v| / 2 V`.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=9)
    >>> equity = pd.Series(100.0, sessions)
    >>> sold = {"filled_on": sessions[5], "value": -60.0}
    >>> bought = {"filled_on": sessions[5], "value": 60.0}
    >>> turnover(equity, pd.DataFrame([sold, bought]))
    0.6
    """
    return _sum_of_shares(equity, orders, "value") / 2


def costs_annual(equity: Equity, orders: pd.DataFrame) -> float | None:
    """Return the commissions of a year as a share of the portfolio.

    Each is taken over the value at the close of its session; they are added up, and
    multiplied by 252 / n_sessions.

    Parameters
    ----------
    equity : Equity
    orders : DataFrame of shape (n_orders, n_columns)
        With `filled_on` and `commission`, in quote currency.

    Raises
    ------
    BarsError
        As in `turnover`.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=253)
    >>> sold = {"filled_on": sessions[5], "commission": 0.5}
    >>> costs_annual(pd.Series(100.0, sessions), pd.DataFrame([sold]))
    0.005
    """
    n_sessions, paid = len(equity) - 1, _sum_of_shares(equity, orders, "commission")
    return None if n_sessions < MIN_SESSIONS else paid * SESSIONS_PER_YEAR / n_sessions


def _sum_of_shares(equity: Equity, orders: pd.DataFrame, column: str) -> float:
    """Add up amounts of orders, of either sign, over the value at their close."""
    filled = orders.dropna(subset=["filled_on"])
    held = equity.reindex(pd.DatetimeIndex(filled["filled_on"]))
    if held.isna().any():
        first = held.index[held.isna()][0]
        raise BarsError(
            f"orders: each must be filled on a session of the equity, {first.date()} "
            "is none."
        )
    amounts = np.abs(filled[column].to_numpy(np.float64)) / held.to_numpy(np.float64)
    return float(amounts.sum())


def turnover_annual(equity: Equity, orders: pd.DataFrame) -> float | None:
    """Return `turnover` times 252 / n_sessions, the share exchanged in a year.

    Parameters
    ----------
    equity, orders
        As in `turnover`.

    Raises
    ------
    BarsError
        As in `turnover`.

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
    equity: Equity, *, orders: pd.DataFrame, cash_returns: pd.Series | None = None
) -> StrategyFigures:
    """Return the figures of one strategy that a run prints.

    Parameters
    ----------
    equity : Equity
    orders : DataFrame of shape (n_orders, n_columns)
        As in `turnover`.
    cash_returns : Series of shape (n_cash,), optional
        As in `excess_returns`.

    Examples
    --------
    >>> sessions = pd.bdate_range("2024-01-02", periods=3)
    >>> none = pd.DataFrame({"filled_on": [], "value": []})
    >>> flat = summarize_strategy(pd.Series(100.0, sessions), orders=none)
    >>> flat.total_return, flat.sharpe
    (0.0, None)
    """
    return StrategyFigures(
        total_return=total_return(equity),
        cagr=cagr(equity),
        volatility_annual=volatility_annual(equity),
        sharpe=sharpe(equity, cash_returns),
        max_drawdown=max_drawdown(equity),
        turnover_annual=turnover_annual(equity, orders),
    )


def calibration(confidence: np.ndarray, is_right: np.ndarray) -> list[CalibrationBin]:
    """Return how often decisions were right in each tenth of the confidence.

    Parameters
    ----------
    confidence : ndarray of shape (n_decisions,)
        Largest probability of each decision, in [0, 1].
    is_right : ndarray of shape (n_decisions,), bool
        Whether the most probable allocation turned out the best, known only when the
        outcome of the decision is.

    Returns
    -------
    list of CalibrationBin
        The tenths that came up; an edge belongs to the tenth above it, 1 to the last.

    Examples
    --------
    >>> sure, right = np.array([0.31, 0.39, 1.0]), np.array([True, False, True])
    >>> [(row.sessions, row.accuracy) for row in calibration(sure, right)]
    [(2, 0.5), (1, 1.0)]
    """
    tenths = np.clip(np.digitize(confidence, TENTHS) - 1, 0, len(TENTHS) - 2)
    rows = []
    for tenth in np.unique(tenths):
        is_in = tenths == tenth
        low, high = TENTHS[tenth : tenth + 2].tolist()
        means = float(confidence[is_in].mean()), float(is_right[is_in].mean())
        rows.append(CalibrationBin(low, high, int(is_in.sum()), *means))
    return rows
