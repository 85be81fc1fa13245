"""From target weights to trades that cash can pay for: plain numbers, no engine.

Assets are given as equal-length sequences; two assets are too few for arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from trm_bt.errors import ConfigError

Commission = Callable[[float, float], float]
"""From size and price to the cost of a trade, in quote currency."""

MIN_DRIFT: Final = 1e-8
"""Weights nearer to their targets than this are left alone: it is round-off."""
CASH_RESERVE: Final = 1e-9
"""Share of the portfolio value kept in cash against round-off."""
_MAX_STEPS: Final = 8
_MAX_CUTS: Final = 60


def target_values(
    weights: Sequence[float],
    held: Sequence[float],
    cash: float,
    cost_rates: Sequence[float],
    sale_rates: Sequence[float] | None = None,
) -> list[float]:
    r"""Return the value to hold in each asset so that weights are exact after costs.

    Parameters
    ----------
    weights : sequence of n_assets floats
        Target share of each asset in what is left after costs; the rest is cash.
    held : sequence of n_assets floats
        Value held now, in quote currency, at the prices that the trades will have.
    cash : float
        Cash held now.
    cost_rates : sequence of n_assets floats
        Cost of buying each asset, as a share of the traded value.
    sale_rates : sequence of n_assets floats, optional
        Cost of selling each asset; by default that of buying.

    Returns
    -------
    list of n_assets floats
        Values in quote currency.

    Notes
    -----
    The value S left after costs solves

    .. math:: S + \sum_i c_i |w_i S - h_i| = (1 - \epsilon)(cash + \sum_i h_i)

    with the rate of buying or of selling.

    The left side is convex and rises with S, so that Newton's method from the value
    before costs reaches the root in at most one step more than there are assets.

    Examples
    --------
    >>> [round(v, 6) for v in target_values([0.5, 0.5], [0.0, 0.0], 101.0, [0.01] * 2)]
    [50.0, 50.0]
    """
    value = cash + sum(held)
    scale = value
    before: list[float] = []
    for _ in range(_MAX_STEPS):
        slopes = [
            buy if weight * scale > now else -sale
            for weight, now, buy, sale in zip(
                weights, held, cost_rates, sale_rates or cost_rates, strict=True
            )
        ]
        if slopes == before:
            break
        before = slopes
        sides = zip(slopes, weights, held, strict=True)
        fixed = per_unit = 0.0
        for slope, weight, now in sides:
            fixed += slope * now
            per_unit += slope * weight
        scale = (value * (1.0 - CASH_RESERVE) + fixed) / (1.0 + per_unit)
    return [weight * scale for weight in weights]


def affordable_share(
    trades: Sequence[float],
    prices: Sequence[float],
    cash: float,
    gaps: Sequence[float],
    commissions: Sequence[Commission],
    sale_commissions: Sequence[Commission] | None = None,
) -> float:
    """Return the share of the buys that cash pays for if prices gap, at most 1.

    Parameters
    ----------
    trades : sequence of n_assets floats
        Shares to buy, negative to sell; sells are made first and pay for buys.
    prices : sequence of n_assets floats
        Prices in quote currency, before they gap.
    cash : float
        Cash held now.
    gaps : sequence of n_assets floats
        How much dearer the bought and cheaper the sold may get, as decimals.
    commissions : sequence of n_assets callables
        From size and price to the cost of a trade, in quote currency.
    sale_commissions : sequence of n_assets callables, optional
        The same of sales, whose sizes are positive here; by default as of purchases.

    Examples
    --------
    >>> free = [lambda size, price: 0.0] * 2
    >>> affordable_share([10.0, -5.0], [10.0, 10.0], 50.0, [0.0, 0.0], free)
    1.0
    >>> round(affordable_share([10.0, 0.0], [10.0, 10.0], 100.0, [0.25, 0.0], free), 6)
    0.8
    """
    need, available = 0.0, cash
    of_sales = sale_commissions or commissions
    rows = zip(trades, prices, gaps, commissions, of_sales, strict=True)
    for trade, price, gap, commission, of_sale in rows:
        if trade > 0:
            paid = price * (1.0 + gap)
            need += trade * paid + commission(trade, paid)
        elif trade < 0:
            paid = price * (1.0 - gap)
            available -= trade * paid + of_sale(-trade, paid)
    if need <= max(available, 0.0):
        return 1.0
    return max(available, 0.0) * (1.0 - CASH_RESERVE) / need


def payable_share(
    trades: Sequence[float],
    prices: Sequence[float],
    cash: float,
    gaps: Sequence[float],
    commissions: Sequence[Commission],
    sale_commissions: Sequence[Commission] | None = None,
) -> float:
    """Return `affordable_share`, less where a fee does not shrink with the trade.

    Examples
    --------
    >>> fees = [lambda size, price: 5.0] * 2
    >>> round(payable_share([10.0, 0.0], [10.0, 10.0], 55.0, [0.0, 0.0], fees), 6)
    0.5
    """
    costs = commissions, sale_commissions
    share = affordable_share(trades, prices, cash, gaps, *costs)
    for _ in range(_MAX_CUTS):
        cut = [trade * share if trade > 0 else trade for trade in trades]
        again = affordable_share(cut, prices, cash, gaps, *costs)
        if share == 1.0 or again == 1.0:
            return share
        share *= again
    return 0.0


def cost_rates_of(
    commissions: Sequence[Commission], prices: Sequence[float], value: float
) -> list[float]:
    """Return the cost of trading so much of each asset, as a share of it.

    Of a large trade: a minimum fee would look like the rate of one share.
    """
    return [
        commission(value / price, price) / value
        for commission, price in zip(commissions, prices, strict=True)
    ]


def worth_making(trade: float, price: float, least: float) -> float:
    """Return a trade in shares, 0 if it is worth less than `least`."""
    return trade if abs(trade) * price >= least else 0.0


def drift(weights: Sequence[float], held: Sequence[float], cash: float) -> float:
    """Return how far the actual weights are from `weights`, at most, cash included.

    Examples
    --------
    >>> round(drift([0.6, 0.4], [55.0, 40.0], 5.0), 6)
    0.05
    """
    value = cash + sum(held)
    gaps = [
        abs(now - weight * value) for weight, now in zip(weights, held, strict=True)
    ]
    return max(*gaps, abs(cash - (1.0 - sum(weights)) * value)) / value


def checked_weights(weights: object) -> tuple[float, float]:
    """Return the shares of equity and bond that a rule gave, as floats.

    Raises
    ------
    ConfigError
        If they are no shares of a portfolio.
    """
    pair: tuple[float, ...] = ()
    if not isinstance(weights, Mapping | str):
        try:
            pair = tuple(map(float, weights))  # type: ignore[call-overload] # refused next
        except (TypeError, ValueError):
            pair = ()
    if len(pair) != 2:
        raise ConfigError(
            "`target_weights` must return two numbers, the shares of equity and bond, "
            f"or None to keep what was decided, got {weights!r}."
        )
    equity, bond = pair
    if not (equity >= 0 and bond >= 0 and equity + bond <= 1 + MIN_DRIFT):
        raise ConfigError(
            "`target_weights` must return shares of equity and bond, each at least 0 "
            f"and together at most 1, got {weights}."
        )
    return equity, bond
