"""Analyzers that end in a table, and tables as plain values that JSON can hold."""

from typing import TypeAlias

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.errors import RunError
from trm_bt.feeds.backtrader import local_number, sessions_of

Record: TypeAlias = dict[str, str | float | int | bool | None]
"""A row of a table by column: ISO dates, None for what is missing."""


class TableAnalyzer(bt.Analyzer):
    """An analyzer whose `stop` sets `_table`, which is sent between processes.

    Raises
    ------
    RunError
        If the table is requested before the run has ended.
    """

    _table: pd.DataFrame | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table, in the shape that the class states."""
        if self._table is None:
            raise RunError(
                f"{type(self).__name__} has no table before the run has ended. Ask it "
                "after `cerebro.run()`."
            )
        return self._table.copy()


class CloseAnalyzer(TableAnalyzer):
    """An analyzer that notes a row at each close, the session's date number first."""

    def start(self) -> None:
        """Begin with no session."""
        self._rows: list[tuple[float, ...]] = []

    def prenext(self) -> None:
        """Note a close before the strategy decides anything."""
        self.next()

    def _now(self) -> float:
        """Return the date number of the strategy's current bar."""
        ran = self.strategy
        return local_number(ran.data, ran.datetime[0])

    def _by_session(self, *columns: str) -> pd.DataFrame:
        """Return the rows under these columns, by session, and drop them."""
        table = pd.DataFrame(self._rows, columns=["at", *columns], dtype=np.float64)
        del self._rows
        return table.set_index(sessions_of(table.pop("at").to_numpy()))


def plain_records(table: pd.DataFrame) -> list[Record]:
    """Return the rows of a table as dicts: ISO dates, None for what is missing.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        Its index becomes the key "session" if it has that name.

    Examples
    --------
    >>> session = pd.DatetimeIndex(["2024-01-02"], name="session")
    >>> plain_records(pd.DataFrame({"price": [float("nan")], "n": [2]}, session))
    [{'session': '2024-01-02', 'price': None, 'n': 2}]
    """
    plain = table.reset_index() if table.index.name == "session" else table.copy()
    for name in plain.select_dtypes("datetime"):
        plain[name] = plain[name].dt.strftime("%Y-%m-%d")
    rows = plain.astype(object).to_dict("records")
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in rows
    ]
