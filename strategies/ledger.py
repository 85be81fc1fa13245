"""Bars, decisions and orders of a rebalancing strategy, as tables."""

import math
from array import array
from dataclasses import dataclass, field
from typing import Final

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.feeds.backtrader import local_number, sessions_of

ASSETS: Final = ("equity", "bond")
WEIGHT_COLUMNS: Final = (*ASSETS, "cash")
ORDER_COLUMNS: Final = (
    *("decided_on", "filled_on", "asset", "size", "price", "value", "commission"),
    *("status", "slippage"),
)
EXECUTION_COLUMNS: Final = (
    "decided_on",
    *[f"target_{name}" for name in WEIGHT_COLUMNS],
    *[f"fill_{name}" for name in WEIGHT_COLUMNS],
    *[f"close_{name}" for name in WEIGHT_COLUMNS],
    "fill_gap",
    "close_gap",
)
_BAR: Final = (
    "session",
    *[f"{what}_{name}" for what in ("size", "open", "close") for name in ASSETS],
    *("cash", "others", "broker_value", "credit", "flow"),
)
_ORDER_NUMBERS: Final = tuple(
    name for name in ORDER_COLUMNS if name not in ("asset", "status")
)


def _numbers() -> "array[float]":
    return array("d")


@dataclass
class Ledger:
    """Rows of plain numbers, noted bar by bar and made into tables when asked for.

    Numbers stand row by row in arrays, which take a quarter of the memory of tuples.

    Parameters
    ----------
    bars : array of float
        Date number, shares held, opens and closes of both assets, cash, what positions
        in other feeds are worth, the broker's value, the yield that the cash earns
        until the next open, and what was paid in since the close before: one row a
        close.
    decided : array of float
        Date number, and the weights of equity and bond in force after that close; those
        held as long as none were decided.
    orders : array of float
        The numbers among `ORDER_COLUMNS`, dates too; one row per finished order.
    order_names : list of str
        Asset and status of each order.
    fills_at_close : bool
        Whether orders are filled at the close that decided (cheat-on-close).
    credits_first : bool
        Whether a credit is in the cash before the next orders are filled.
    """

    bars: "array[float]" = field(default_factory=_numbers)
    decided: "array[float]" = field(default_factory=_numbers)
    orders: "array[float]" = field(default_factory=_numbers)
    order_names: list[str] = field(default_factory=list)
    fills_at_close: bool = False
    credits_first: bool = False

    def note_order(
        self, order: bt.Order, status: str, decided_on: float, asset: str, open_: float
    ) -> None:
        """Note an order in its final state.

        Parameters
        ----------
        order : Order
            Not filled, or filled in part or whole.
        status : str
            Name of its state.
        decided_on : float
            Date number of the decision.
        asset : {"equity", "bond"}
            What was traded.
        open_ : float
            Open of the bar that it was filled on, NaN if it was not filled.
        """
        done = order.executed
        nan = math.nan
        filled_on, size, price, value, slippage = nan, order.created.size, nan, nan, nan
        if done.size:
            # a cancellation, reported a bar later, overwrites the order's own date
            filled_on = local_number(order.data, done.exbits[-1].dt)
            size, price = done.size, done.price
            value = size * price
            slippage = math.copysign(1.0, size) * (price / open_ - 1.0)
        row = (decided_on, filled_on, size, price, value, done.comm, slippage)
        self.orders.extend(row)
        self.order_names.extend((asset, status))

    def order_table(self) -> pd.DataFrame:
        """Return a row per order, columns `ORDER_COLUMNS`."""
        numbers = np.array(self.orders).reshape(-1, len(_ORDER_NUMBERS))
        columns = dict(zip(_ORDER_NUMBERS, numbers.T, strict=True))
        names = {"asset": self.order_names[::2], "status": self.order_names[1::2]}
        frame = pd.DataFrame({**columns, **names})[list(ORDER_COLUMNS)]
        for name in ("decided_on", "filled_on"):
            frame[name] = sessions_of(frame[name].to_numpy(np.float64))
        return frame

    def decided_rows(self) -> np.ndarray:
        """Return date number and weights of each decision, shape (n_decisions, 3)."""
        return np.array(self.decided).reshape(-1, 1 + len(ASSETS))

    def close_table(self) -> pd.DataFrame:
        """Return values of equity, bond, cash and others, and what goes with them."""
        bars = self._bar_table()
        values = {name: bars[f"size_{name}"] * bars[f"close_{name}"] for name in ASSETS}
        names = ["cash", "others", "broker_value", "credit", "flow"]
        return pd.DataFrame(values).join(bars[names])

    def execution_table(self) -> pd.DataFrame:
        """Return a row per session with fills, columns `EXECUTION_COLUMNS`.

        Weights at the fill are valued at the open (the close of the decision with
        cheat-on-close) after costs; gaps are the largest distance of a weight from
        its target. A session that was held through, where a feed has no price, has no
        row.
        """
        bars, orders = self._bar_table(), self.order_table()
        filled = orders.dropna(subset=["filled_on"])
        filled = filled.drop_duplicates("filled_on", keep="last")
        targets = pd.DataFrame(self.decided_rows(), columns=["session", *ASSETS])
        targets.index = sessions_of(targets.pop("session").to_numpy(np.float64))
        targets["cash"] = 1.0 - targets.sum(axis=1)
        # an order from before a restart was decided by another process
        filled = filled[filled["decided_on"].isin(targets.index)]
        rows = bars.index.get_indexer(pd.Index(filled["filled_on"]))
        rows += self.fills_at_close
        is_known = (rows >= self.fills_at_close) & (rows < len(bars))
        filled, rows = filled[is_known], rows[is_known]
        wanted = targets.loc[filled["decided_on"]].to_numpy()
        parts = [wanted, self._weights_at_fill(bars, rows)]
        closes = self.close_table()[list(WEIGHT_COLUMNS)].iloc[rows].to_numpy()
        parts.append(closes / closes.sum(axis=1, keepdims=True))
        gaps = [np.abs(part - wanted).max(axis=1) for part in parts[1:]]
        values = np.column_stack([*parts, *gaps])
        table = pd.DataFrame(
            values, pd.Index(filled["filled_on"], name="session"), EXECUTION_COLUMNS[1:]
        )
        table.insert(0, "decided_on", filled["decided_on"].to_numpy())
        return table

    def _weights_at_fill(self, bars: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        """Return weights right after the fills of `rows`, shape (n_fills, 3)."""
        sizes = bars[["size_equity", "size_bond"]].to_numpy()[rows]
        if self.fills_at_close:
            prices = bars[["close_equity", "close_bond"]].to_numpy()[rows - 1]
        else:
            prices = bars[["open_equity", "open_bond"]].to_numpy()[rows]
        cash = bars["cash"].to_numpy()[rows]
        if not self.credits_first:
            cash = cash - bars["credit"].shift(fill_value=0.0).to_numpy()[rows]
        values = np.column_stack([sizes * prices, cash])
        weights: np.ndarray = values / values.sum(axis=1, keepdims=True)
        return weights

    def _bar_table(self) -> pd.DataFrame:
        numbers = np.array(self.bars).reshape(-1, len(_BAR))
        frame = pd.DataFrame(numbers, columns=list(_BAR))
        return frame.set_index(sessions_of(frame.pop("session").to_numpy()))
