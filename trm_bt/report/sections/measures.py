"""What QuantStats draws and measures, through its public functions alone.

Importing QuantStats changes matplotlib's settings, and it logs a line for each missing
font. So it is imported and called where all of that is put back.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.dates import DateConverter
from matplotlib.figure import Figure

from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.report.colours import LIGHT
from trm_bt.report.drawing import DateSpan, clean_svg
from trm_bt.report.sheets import Sheet
from trm_bt.report.templating import fill

MIN_ROLLING_SESSIONS: Final = 126
"""Sessions under which QuantStats' half-year rolling figures are empty."""

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
_SHORT_MEASURES: Final = {
    "Cumulative Return",
    "Max Drawdown",
    "Max DD Date",
    "Max DD Period Start",
    "Max DD Period End",
    "Longest DD Days",
    "Avg. Return",
    "Avg. Win",
    "Avg. Loss",
    "Max Consecutive Wins",
    "Max Consecutive Losses",
    "Best Day",
    "Worst Day",
    "Avg. Drawdown",
    "Avg. Drawdown Days",
    "Win Days",
}
"""Rows that a short window keeps: nothing annual, nothing that the base row distorts.

A list of what stays, unlike one of what goes, lets no new row of QuantStats slip in.
"""

_THEME: Final[dict[Any, Any]] = {
    "figure.figsize": (10, 6),
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.5,
    "text.color": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "svg.fonttype": "none",
    "svg.hashsalt": "trm_bt",
    "text.parse_math": False,
    "path.simplify_threshold": 0.5,
}


@dataclass(frozen=True)
class Table:
    """A table as text: its head, and its rows, of which an empty one is a rule."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Measures:
    """QuantStats' view of a portfolio.

    Parameters
    ----------
    figures : dict of str to str
        SVG by caption, in the order of the page. Two of QuantStats' figures are left
        out, for what they draw is wrong: daily returns fall to 0 on each weekend, and
        the rolling beta is 0 until its half year is full.
    measures, drawdowns : Table
        Measures, beside those of the benchmark, and the ten deepest drawdowns.
    second : Table or None
        Measures beside those of the second benchmark.
    years : Table or None
        Returns by calendar year; None for a short window.
    """

    figures: dict[str, Markup]
    measures: Table
    drawdowns: Table
    second: Table | None
    years: Table | None


def measures(page: Sheet) -> Markup:
    """Return the section; where the portfolio never moves it says so."""
    notes, found = list(page.notes), None
    returns, second = _moving(page.returns), _moving(page.second)
    benchmark = _moving(page.benchmark)
    if page.benchmark is not None and benchmark is None:
        notes.append(f"{page.benchmark.name} never moves here and is left out.")
    if returns is None:
        notes.append(_FLAT)
    else:
        shaded = page.context.span if page.context else None
        found = measure(
            returns, benchmark, second, shaded=shaded, n_judged=page.n_judged
        )
        notes.append(_SHORT if page.n_judged < MIN_SESSIONS else _RAW)
        if second is not None:
            notes.append(_ONE_BENCHMARK)
    return fill("measures", page, found=found, notes=notes)


def _moving(returns: pd.Series | None) -> pd.Series | None:
    """Return `returns`, or None where they are the same in every session."""
    if returns is None:
        return None
    moves = returns.iloc[1:]
    return returns if moves.max() - moves.min() > 1e-12 else None


def measure(
    returns: pd.Series,
    benchmark: pd.Series | None,
    second: pd.Series | None = None,
    *,
    shaded: DateSpan | None = None,
    n_judged: int | None = None,
) -> Measures:
    """Return what QuantStats draws and measures of `returns`.

    Parameters
    ----------
    returns : Series of shape (n_sessions + 1,)
        Simple returns as decimals on tz-naive sessions, not all equal; the first row
        is 0, for without it QuantStats finds no drawdown in a window that starts at
        its peak. The name of the Series is what tables and legends call it.
    benchmark, second : Series of shape (n_sessions + 1,) or None
        Returns of the benchmark on the same sessions, and of another one that has a
        table of measures but no figures; named likewise.
    shaded : (Timestamp, Timestamp), optional
        First and last day of a span to shade in every figure that has a time axis.
    n_judged : int, optional
        Sessions of that span, all of them if None. Where it is under `MIN_SESSIONS`
        nothing annualised, monthly or rolling is returned; with fewer than
        `MIN_ROLLING_SESSIONS` returns, nothing rolling.
    """
    is_short = (n_judged or len(returns) - 1) < MIN_SESSIONS
    is_rolling = len(returns) > MIN_ROLLING_SESSIONS
    with _contained():
        figures = {
            caption: _svg(figure, shaded)
            for caption, figure in _figures(returns, benchmark, is_short, is_rolling)
        }
        return Measures(
            figures=figures,
            measures=_measures(returns, benchmark, is_short, has_rules=True),
            second=_measures(returns, second, is_short) if second is not None else None,
            years=None if is_short else _years(returns, benchmark),
            drawdowns=_drawdowns(returns),
        )


def _figures(
    returns: pd.Series, benchmark: pd.Series | None, is_short: bool, is_rolling: bool
) -> Iterator[tuple[str, Figure]]:
    """Draw the figures that have something to say, in the order of the page."""
    from quantstats import plots

    draw: Any = plots  # without types in the oldest version that we take
    bare = {"show": False, "ylabel": "", "subtitle": False}
    plain = {**bare, "prepare_returns": False}
    wide, low, name = (8, 4), (8, 3), returns.name
    both = (returns, benchmark)
    yield "Cumulative returns", draw.returns(*both, figsize=(8, 5), **plain)
    if not is_short:
        caption = "Cumulative returns, log scale"
        yield caption, draw.log_returns(*both, figsize=wide, **plain)
        if benchmark is not None:
            caption = "Cumulative returns, matched to the benchmark's volatility"
            matched = {"match_volatility": True, **plain}
            yield caption, draw.returns(*both, figsize=wide, **matched)
        caption = "Returns by calendar year"
        yield caption, draw.yearly_returns(*both, figsize=wide, **plain)
        caption = "Distribution of monthly returns"
        yield caption, draw.histogram(*both, figsize=(7, 4), **plain)
    if is_rolling and not is_short:
        yield "Rolling volatility", draw.rolling_volatility(*both, figsize=low, **bare)
        caption = "Rolling Sharpe ratio, raw"
        yield caption, draw.rolling_sharpe(returns, figsize=low, **bare)
        caption = "Rolling Sortino ratio"
        yield caption, draw.rolling_sortino(returns, figsize=low, **bare)
    caption = "Worst drawdown periods"
    yield caption, draw.drawdowns_periods(returns, title=name, figsize=wide, **plain)
    yield "Underwater plot", draw.drawdown(returns, figsize=low, **bare)
    if not is_short:
        months = {"cbar": False, "returns_label": name, "show": False, "ylabel": ""}
        yield "Monthly returns", draw.monthly_heatmap(*both, figsize=wide, **months)
        caption = "Return quantiles"
        yield caption, draw.distribution(returns, title=name, figsize=wide, **plain)


def _svg(figure: Figure, shaded: DateSpan | None) -> Markup:
    """Return a figure as SVG, with a span shaded where the axis is one of time."""
    for axes in figure.axes:
        if shaded and isinstance(axes.xaxis.get_converter(), DateConverter):
            days: Any = shaded  # matplotlib converts dates, its types do not say so
            colour = LIGHT["crisis"]
            axes.axvspan(*days, color=colour, alpha=0.5, linewidth=0.8, zorder=0)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return Markup(clean_svg(text.getvalue()))


def _measures(
    returns: pd.Series,
    benchmark: pd.Series | None,
    is_short: bool,
    *,
    has_rules: bool = False,
) -> Table:
    """Return the measures, with an empty row between their groups if asked for."""
    from quantstats import reports

    table = reports.metrics(  # type: ignore[no-untyped-call]  # QuantStats has no types
        returns.copy(),
        benchmark=None if benchmark is None else benchmark.copy(),
        display=False,
        mode="full",
        sep=has_rules,
        prepare_returns=False,
        match_dates=False,
        internal="True",  # asks for text, percent signs included
        strategy_title=returns.name,
        benchmark_title=None if benchmark is None else benchmark.name,
    ).iloc[2:]  # the span stands on top of the page
    rows = tuple(
        (name.replace("\ufe6a", ""), *map(str, cells)) if name else ()
        for name, *cells in table.itertuples()
    )
    if is_short:
        rows = tuple(row for row in rows if row and row[0] in _SHORT_MEASURES)
    return Table(("Metric", *table.columns), rows)


def _years(returns: pd.Series, benchmark: pd.Series | None) -> Table:
    """Return the returns of each calendar year, in percent."""
    from quantstats import stats, utils

    if benchmark is not None:
        table = stats.compare(  # type: ignore[no-untyped-call]
            returns, benchmark, "YE", prepare_returns=False
        )
        table.columns = [benchmark.name, returns.name, "Multiplier", "Won"]
    else:
        years = pd.DatetimeIndex(returns.index).year
        simple = utils.group_returns(returns, years) * 100
        compounded = utils.group_returns(returns, years, compounded=True) * 100
        table = pd.DataFrame({"Return": simple, "Cumulative": compounded})
    return _table(table.rename_axis("Year").reset_index())


def _drawdowns(returns: pd.Series) -> Table:
    """Return the ten deepest drawdowns; one that the window cuts off just ends."""
    from quantstats import stats

    details: Any = stats  # without types
    table = details.drawdown_details(details.to_drawdown_series(returns))
    table = table.sort_values(by="max drawdown")[:10]
    table = table[["start", "end", "max drawdown", "days"]]
    return _table(table.set_axis(["Started", "Ended", "Drawdown", "Days"], axis=1))


def _table(frame: pd.DataFrame) -> Table:
    rows = (
        tuple(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row)
        for row in frame.itertuples(index=False)
    )
    return Table(tuple(frame.columns), tuple(rows))


@contextmanager
def _contained() -> Iterator[None]:
    """Let QuantStats draw with settings of ours, then put the user's back."""
    import matplotlib.pyplot as plt

    fonts = logging.getLogger("matplotlib.font_manager")
    level, backend, figures = fonts.level, mpl.get_backend(), set(plt.get_fignums())
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")
        fonts.setLevel(logging.ERROR)
        try:
            mpl.rcdefaults()
            import quantstats.reports  # noqa: F401 - sets its theme when imported
            import seaborn

            seaborn.set_theme(font_scale=1.1, rc=_THEME)
            plt.switch_backend("svg")
            yield
        finally:
            for number in set(plt.get_fignums()) - figures:
                plt.close(number)
            with suppress(ImportError):
                plt.switch_backend(backend)
            fonts.setLevel(level)
    mpl.rcParams["backend"] = backend
