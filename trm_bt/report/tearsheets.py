"""Tearsheets: one page for each crisis, one for the whole run, one for any user."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pandas as pd
from markupsafe import Markup

from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.files import write_text_atomically
from trm_bt.report.quantstats_html import FIGURES, TABLES, quantstats_parts
from trm_bt.report.returns import clean_returns, find_returns, with_base
from trm_bt.report.templating import environment

_SHORT: Final = (
    f"This window has fewer than {MIN_SESSIONS} sessions, so nothing here is scaled up "
    "to a year: a few good days would read as a fortune."
)
_ONE_BENCHMARK: Final = (
    "QuantStats draws one benchmark a page; its measures against the second stand in a "
    "table of their own."
)
_RAW: Final = (
    "QuantStats prints its Sharpe ratio raw, without subtracting a cash rate, and "
    "counts the base day as a day of zero return."
)
_FLAT: Final = (
    "The portfolio's return is the same in every session, so there is nothing for "
    "QuantStats to measure."
)


@dataclass(frozen=True)
class Context:
    """What a page shows of a crisis with a quarter before and after.

    Parameters
    ----------
    equity, weights, seen : DataFrame of shape (n_sessions, n_columns)
        Portfolio values at the closes, weights held, and z-scores of the features.
    base : Timestamp
        The close before the crisis.
    span : (Timestamp, Timestamp)
        First and last day of the crisis.
    n_sessions : int
        Sessions of the crisis alone: they decide whether anything is annualised.
    """

    equity: pd.DataFrame
    weights: pd.DataFrame
    seen: pd.DataFrame
    base: pd.Timestamp
    span: tuple[pd.Timestamp, pd.Timestamp]
    n_sessions: int


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
    benchmark, second : Series of shape (n_sessions + 1,) or None
        Returns of the benchmark on the same sessions, and of another one, against which
        QuantStats' measures are taken once more.
    facts : tuple of (str, str)
        What is said on top: term and description.
    compared : tuple of dict
        Rows of the comparison: label, recovery, and what `crisis_figures` returns.
    notes : tuple of str
        Sentences under the facts.
    back : str
        Link to the run's index; empty for a page that stands alone.
    names : tuple of str
        What tables and legends call the portfolio and its benchmarks.
    context : Context or None
        For a page of one crisis; `returns` then span all of it.
    """

    title: str
    returns: pd.Series
    benchmark: pd.Series | None = None
    second: pd.Series | None = None
    facts: tuple[tuple[str, str], ...] = ()
    compared: tuple[dict[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    back: str = ""
    names: tuple[str, ...] = ("Strategy", "Benchmark")
    context: Context | None = None

    @property
    def n_judged(self) -> int:
        """Sessions of the crisis, or of the whole span where there is none."""
        return self.context.n_sessions if self.context else len(self.returns) - 1


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
    page = tearsheet_html(strategy_or_returns, benchmark, title)
    write_text_atomically(Path(out), page)
    return Path(out)


def tearsheet_html(
    strategy_or_returns: object, benchmark: pd.Series | None, title: str
) -> str:
    """Return the page that `tearsheet` writes."""
    found = find_returns(strategy_or_returns)
    returns = with_base(clean_returns(found, "returns"))
    notes: list[str] = []
    if n_missing := int(found.isna().sum()):
        notes.append(f"Left out: {_sessions(n_missing)} without a return.")
    aligned = None
    name = "Benchmark"
    if benchmark is not None:
        cleaned = clean_returns(benchmark, "benchmark")
        aligned = cleaned.reindex(returns.index)
        if n_missing := int(aligned.isna().iloc[1:].sum()):
            notes.append(f"The benchmark has no return on {_sessions(n_missing)}: 0.")
        aligned = aligned.fillna(0.0)
        name = str(benchmark.name) if benchmark.name else name
    names = ("Strategy", name)
    sheet = Sheet(title, returns, aligned, notes=tuple(notes), names=names)
    return render_sheet(sheet)


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count:,} sessions"


def write_sheet(sheet: Sheet, out: Path) -> Path:
    """Write the page of `sheet` to `out`, whole or not at all."""
    write_text_atomically(out, render_sheet(sheet))
    return out


def render_sheet(sheet: Sheet) -> str:
    """Return the page of `sheet` as one HTML document without outside links."""
    notes = list(sheet.notes)
    benchmark, second = sheet.benchmark, sheet.second
    if benchmark is not None and not _varies(benchmark):
        benchmark = None
        notes.append(f"{sheet.names[1]} never moves here and is left out.")
    if second is not None and not _varies(second):
        second = None
    parts: dict[str, str] = {}
    if _varies(sheet.returns):
        parts = quantstats_parts(
            sheet.returns,
            benchmark,
            sheet.names,
            second=second,
            shaded=sheet.context.span if sheet.context else None,
            n_judged=sheet.n_judged,
        )
        notes.append(_SHORT if sheet.n_judged < MIN_SESSIONS else _RAW)
        if "second_metrics" in parts:
            notes.append(_ONE_BENCHMARK)
    else:
        notes.append(_FLAT)
    return (
        environment()
        .get_template("tearsheet.html")
        .render(
            sheet=sheet,
            notes=notes,
            n_sessions=sheet.n_judged,
            start=sheet.returns.index[min(1, len(sheet.returns) - 1)].date(),
            end=sheet.returns.index[-1].date(),
            figures=[(FIGURES[p], Markup(parts[p])) for p in FIGURES if p in parts],
            tables={name: Markup(parts.get(name, "")) for name in TABLES},
            quantstats_version=version("quantstats"),
            **_context_parts(sheet.context),
        )
    )


def _context_parts(context: Context | None) -> dict[str, object]:
    """Return the picture of a crisis and one row of colours a feature."""
    if context is None:
        return {"picture": "", "seen": []}
    from trm_bt.report.crisis_pictures import context_chart, heat_row

    picture = context_chart(context.equity, context.weights, context.base, context.span)
    start, end = context.span
    sessions = context.seen.index
    seen = [
        {
            "name": name,
            "picture": heat_row(scores),
            "mean": float(scores.loc[start:end].mean()),
        }
        for name, scores in context.seen.items()
    ]
    n_sessions = max(len(sessions), 1)
    first, last = sessions.searchsorted(start), sessions.searchsorted(end, "right")
    return {
        "picture": Markup(picture),
        "seen": seen,
        "seen_left": 100 * first / n_sessions,
        "seen_width": 100 * (last - first) / n_sessions,
    }


def _varies(returns: pd.Series) -> bool:
    moves = returns.iloc[1:]
    return bool(moves.max() - moves.min() > 1e-12)
