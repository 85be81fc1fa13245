"""Tearsheets: one page for each crisis, one for the whole run, one for any user."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from markupsafe import Markup

from trm_bt.errors import RunError
from trm_bt.evaluation.metrics import MIN_SESSIONS, session_returns
from trm_bt.files import write_text_atomically
from trm_bt.report.quantstats_html import FIGURES, TABLES, quantstats_parts
from trm_bt.report.templating import environment

_MISSING: Final = (
    "`{name}` holds no daily returns. Before `cerebro.run()`, add "
    "`cerebro.addanalyzer(bt.analyzers.TimeReturn)`, or give a Series of daily returns."
)
_SHORT: Final = (
    f"This window has fewer than {MIN_SESSIONS} sessions, so nothing here is scaled up "
    "to a year: a few good days would read as a fortune."
)
_RAW: Final = (
    "QuantStats prints its Sharpe ratio raw, without subtracting a cash rate, and "
    "counts the base day as a day of zero return."
)
_FLAT: Final = (
    "The portfolio's return is the same in every session, so there is nothing for "
    "QuantStats to measure."
)


class _Analyzer(Protocol):
    """What a `TimeReturn` or a `PyFolio` of Backtrader has; others hold no returns."""

    p: Any

    def get_analysis(self) -> Mapping[Any, Any]: ...


@dataclass(frozen=True)
class Sheet:
    """Everything one page shows.

    Parameters
    ----------
    title : str
        Heading of the page; any text, it is escaped.
    returns : Series of shape (n_sessions + 1,)
        Simple daily returns as decimals on tz-naive sessions; the first row is the
        base and 0.
    benchmark : Series of shape (n_sessions + 1,) or None
        The benchmark's returns on the same sessions.
    facts : tuple of (str, str)
        What is said on top: term and description.
    compared : tuple of dict
        Rows of the comparison: label, total_return, max_drawdown, worst_session,
        sessions_under_water.
    notes : tuple of str
        Sentences under the facts.
    back : str
        Link to the run's index; empty for a page that stands alone.
    names : tuple of str
        What tables and legends call the portfolio and its benchmark.
    """

    title: str
    returns: pd.Series
    benchmark: pd.Series | None = None
    facts: tuple[tuple[str, str], ...] = ()
    compared: tuple[dict[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    back: str = ""
    names: tuple[str, str] = ("Strategy", "Benchmark")


def tearsheet(
    strategy_or_returns: object,
    out: str | Path,
    *,
    benchmark: pd.Series | None = None,
    title: str = "Tearsheet",
) -> Path:
    """Write a QuantStats tearsheet of any Cerebro run, or of any daily returns.

    Parameters
    ----------
    strategy_or_returns : bt.Strategy or Series of shape (n_sessions,)
        A strategy that ran with a `TimeReturn` or `PyFolio` analyzer, or simple daily
        returns as decimals, indexed by session. Time zones and hours are dropped;
        missing returns are left out and reported.
    out : str or Path
        The HTML file to write; it needs no other file and asks for nothing online.
    benchmark : Series of shape (n_benchmark,), optional
        Daily returns to compare with; sessions it lacks count as 0 and are reported.
    title : str
        Heading of the page.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    RunError
        If no daily returns are found, or they are not daily, finite numbers.
    """
    found = find_returns(strategy_or_returns)
    returns = _with_base(_clean(found, "returns"))
    notes: list[str] = []
    if n_missing := int(found.isna().sum()):
        notes.append(f"Left out: {_sessions(n_missing)} without a return.")
    aligned = None
    name = "Benchmark"
    if benchmark is not None:
        cleaned = _clean(benchmark, "benchmark")
        aligned = cleaned.reindex(returns.index)
        if n_missing := int(aligned.isna().iloc[1:].sum()):
            notes.append(f"The benchmark has no return on {_sessions(n_missing)}: 0.")
        aligned = aligned.fillna(0.0)
        name = str(benchmark.name) if benchmark.name else name
    names = ("Strategy", name)
    sheet = Sheet(title, returns, aligned, notes=tuple(notes), names=names)
    return write_sheet(sheet, Path(out))


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count:,} sessions"


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


def write_sheet(sheet: Sheet, out: Path) -> Path:
    """Write the page of `sheet` to `out`, whole or not at all."""
    write_text_atomically(out, render_sheet(sheet))
    return out


def render_sheet(sheet: Sheet) -> str:
    """Return the page of `sheet` as one HTML document without outside links."""
    n_sessions = len(sheet.returns) - 1
    notes = list(sheet.notes)
    benchmark = sheet.benchmark
    if benchmark is not None and not _varies(benchmark):
        benchmark = None
        notes.append(f"{sheet.names[1]} never moves here and is left out.")
    parts: dict[str, str] = {}
    if _varies(sheet.returns):
        parts = quantstats_parts(sheet.returns, benchmark, sheet.names)
        notes.append(_SHORT if n_sessions < MIN_SESSIONS else _RAW)
    else:
        notes.append(_FLAT)
    template = environment().get_template("tearsheet.html")
    return template.render(
        sheet=sheet,
        notes=notes,
        n_sessions=n_sessions,
        start=sheet.returns.index[min(1, n_sessions)].date(),
        end=sheet.returns.index[-1].date(),
        figures=[(FIGURES[p], Markup(parts[p])) for p in FIGURES if p in parts],
        tables={name: Markup(parts.get(name, "")) for name in TABLES},
        has_benchmark=benchmark is not None,
        quantstats_version=version("quantstats"),
    )


def _varies(returns: pd.Series) -> bool:
    moves = returns.iloc[1:]
    return bool(moves.max() - moves.min() > 1e-12)


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
    closes = getattr(source, "closes", None)  # Kept by every strategy of ours.
    if isinstance(closes, pd.DataFrame) and "broker_value" in closes:
        return session_returns(closes["broker_value"])
    analyzers = iter(getattr(source, "analyzers", ()))
    found = [returns for a in analyzers if len(returns := _analyzed_returns(a))]
    if not found:
        raise RunError(_MISSING.format(name=type(source).__name__))
    return max(found, key=len)  # The daily one, where a monthly one is there too.


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


def _clean(returns: pd.Series, name: str) -> pd.Series:
    """Return `returns` on naive sessions; complain about what is not daily returns."""
    if not isinstance(returns.index, pd.DatetimeIndex):
        raise RunError(f"`{name}` must be indexed by dates, got {returns.index.dtype}.")
    cleaned = returns.dropna().astype(np.float64)
    cleaned.index = pd.DatetimeIndex(cleaned.index).tz_localize(None).normalize()
    if cleaned.empty:
        raise RunError(f"`{name}` must hold at least one return, got none.")
    _check_daily(cleaned, name)
    return cleaned


def _check_daily(cleaned: pd.Series, name: str) -> None:
    if not cleaned.index.is_monotonic_increasing or cleaned.index.has_duplicates:
        wrong = cleaned.index[1:][cleaned.index[1:] <= cleaned.index[:-1]][0]
        raise RunError(
            f"`{name}` must hold one return a session in order, {wrong.date()} breaks "
            "that."
        )
    if not np.isfinite(cleaned).all() or (cleaned < -1).any():
        wrong = cleaned.index[~np.isfinite(cleaned) | (cleaned < -1)][0]
        raise RunError(
            f"`{name}` must be decimals of at least -1, on {wrong.date()} got "
            f"{cleaned[wrong]}."
        )
    gaps = np.diff(cleaned.index.to_numpy()) / np.timedelta64(1, "D")
    if len(gaps) and np.median(gaps) > 4:
        raise RunError(
            f"`{name}` must be daily, half of the steps are over {np.median(gaps):g} "
            "days. Use the analyzer's daily timeframe."
        )


def _with_base(returns: pd.Series) -> pd.Series:
    """Return `returns` with a row of 0 on the business day before the first."""
    base = pd.bdate_range(end=returns.index[0] - pd.Timedelta(days=1), periods=1)
    moves = np.append(0.0, returns.to_numpy())
    return pd.Series(moves, base.append(pd.DatetimeIndex(returns.index)))
