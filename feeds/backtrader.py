"""Bars as Backtrader feeds whose line arrays are filled in bulk."""

import math
from array import array
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from math import isnan
from numbers import Number
from typing import Final

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.errors import BarsError, ConfigError
from trm_bt.feeds._typing import Feed
from trm_bt.market.bars import ROLES, Bars, check_sessions

_SECOND: Final = 1 / 86_400
_EPOCH_ORDINAL: Final = 719_163
"""Backtrader counts days from 0001-01-01; this is 1970-01-01."""


class TRMPandasData(bt.feeds.PandasData):
    """A `PandasData` over daily bars, preloaded in one step instead of row by row.

    The lines hold what `bt.feeds.PandasData` gives for the same frame, in every
    preload, runonce and exactbars mode. With filters, a time zone or date limits the
    bars are loaded one by one.

    Params
    ------
    dataname : DataFrame of shape (n_sessions, n_columns)
        Columns of open, high, low, close, volume and openinterest that are there, any
        case, the rest are NaN; the index holds sessions, oldest first. A frame of
        yfinance is taken unmodified: with one ticker's MultiIndex columns, and with
        midnights of its exchange as sessions (not of UTC, where no exchange is). Its
        `Adj Close` is not used, as in `PandasData`: ask yfinance for
        `auto_adjust=True`, or dividends are lost.
    role_status : {"observed", "proxy"}
        Whether the values are what the feed's name says, or an estimate; read back
        as an attribute, so that a strategy can hold it against a model's schema.

    Raises
    ------
    BarsError
        If the index holds anything but unique sessions in order, or the columns those
        of several tickers.
    """

    params = (("role_status", "observed"),)
    # a daily bar has no ticks inside: without them the broker reads the bar itself
    tick_open = tick_high = tick_low = tick_close = tick_last = None

    def __init__(self) -> None:
        name = str(self.p.name or "feed")
        self.p.dataname = _plain_frame(self.p.dataname, name)
        super().__init__()

    @property
    def role_status(self) -> str:
        """Whether the values are observed or a proxy."""
        return str(self.p.role_status)

    def start(self) -> None:
        """Check the sessions and stand before the first bar."""
        if self.p.datetime is None:
            check_sessions(self.p.dataname.index, str(self._name) or "feed")
        super().start()
        for name in ("open", "high", "low", "volume"):
            line = getattr(self.lines, name)
            line.plotrange = partial(self._drawn, line)

    def _drawn(self, line: bt.LineBuffer, start: int, end: int) -> list[float]:
        """Return what `cerebro.plot` draws of a line, for it takes no NaN.

        A missing price is drawn as the close, a missing volume as none.
        """
        values = bt.LineBuffer.plotrange(line, start, end)
        if line is self.lines.volume:
            return [0.0 if isnan(value) else value for value in values]
        closes = bt.LineBuffer.plotrange(self.lines.close, start, end)
        pairs = zip(values, closes, strict=True)
        return [close if isnan(value) else value for value, close in pairs]

    def preload(self) -> None:
        """Fill every line at once."""
        is_plain = not (self._filters or self.p.tzinput or self.p.datetime is not None)
        if not is_plain or self.p.fromdate or self.p.todate or len(self.array):
            super().preload()
            return
        for name, values in self._values().items():
            getattr(self.lines, name).array = array("d", values.tobytes())
        self._idx = len(self.p.dataname)
        self.home()

    def _tick_nullify(self) -> None:
        if self._filters:
            super()._tick_nullify()

    def _tick_fill(self, force: bool = False) -> None:
        if self._filters:
            super()._tick_fill(force)

    def _values(self) -> dict[str, np.ndarray]:
        """Return the values of each line, shapes (n_sessions,)."""
        frame = self.p.dataname
        days = frame.index.to_numpy("datetime64[D]").astype(np.int64) + _EPOCH_ORDINAL
        values = {"datetime": days.astype(np.float64)}
        for name in self.getlinealiases():
            if name == "datetime":
                continue
            column = self._colmapping.get(name)
            values[name] = np.full(len(frame), np.nan)
            if column is not None:
                values[name][:] = frame.iloc[:, column].to_numpy(np.float64)
        return values


def _plain_frame(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Take one ticker's columns and tz-naive sessions out of a frame of yfinance."""
    columns = frame.columns
    if isinstance(columns, pd.MultiIndex):
        prices = next(
            (i for i, level in enumerate(columns.levels) if "Close" in level), 0
        )
        plain = columns.get_level_values(prices)
        if plain.has_duplicates:
            raise BarsError(
                f"{name}: a feed takes the columns of one ticker, got "
                f"{[tuple(column) for column in columns[:8]]}. Pass one ticker's: "
                "`frame.xs('SPY', axis=1, level='Ticker')`."
            )
        frame = frame.set_axis(plain, axis=1)
    index = frame.index
    if isinstance(index, pd.DatetimeIndex) and str(index.tz) not in ("None", "UTC"):
        frame = frame.set_axis(index.tz_localize(None))
    return frame


def add_bars(cerebro: bt.Cerebro, bars: Bars, *, roles: Sequence[str] = ROLES) -> None:
    """Add a feed for each role that `bars` has.

    The feeds are named equity, bond, volatility, the symbol of each member, put_call
    and cash_rate; a member, put/call and the cash rate have their value in `close`.

    Parameters
    ----------
    cerebro : Cerebro
        The engine that gets the feeds, in the order of `ROLES`.
    bars : Bars
        Checked bars on one calendar.
    roles : sequence of str
        The roles to add; one that `bars` lacks is skipped.
    """
    for role, values in bars.by_role().items():
        if role in roles:
            for name, frame in _frames(role, values).items():
                settings = {"dataname": frame, "role_status": bars.status(role)}
                cerebro.adddata(TRMPandasData(**settings), name=name)


def _frames(role: str, values: pd.DataFrame | pd.Series) -> dict[str, pd.DataFrame]:
    if isinstance(values, pd.Series):
        return {role: values.to_frame("close")}
    if role == "members":
        return {
            str(name): values[[name]].set_axis(["close"], axis=1) for name in values
        }
    return {role: values}


def local_number(feed: Feed, number: float) -> float:
    """Return a date number on the clock of a feed's time zone.

    Backtrader keeps moments in UTC, where a day of New York ends on the next date. It
    stamps a day made of shorter bars with the end of the session, which it rounds to
    midnight at times; a whole number is the date of a daily bar.

    Parameters
    ----------
    feed : data feed
        Whose bar or fill it is, started.
    number : float
        Days since 0001-01-01 in UTC; NaN and infinity stay.
    """
    if feed._tz is None:
        return number
    is_made = feed.p.timeframe < bt.TimeFrame.Days <= feed._timeframe
    if not (is_made or number % 1 > 0) or math.isnan(number):
        return number
    number -= _SECOND * is_made
    ahead: timedelta = feed.num2date(number, naive=False).utcoffset()
    return number + ahead / timedelta(days=1)


def stamp_of(feed: Feed) -> float:
    """Return the date number of a feed's current bar, on the clock of its time zone."""
    return local_number(feed, feed.datetime[0])


def stamps_of(feed: Feed, n_bars: int) -> np.ndarray:
    """Return the date numbers of a preloaded feed's first bars, shape (n_bars,)."""
    numbers = np.array(feed.datetime.array[:n_bars])
    if feed._tz is None:
        return numbers
    return np.array([local_number(feed, number) for number in numbers])


def sessions_of(numbers: Sequence[float] | np.ndarray) -> pd.DatetimeIndex:
    """Return the sessions of Backtrader's date numbers.

    Parameters
    ----------
    numbers : sequence of n_sessions floats or ndarray of shape (n_sessions,)
        Days since 0001-01-01 as the `datetime` line holds them, in any order.

    Returns
    -------
    DatetimeIndex of shape (n_sessions,)
        Tz-naive sessions, named "session".
    """
    days = np.floor(np.asarray(numbers, dtype=np.float64)) - _EPOCH_ORDINAL
    index = pd.DatetimeIndex(days.astype("datetime64[D]"), name="session")
    return index.as_unit("ns")


def first_day(name: str, value: object) -> int:
    """Return a session as Backtrader's date number, 0 where none is given.

    Raises
    ------
    ConfigError
        If it is no date.
    """
    if value is None:
        return 0
    try:
        day = pd.Timestamp(value)  # type: ignore[arg-type] # whatever a script gives
    except (TypeError, ValueError) as error:
        raise ConfigError(f"`{name}` must be a date, got {value!r}.") from error
    if pd.isna(day) or isinstance(value, Number):  # 20240102 is no moment of 1970
        raise ConfigError(f"`{name}` must be a date, got {value!r}.")
    return day.toordinal()
