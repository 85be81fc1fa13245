"""What QuantStats draws and measures, through its public functions alone.

Importing QuantStats changes matplotlib's settings, and it logs a line for each missing
font. So it is imported and called where all of that is put back.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.dates import DateConverter
from matplotlib.figure import Figure

from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.report.colours import LIGHT
from trm_bt.report.contents import Sheet
from trm_bt.report.drawing import DateSpan, clean_svg
from trm_bt.report.templating import fill

MIN_ROLLING_SESSIONS: Final = 126
"""Sessions under which QuantStats' half-year rolling figures are empty."""

_SHORT_MEASURES: Final = {
    *("Cumulative Return", "Max Drawdown", "Max DD Date", "Max DD Period Start"),
    *("Max DD Period End", "Longest DD Days", "Avg. Return", "Avg. Win", "Avg. Loss"),
    *("Max Consecutive Wins", "Max Consecutive Losses", "Best Day", "Worst Day"),
    *("Avg. Drawdown", "Avg. Drawdown Days", "Win Days"),
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


def measures(page: Sheet) -> Markup:
    """Return the section; where the portfolio never moves it says so.

    Two of QuantStats' figures are left out, for what they draw is wrong: daily returns
    fall to 0 on each weekend, and the rolling beta is 0 until its half year is full. A
    window under `MIN_SESSIONS` has nothing annualised, monthly or rolling, and one
    under `MIN_ROLLING_SESSIONS` nothing rolling.
    """
    benchmark, second = _moving(page.benchmark), _moving(page.second)
    is_short = page.n_judged < MIN_SESSIONS
    facts: dict[str, object] = {"figures": {}}
    if (returns := _moving(page.returns)) is not None:
        with _contained():
            span = page.window.span if page.window else None
            drawn = _figures(returns, benchmark, is_short)
            facts = {
                "figures": {caption: _svg(figure, span) for caption, figure in drawn},
                "measured": _measures(returns, benchmark, is_short, has_rules=True),
                "second": None
                if second is None
                else _measures(returns, second, is_short, has_rules=False),
                "years": None if is_short else _years(returns, benchmark),
                "drawdowns": _drawdowns(returns),
            }
    is_flat = page.benchmark is not None and benchmark is None
    short = MIN_SESSIONS if is_short else None
    return fill("measures", page, is_flat=is_flat, short=short, **facts)


def _moving(returns: pd.Series | None) -> pd.Series | None:
    """Return `returns`, or None where they are the same in every session."""
    if returns is None:
        return None
    moves = returns.iloc[1:]
    return returns if moves.max() - moves.min() > 1e-12 else None


def _figures(
    returns: pd.Series, benchmark: pd.Series | None, is_short: bool
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
    if len(returns) > MIN_ROLLING_SESSIONS and not is_short:
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
            style: Any = {"alpha": 0.5, "linewidth": 0.8, "zorder": 0}
            axes.axvspan(*days, color=LIGHT["crisis"], **style)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return Markup(clean_svg(text.getvalue()))


def _measures(
    returns: pd.Series, benchmark: pd.Series | None, is_short: bool, has_rules: bool
) -> pd.DataFrame:
    """Return the measures as text, with an empty row between groups on request."""
    from quantstats import reports

    table: pd.DataFrame = reports.metrics(  # type: ignore[no-untyped-call]
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
    table.index = table.index.str.replace("\ufe6a", "")
    if is_short:
        table = table[table.index.isin(_SHORT_MEASURES)]
    return table.rename_axis("Metric").reset_index()


def _years(returns: pd.Series, benchmark: pd.Series | None) -> pd.DataFrame:
    """Return the returns of each calendar year, in percent."""
    from quantstats import stats, utils

    if benchmark is not None:
        table: pd.DataFrame = stats.compare(  # type: ignore[no-untyped-call]
            returns, benchmark, "YE", prepare_returns=False
        )
        table.columns = [benchmark.name, returns.name, "Multiplier", "Won"]
    else:
        years = pd.DatetimeIndex(returns.index).year
        simple = utils.group_returns(returns, years) * 100
        compounded = utils.group_returns(returns, years, compounded=True) * 100
        table = pd.DataFrame({"Return": simple, "Cumulative": compounded})
    return table.rename_axis("Year").reset_index()


def _drawdowns(returns: pd.Series) -> pd.DataFrame:
    """Return the ten deepest drawdowns; one that the window cuts off just ends."""
    from quantstats import stats

    details: Any = stats  # without types
    table: pd.DataFrame = details.drawdown_details(details.to_drawdown_series(returns))
    table = table.sort_values(by="max drawdown")[:10]
    columns = ["start", "end", "max drawdown", "days"]
    return table[columns].set_axis(["Started", "Ended", "Drawdown", "Days"], axis=1)


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
