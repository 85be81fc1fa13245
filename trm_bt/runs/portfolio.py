"""A portfolio in a file, and the orders that bring it to target weights."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from trm_bt.config import TRMConfig
from trm_bt.errors import ConfigError
from trm_bt.feeds.sources import CORE_SYMBOLS
from trm_bt.market.bars import Bars
from trm_bt.reading import read_json
from trm_bt.runfolder.holding import PlannedOrder
from trm_bt.strategies.ledger import ASSETS
from trm_bt.strategies.schedule import Weights
from trm_bt.strategies.sizing import MIN_DRIFT, affordable_share, drift, target_values
from trm_bt.text import reason_of, shown

_MOST: Final = 1e15
"""Shares, or cash in quote currency."""
_SYMBOLS: Final = tuple(CORE_SYMBOLS[role] for role in ("equity", "bond"))


@dataclass(frozen=True)
class Portfolio:
    """What is held.

    Parameters
    ----------
    cash : float
        In quote currency.
    equity, bond : float
        Shares.
    """

    cash: float
    equity: float = 0.0
    bond: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a JSON object of `cash` and shares by symbol or role.

        Raises
        ------
        ConfigError
            If it is no such object, cash is missing, or a number is out of range.
        """
        try:
            held = json.loads(read_json(path))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{path}: cannot be read as JSON: {reason_of(error)}."
            ) from error
        if not isinstance(held, dict) or "cash" not in held:
            raise ConfigError(
                f'{path}: a portfolio must be an object such as {{"cash": 1000, "SPY": '
                f'10, "TLT": 5}}, with its cash, got {shown(held)}.'
            )
        roles = {
            name.lower(): role for role, name in zip(ASSETS, _SYMBOLS, strict=True)
        }
        roles |= {name: name for name in (*ASSETS, "cash")}
        values: dict[str, float] = {}
        for name, value in held.items():
            role = roles.get(name.lower())
            if role is None or role in values:
                raise ConfigError(
                    f"{path}: a portfolio holds cash, {' and '.join(_SYMBOLS)}, each "
                    f"once, got {shown(name)}. Leave out what the allocator does not "
                    "trade."
                )
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= _MOST:
                raise ConfigError(
                    f"{path}: `{name}` must be a number from 0 to {_MOST:g}, got "
                    f"{shown(value)}."
                )
            values[role] = float(value)
        return cls(**values)


def plan_orders(
    portfolio: Portfolio, weights: Weights, bars: Bars, config: TRMConfig
) -> tuple[PlannedOrder, ...]:
    """Return the orders for the next open that bring a portfolio to its weights.

    They are those that `TRMAllocator` sends in a plain Cerebro: whole shares, sized
    from the last close, sells first, buys cut to what cash pays for if both assets gap
    against us by `max_gap`.

    Parameters
    ----------
    portfolio : Portfolio
        What is held.
    weights : (float, float)
        Target shares of equity and bond; the rest is cash.
    bars : Bars
        The last session is the deciding one. Its prices are those of the day only if
        it is the newest: closes of the past are adjusted for later dividends.
    config : TRMConfig
        Costs, band, least trade and gap.

    Raises
    ------
    ConfigError
        If the portfolio is worth nothing.
    """
    settings, cost = config.strategy, config.backtest.cost_bps / 10_000.0
    prices = [float(frame["close"].iloc[-1]) for frame in (bars.equity, bars.bond)]
    sizes = [portfolio.equity, portfolio.bond]
    held = [size * price for size, price in zip(sizes, prices, strict=True)]
    if portfolio.cash + sum(held) <= 0:
        raise ConfigError("A portfolio must be worth more than 0, got an empty one.")
    if drift(weights, held, portfolio.cash) <= max(settings.rebalance_band, MIN_DRIFT):
        return ()
    wanted = target_values(weights, held, portfolio.cash, [cost, cost])
    rows = zip(wanted, prices, sizes, strict=True)
    trades = [float(math.floor(worth / price)) - size for worth, price, size in rows]
    trades = [
        trade if abs(trade) * price >= settings.min_trade_value else 0.0
        for trade, price in zip(trades, prices, strict=True)
    ]
    share = affordable_share(
        trades,
        prices,
        portfolio.cash,
        [settings.max_gap] * 2,
        [lambda size, price: abs(size) * price * cost] * 2,
    )
    sized = [math.ceil(t) if t < 0 else math.floor(t * share) for t in trades]
    return tuple(
        PlannedOrder(
            asset=ASSETS[i],
            symbol=_SYMBOLS[i],
            side="sell" if sized[i] < 0 else "buy",
            shares=abs(sized[i]),
            price=prices[i],
        )
        for i in sorted(range(len(sized)), key=lambda i: sized[i])
        if sized[i]
    )
