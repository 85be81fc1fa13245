"""A second derivation of a backtest: plain numbers, no engine, no code of the first."""

import numpy as np

from trm_bt.market.bars import Bars

RESERVE = 1e-9
"""Share of the value that stays in cash."""
LEFT_ALONE = 1e-8
"""Weights this near to their targets are not traded."""


def value_after_costs(weights, held, cash, cost):
    """Find by bisection what is left once the targets are bought and costs are paid."""
    (w1, w2), (h1, h2) = weights.tolist(), held.tolist()
    budget = (cash + h1 + h2) * (1 - RESERVE)
    low, high = 0.0, budget
    for _ in range(60):
        middle = (low + high) / 2
        traded = abs(w1 * middle - h1) + abs(w2 * middle - h2)
        if middle + cost * traded > budget:
            high = middle
        else:
            low = middle
    return low


def simulate(
    bars: Bars,
    targets,
    *,
    cash: float,
    cost: float,
    band: float = 0.0,
    fill: str = "next open",
):
    """Trade targets decided at each close; value every close.

    Parameters
    ----------
    bars : Bars
        The sessions of the targets, no others.
    targets : ndarray of shape (n_sessions, 2)
        Weights of equity and bond in force after each close.
    cash : float
        Cash at the first close.
    cost : float
        Share of the traded value.
    band : float
        Drift that is left alone.
    fill : {"next open", "same close", "next close"}
        Where trades are made. The value of a close does not know of trades at it, for
        they are booked after it, at what they were made at.

    Returns
    -------
    values : ndarray of shape (n_sessions,)
        Portfolio value at each close.
    weights : ndarray of shape (n_sessions, 3)
        Weights of equity, bond and cash at each close.
    """
    opens, closes = (
        np.column_stack([frame[column] for frame in (bars.equity, bars.bond)])
        for column in ("open", "close")
    )
    rate = np.zeros(len(opens)) if bars.cash_rate is None else bars.cash_rate.to_numpy()
    shares = np.zeros(2)
    values, weights = [cash], [[0.0, 0.0, 1.0]]
    for t in range(1, len(opens)):
        earned = cash * rate[t - 1] / 252
        cash += earned if fill != "same close" else 0.0
        prices = {"next open": opens[t], "same close": closes[t - 1]}.get(
            fill, closes[t]
        )
        held = shares * prices
        value = cash + held.sum()
        wanted = targets[t - 1]
        actual = np.append(held, cash) / value
        drifts = np.abs(np.append(wanted, 1 - wanted.sum()) - actual)
        if drifts.max() > max(band, LEFT_ALONE):
            left = value_after_costs(wanted, held, cash, cost)
            traded = wanted * left - held
            shares = wanted * left / prices
            cash -= traded.sum() + cost * np.abs(traded).sum()
        cash += earned if fill == "same close" else 0.0
        at_close = shares * closes[t]
        values.append(cash + at_close.sum())
        weights.append([*at_close / values[-1], cash / values[-1]])
    return np.array(values), np.array(weights)
