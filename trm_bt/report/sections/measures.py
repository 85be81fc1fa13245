"""What QuantStats measures and draws, through its public functions alone.

Importing QuantStats changes matplotlib's settings, and it logs a line for each missing
font. So it is imported and called where all of that is put back.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup, escape

from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.report.contents import Sheet
from trm_bt.report.templating import fill

_SHORT_MEASURES: Final = {
    *("Cumulative Return", "Max Drawdown", "Max DD Date", "Max DD Period Start"),
    *("Max DD Period End", "Longest DD Days", "Avg. Return", "Avg. Win", "Avg. Loss"),
    *("Max Consecutive Wins", "Max Consecutive Losses", "Best Day", "Worst Day"),
    *("Avg. Drawdown", "Avg. Drawdown Days", "Win Days"),
}
"""Rows that a short window keeps: nothing annual, nothing that the base row distorts.

A list of what stays, unlike one of what goes, lets no new row of QuantStats slip in.
"""
_OF_EXCESS: Final = "Sharpe|Sortino|Omega|Treynor"
"""Rows that mean something of returns in excess of cash alone."""
_LEFT_OUT: Final = {
    *("All-time (ann.)", "Risk-Free Rate"),
    *("3Y (ann.)", "5Y (ann.)", "10Y (ann.)"),
}
"""Rows that repeat another one, CAGR, or say what the page itself says of cash; and of
35, 59 and 119 months, which are not what their names say."""
_RELATIVE: Final = (
    *("R^2", "Information Ratio"),
    *("Beta", "Alpha", "Correlation", "Treynor Ratio"),
)
"""Measures against a benchmark, after the volatility and at the end, as QuantStats has
them."""
_NONE: Final = {"-", "nan", "nan%", ""}


def measures(page: Sheet) -> Markup:
    """Return the section: one table, with a column for each portfolio.

    Where the portfolio never moves it says so. A window under `MIN_SESSIONS` has
    nothing annualised, monthly or rolling.
    """
    is_short = page.n_judged < MIN_SESSIONS
    benchmark, table = _moving(page.benchmark), None
    if (returns := _moving(page.returns)) is not None:
        table = _table(returns, benchmark, _moving(page.second))
        names = table["Metric"]
        if is_short:
            table = table[names.isin(_SHORT_MEASURES)]
        elif page.is_cash_paid:
            table = table[~names.str.contains(_OF_EXCESS)]
        is_rule = table["Metric"] == ""  # one is enough where a group is left out
        table = table[~(is_rule & is_rule.shift(fill_value=True))]
    return fill(
        "measures",
        page,
        table=table,
        is_flat=page.benchmark is not None and benchmark is None,
        short=MIN_SESSIONS if is_short else None,
    )


def untouched_page(page: Sheet) -> str:
    """Return the page that QuantStats makes of a tearsheet's returns, as it is."""
    returns, benchmark = _moving(page.returns), _moving(page.benchmark)
    if returns is None:
        return "The portfolio is constant."
    with _contained(), TemporaryDirectory() as folder:
        from quantstats import reports

        reports.html(  # type: ignore[no-untyped-call]
            returns.copy(),
            None if benchmark is None else benchmark.copy(),
            title=str(escape(page.title)),
            output=f"{folder}/page.html",
            strategy_title=str(escape(returns.name)),
            benchmark_title=None if benchmark is None else str(escape(benchmark.name)),
        )
        return Path(folder, "page.html").read_text(encoding="utf-8")


def _moving(returns: pd.Series | None) -> pd.Series | None:
    """Return `returns`, or None where they are the same in every session."""
    if returns is None:
        return None
    moves = returns.iloc[1:]
    return returns if moves.max() - moves.min() > 1e-12 else None


def _table(
    returns: pd.Series, benchmark: pd.Series | None, second: pd.Series | None
) -> pd.DataFrame:
    """Return the measures as text, with an empty row between groups.

    Returns
    -------
    DataFrame of shape (n_measures, 2 to 4)
        `Metric`, ours, the benchmark and the second one. What is measured against a
        benchmark has a row for each of them.
    """
    others = [one for one in (benchmark, second) if one is not None]
    names = [str(one.name) for one in (returns, *others)]
    with _contained():
        measured = [_measured(one) for one in (returns, *others)]
        relative = [_relative(returns, other) for other in others]
    of_each = [
        [row[0][0], *(_cell(figure) for _, figure in row)]
        for row in zip(*measured, strict=True)
    ]

    def to_each(metrics: Sequence[str]) -> Iterator[list[str]]:
        for metric in metrics:
            for name, figures in zip(names[1:], relative, strict=True):
                label = metric if len(others) == 1 else f"{metric} to {name}"
                yield [label, _cell(figures[metric]), *["\N{EN DASH}"] * len(others)]

    after = 1 + [metric for metric, *_ in of_each].index("Volatility (ann.)")
    rows = [*of_each[:after], *to_each(_RELATIVE[:2]), *of_each[after:]]
    if others:
        rows += [[""] * (1 + len(names)), *to_each(_RELATIVE[2:])]
    table = pd.DataFrame(rows, columns=["Metric", *names])
    return table[~table["Metric"].isin(_LEFT_OUT)]


def _relative(returns: pd.Series, benchmark: pd.Series) -> dict[str, str]:
    """Return what QuantStats measures against a benchmark, written as it writes it."""
    from quantstats import stats as untyped

    stats: Any = untyped
    beta, alpha = stats.greeks(returns, benchmark, prepare_returns=False)
    r_squared = stats.r_squared(returns, benchmark, prepare_returns=False)
    information = stats.information_ratio(returns, benchmark, prepare_returns=False)
    treynor = stats.treynor_ratio(returns, benchmark, SESSIONS_PER_YEAR)
    figures = (
        f"{round(r_squared, 2)}",
        f"{round(information, 2)}",
        f"{round(beta, 2)}",
        f"{round(alpha, 2)}",
        f"{round(100 * returns.corr(benchmark), 2)}%",
        f"{round(100 * treynor, 2)}%",
    )
    return dict(zip(_RELATIVE, figures, strict=True))


def _cell(value: object) -> str:
    """Return a figure of QuantStats with a true minus sign, a dash for none."""
    text = str(value)
    if text in _NONE:
        return "\N{EN DASH}"
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text


def _measured(returns: pd.Series) -> list[tuple[str, str]]:
    """Return what `quantstats.reports.metrics` tells of one portfolio, by metric.

    Of several it takes the autocorrelation of the first for all, and its older versions
    the average win too.
    """
    from quantstats import reports

    table: pd.DataFrame = reports.metrics(  # type: ignore[no-untyped-call]
        returns.copy(),
        display=False,
        mode="full",
        sep=True,
        prepare_returns=False,
        match_dates=False,
        internal="True",  # asks for text, percent signs included
        strategy_title="figure",
    ).iloc[2:]  # the span stands on top of the page
    metrics = table.index.str.replace("\ufe6a", "")
    return list(zip(metrics, map(str, table["figure"]), strict=True))


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

            plt.switch_backend("svg")
            yield
        finally:
            for number in set(plt.get_fignums()) - figures:
                plt.close(number)
            with suppress(ImportError):
                plt.switch_backend(backend)
            fonts.setLevel(level)
    mpl.rcParams["backend"] = backend
