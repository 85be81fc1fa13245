"""Daily returns: found in a Backtrader run, checked, and given a base row."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from trm_bt.errors import RunError
from trm_bt.evaluation.metrics import session_returns

_MISSING: Final = (
    "`{name}` holds no daily returns. Before `cerebro.run()`, add "
    "`cerebro.addanalyzer(bt.analyzers.TimeReturn)`, or give a Series of daily returns."
)


_PRICE: Final = 0.005
"""Median above which a benchmark that is always above 0 holds prices, not returns."""


class _Analyzer(Protocol):
    """What a `TimeReturn` or a `PyFolio` of Backtrader has; others hold no returns."""

    p: Any

    def get_analysis(self) -> Mapping[Any, Any]: ...


def returns_from_equity(equity: pd.Series) -> pd.Series:
    """Return the returns of portfolio values; the base row stays, with return 0.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes, in quote currency; the first row is the base.
    """
    base = pd.Series([0.0], equity.index[:1])
    moves: pd.Series = pd.concat([base, session_returns(equity)])
    return moves


def find_returns(source: object) -> pd.Series:
    """Return the daily returns that a strategy or one of its analyzers holds.

    Parameters
    ----------
    source : bt.Strategy or Series of shape (n_sessions,)
        What `tearsheet` takes.

    Returns
    -------
    Series of shape (n_sessions,)
        Simple returns as decimals, indexed by session.

    Raises
    ------
    RunError
        If there are none; the sentence says which analyzer to add.
    """
    if isinstance(source, pd.Series):
        return source
    closes = _closes_of(source)
    if closes is not None:
        return _time_weighted(closes)
    analyzers = iter(getattr(source, "analyzers", ()))
    found = [returns for a in analyzers if len(returns := _analyzed_returns(a))]
    if not found:
        raise RunError(_MISSING.format(name=type(source).__name__))
    return max(found, key=len)  # The daily one, where a monthly one is there too.


def find_benchmark(given: pd.Series | str | None, source: object) -> pd.Series | None:
    """Return the daily returns that a portfolio is held against, named.

    Parameters
    ----------
    given : Series of shape (n_benchmark,), str or None
        Daily returns, prices, or the name of a feed of the strategy; None for what a
        `TimeReturn` of one feed holds, if there is one.
    source : bt.Strategy or Series of shape (n_sessions,)
        What `tearsheet` takes.

    Raises
    ------
    RunError
        If the strategy has no feed of that name, or it is of another kind.
    """
    if isinstance(given, str):
        return _of_prices(_feed_closes(given, source))
    if isinstance(given, pd.Series):
        known = pd.to_numeric(given.dropna(), errors="coerce")
        are_prices = bool((known > 0).all() and known.median() > _PRICE)
        return _of_prices(known) if are_prices else given
    if given is not None:
        raise RunError(
            "`benchmark` must be a Series of daily returns or prices, or the name of a "
            f"feed, got {type(given).__name__}."
        )
    for analyzer in iter(getattr(source, "analyzers", ())):
        names = {kind.__name__ for kind in type(analyzer).__mro__}
        if "TimeReturn" in names and analyzer.p.data is not None:
            moves = analyzer.get_analysis()
            days, name = pd.DatetimeIndex(list(moves)), _feed_name(analyzer.p.data)
            return pd.Series(list(moves.values()), days, dtype=np.float64, name=name)
    return None


def _of_prices(prices: pd.Series) -> pd.Series:
    moves: pd.Series = prices.dropna().pct_change(fill_method=None).iloc[1:]
    return moves


def on_sessions(returns: pd.Series, sessions: pd.DatetimeIndex) -> pd.Series:
    """Return what was earned from session to session, whatever days lie between.

    Parameters
    ----------
    returns : Series of shape (n_days,)
        Simple daily returns in order.
    sessions : DatetimeIndex of shape (n_sessions + 1,)
        The base, and the sessions after it.

    Returns
    -------
    Series of shape (n_sessions + 1,)
        NaN at the base, and on sessions without a return since the session before.
    """
    place = sessions.searchsorted(pd.DatetimeIndex(returns.index))
    is_inside = (place > 0) & (place < len(sessions))
    kept, days = returns[is_inside], sessions[place[is_inside]]
    if not days.has_duplicates:
        return kept.set_axis(days).reindex(sessions)
    return ((1.0 + kept).groupby(days).prod() - 1.0).reindex(sessions)


def _feed_closes(symbol: str, source: object) -> pd.Series:
    """Return the closes of a strategy's feed, by its name in any case."""
    feeds: list[Any] = list(getattr(source, "datas", ()))
    by_name = {_feed_name(feed).lower(): feed for feed in feeds}
    if symbol.lower() not in by_name:
        there = ", ".join(map(_feed_name, feeds)) or "none"
        raise RunError(
            f"`benchmark` must name a feed of the strategy, got {symbol!r}; feeds: "
            f"{there}. Or give a Series of returns or prices."
        )
    feed = by_name[symbol.lower()]
    days = pd.DatetimeIndex([feed.num2date(day) for day in feed.datetime.array])
    return pd.Series(list(feed.close.array), days, name=_feed_name(feed))


def _feed_name(feed: Any) -> str:  # noqa: ANN401, Backtrader has no types
    return str(getattr(feed, "_name", "") or "Benchmark")


def find_flows(source: object) -> pd.Series:
    """Return the cash that was paid in, negative where drawn, by session.

    Parameters
    ----------
    source : bt.Strategy or Series of shape (n_sessions,)
        What `tearsheet` takes; strategies of ours alone know of flows.

    Returns
    -------
    Series of shape (n_flows,)
        In quote currency, indexed by the session that it was booked on.
    """
    closes = _closes_of(source)
    if closes is None:
        return pd.Series(dtype=np.float64)
    flows: pd.Series = closes["flow"]
    return flows[flows != 0]


def _closes_of(source: object) -> pd.DataFrame | None:
    """Return the valuations that a strategy of ours keeps, None for another."""
    books: Any = getattr(source, "_trm", None)
    return None if books is None else books.ledger.close_table()


def _time_weighted(closes: pd.DataFrame) -> pd.Series:
    """Return what a unit earned each session, whatever was paid in at its start."""
    value, flow = closes["broker_value"], closes["flow"]
    if not flow.any():
        return session_returns(value)
    return (value / (value.shift() + flow) - 1.0).iloc[1:]


def _analyzed_returns(analyzer: _Analyzer) -> pd.Series:
    """Return the portfolio's simple returns that an analyzer holds, empty if none."""
    names = {kind.__name__ for kind in type(analyzer).__mro__}
    moves: Mapping[Any, Any] = {}
    if "PyFolio" in names:
        moves = analyzer.get_analysis().get("returns", {})
    elif "TimeReturn" in names and analyzer.p.data is None:  # Of no single feed.
        moves = analyzer.get_analysis()
    dates = pd.DatetimeIndex(list(moves))
    return pd.Series(list(moves.values()), dates, dtype=np.float64)


def clean_returns(returns: pd.Series, name: str) -> pd.Series:
    """Return daily returns, (n_sessions,), on naive sessions, or raise `RunError`."""
    if not isinstance(returns.index, pd.DatetimeIndex):
        raise RunError(f"`{name}` must be indexed by dates, got {returns.index.dtype}.")
    if returns.index.hasnans:
        raise RunError(f"`{name}` must have a date for each return, one has none.")
    try:
        cleaned = returns.dropna().astype(np.float64)
    except (TypeError, ValueError) as error:
        raise RunError(f"`{name}` must hold numbers, but {error}.") from error
    cleaned.index = pd.DatetimeIndex(cleaned.index).tz_localize(None).normalize()
    if cleaned.empty:
        raise RunError(f"`{name}` must hold at least one return, got none.")
    _check_daily(cleaned, name)
    return cleaned


def _check_daily(cleaned: pd.Series, name: str) -> None:
    if not cleaned.index.is_monotonic_increasing or cleaned.index.has_duplicates:
        wrong = cleaned.index[1:][cleaned.index[1:] <= cleaned.index[:-1]][0]
        raise RunError(
            f"`{name}` must hold one return per session in order, {wrong.date()} does "
            "not follow."
        )
    if not np.isfinite(cleaned).all() or (cleaned < -1).any():
        wrong = cleaned.index[~np.isfinite(cleaned) | (cleaned < -1)][0]
        raise RunError(
            f"`{name}` must be decimals of at least -1, on {wrong.date()} got "
            f"{cleaned[wrong]}."
        )
    if cleaned.abs().median() > 1:
        raise RunError(
            f"`{name}` must be daily returns as decimals, half of them are above "
            f"{cleaned.abs().median():g}. For prices, give `prices.pct_change()`."
        )
    gaps = np.diff(cleaned.index.to_numpy()) / np.timedelta64(1, "D")
    if len(gaps) and np.median(gaps) > 4:
        raise RunError(
            f"`{name}` must be daily, half of the steps are longer than "
            f"{np.median(gaps):g} days. Use the analyzer's daily timeframe."
        )


def with_base(returns: pd.Series) -> pd.Series:
    """Put a row of 0 before the first return: from (n,) to shape (n + 1,)."""
    base = pd.bdate_range(end=returns.index[0] - pd.Timedelta(days=1), periods=1)
    moves = np.append(0.0, returns.to_numpy())
    return pd.Series(moves, base.append(pd.DatetimeIndex(returns.index)))
