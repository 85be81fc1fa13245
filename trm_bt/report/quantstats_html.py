"""QuantStats at arm's length: its tables and figures as clean HTML, nothing else.

Importing QuantStats changes matplotlib settings and loads a download library, its page
asks for an icon on the network, and it logs a line for each missing font. So it is
imported inside a function that puts everything back, and is given a template of bare
parts that pages of our own are made from.
"""

import html
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import pandas as pd

from trm_bt.evaluation.metrics import MIN_SESSIONS

Span = tuple[pd.Timestamp, pd.Timestamp]

FIGURES: Final = {
    "returns": "Cumulative returns",
    "log_returns": "Cumulative returns, log scale",
    "vol_returns": "Cumulative returns, matched to the benchmark's volatility",
    "eoy_returns": "Returns by calendar year",
    "monthly_dist": "Distribution of monthly returns",
    "rolling_vol": "Rolling volatility",
    "rolling_sharpe": "Rolling Sharpe ratio, raw",
    "rolling_sortino": "Rolling Sortino ratio",
    "dd_periods": "Worst drawdown periods",
    "dd_plot": "Underwater plot",
    "monthly_heatmap": "Monthly returns",
    "returns_dist": "Return quantiles",
}
"""QuantStats' figures in the order of its page, with a title of ours.

Two are left out, for what they draw is wrong: daily returns fall to 0 on each weekend,
and the rolling beta is 0 until its half year is full.
"""

_FIGURE_OF: Final = {
    "returns": "returns",
    "log_returns": "log_returns",
    "yearly_returns": "eoy_returns",
    "histogram": "monthly_dist",
    "daily_returns": "daily_returns",
    "rolling_beta": "rolling_beta",
    "rolling_volatility": "rolling_vol",
    "rolling_sharpe": "rolling_sharpe",
    "rolling_sortino": "rolling_sortino",
    "drawdowns_periods": "dd_periods",
    "drawdown": "dd_plot",
    "monthly_heatmap": "monthly_heatmap",
    "distribution": "returns_dist",
}
"""The figure that each function of `quantstats.plots` draws, the two left out included.

`returns` draws a second one where it is told to match volatilities: vol_returns.
"""

TABLES: Final = ("metrics", "eoy_table", "dd_info", "second_metrics")

MIN_ROLLING_SESSIONS: Final = 126
"""Sessions under which QuantStats' half-year rolling figures are empty."""

_ROLLING: Final = {"rolling_vol", "rolling_sharpe", "rolling_sortino"}
_SHORT_PARTS: Final = {
    "returns",
    "dd_periods",
    "dd_plot",
    "metrics",
    "second_metrics",
    "dd_info",
}
"""What a window under `MIN_SESSIONS` keeps: nothing annual, monthly or rolling."""

_SHORT_METRICS: Final = {
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
"""Rows such a window keeps: nothing annual, and nothing that the base row distorts.

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
}
_SHADE: Final = "#e3c8c7"
_SVG: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "trm_bt",
    "text.parse_math": False,
    "path.simplify_threshold": 0.5,
}


def quantstats_parts(
    returns: pd.Series,
    benchmark: pd.Series | None,
    names: Sequence[str],
    *,
    second: pd.Series | None = None,
    shaded: Span | None = None,
    n_judged: int | None = None,
) -> dict[str, str]:
    """Return QuantStats' figures and tables of `returns` as HTML, by part name.

    Parameters
    ----------
    returns : Series of shape (n_sessions + 1,)
        Simple returns as decimals on tz-naive sessions, not all equal; the first row
        is 0, for without it QuantStats finds no drawdown in a window that starts at
        its peak.
    benchmark, second : Series of shape (n_sessions + 1,) or None
        Returns of the benchmark on the same sessions, and of another one that has a
        table of measures but no figures.
    names : sequence of str
        What to call the portfolio, the benchmark and the second one.
    shaded : (Timestamp, Timestamp), optional
        First and last day of a span to shade in every figure that has a time axis.
    n_judged : int, optional
        Sessions of that span, all of them if None.

    Returns
    -------
    dict of str to str
        Keys of `FIGURES` (SVG) and `TABLES`. Where `n_judged` is under `MIN_SESSIONS`
        no part holds an annualised figure, and with fewer than `MIN_ROLLING_SESSIONS`
        returns none a rolling one.
    """
    n_sessions = len(returns) - 1
    n_judged = n_judged or n_sessions
    wanted = _meaningful_parts(n_sessions, n_judged)
    asked = [part for part in wanted if part != "second_metrics"]
    template = "".join(f"<!--part {part}-->{{{{{part}}}}}" for part in asked)
    with (
        tempfile.TemporaryDirectory() as folder,
        _borrowed_matplotlib(shaded),
        _drawing_only(wanted),
    ):
        from quantstats import reports

        source, page = Path(folder, "template.html"), Path(folder, "page.html")
        source.write_text(template, encoding="utf-8")
        reports.html(  # type: ignore[no-untyped-call]  # QuantStats has no types
            returns.copy(),
            benchmark=None if benchmark is None else benchmark.copy(),
            output=str(page),
            template_path=str(source),
            match_dates=False,
            strategy_title=names[0],
            benchmark_title=names[1],
        )
        pieces = re.split(r"<!--part (\w+)-->", page.read_text(encoding="utf-8"))
        parts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
        if second is not None:
            parts["second_metrics"] = _second_metrics(returns, second, names)
    cleaned = {
        part: clean_svg(text) if part in FIGURES else _clean_table(text)
        for part, text in parts.items()
        if text.strip()
    }
    if n_judged < MIN_SESSIONS:
        measures = cleaned.keys() & {"metrics", "second_metrics"}
        cleaned |= {part: _short_table(cleaned[part]) for part in measures}
    return cleaned


def _meaningful_parts(n_sessions: int, n_judged: int) -> list[str]:
    """Return the figures and tables that have something to say on so many sessions."""
    parts = [*FIGURES, *TABLES]
    if n_sessions < MIN_ROLLING_SESSIONS:
        parts = [part for part in parts if part not in _ROLLING]
    if n_judged < MIN_SESSIONS:
        parts = [part for part in parts if part in _SHORT_PARTS]
    return parts


def _second_metrics(returns: pd.Series, second: pd.Series, names: Sequence[str]) -> str:
    """Return QuantStats' measures against a second benchmark, as its page has them."""
    from quantstats import reports

    table = reports.metrics(  # type: ignore[no-untyped-call]
        returns.rename(names[0]),
        benchmark=second.rename(names[2]),
        display=False,
        mode="full",
        match_dates=False,
        internal="True",
        benchmark_title=names[2],
        strategy_title=names[0],
        prepare_returns=False,
    )
    table.index.name = "Metric"
    html_table: str = table.iloc[2:].reset_index().to_html(index=False, border=0)
    return html_table.replace(' class="dataframe"', "").replace(
        ' style="text-align: right;"', ""
    )


def clean_svg(text: str) -> str:
    """Return matplotlib's SVG without prologue, metadata and fixed size."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"', r"\1", svg, count=2)


def _clean_table(text: str) -> str:
    """Return a table without odd percent signs, and with a column named rightly.

    A drawdown that the window cuts off ends there without any recovery.
    """
    return text.replace("\ufe6a", "").replace("<th>Recovered</th>", "<th>Ended</th>")


def _short_table(table: str) -> str:
    """Return the metrics table with the rows of `_SHORT_METRICS` alone."""

    def keep(row: re.Match[str]) -> str:
        name = re.search(r"<td>(.*?)</td>", row[0])
        is_head = "<th>" in row[0]
        is_kept = name is not None and html.unescape(name[1]) in _SHORT_METRICS
        return row[0] if is_head or is_kept else ""

    return re.sub(r"<tr>.*?</tr>\s*", keep, table, flags=re.DOTALL)


@contextmanager
def _borrowed_matplotlib(shaded: Span | None) -> Iterator[None]:
    """Let QuantStats draw with settings of ours, then put the user's back."""
    import matplotlib.pyplot as plt

    fonts, level = logging.getLogger("matplotlib.font_manager"), logging.ERROR
    before, backend, figures = fonts.level, mpl.get_backend(), set(plt.get_fignums())
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")
        fonts.setLevel(level)
        try:
            mpl.rcdefaults()
            import quantstats.reports  # noqa: F401 - sets its theme when imported
            import seaborn

            seaborn.set_theme(font_scale=1.1, rc=_THEME)
            mpl.rcParams.update(_SVG)
            plt.switch_backend("svg")
            with _shading(shaded):
                yield
        finally:
            for number in set(plt.get_fignums()) - figures:
                plt.close(number)
            with suppress(ImportError):
                plt.switch_backend(backend)
            fonts.setLevel(before)
    mpl.rcParams["backend"] = backend


@contextmanager
def _shading(span: Span | None) -> Iterator[None]:
    """Shade a span in each figure with a time axis, at the moment it is saved.

    QuantStats offers no way to its axes; it saves each figure through pyplot.
    """
    import matplotlib.pyplot as plt
    from matplotlib.dates import DateConverter

    save = plt.savefig

    def shade_and_save(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as pyplot's
        for axes in plt.gcf().axes:
            if span and isinstance(axes.xaxis.get_converter(), DateConverter):
                days: Any = span
                axes.axvspan(*days, color=_SHADE, alpha=0.5, linewidth=0.8, zorder=0)
        save(*args, **kwargs)

    plt.savefig = shade_and_save
    try:
        yield
    finally:
        plt.savefig = save


@contextmanager
def _drawing_only(wanted: Collection[str]) -> Iterator[None]:
    """Let QuantStats draw no figure but those of `wanted`.

    It offers no choice and draws all of them, whatever its template has a place for,
    which is most of the time that a page takes.
    """
    from quantstats import plots

    def choose(figure: str, draw: Callable[..., object]) -> Callable[..., None]:
        def draw_if_wanted(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as its
            asked = "vol_returns" if kwargs.get("match_volatility") else figure
            if asked in wanted:
                draw(*args, **kwargs)

        return draw_if_wanted

    drawers = {name: getattr(plots, name) for name in _FIGURE_OF}
    try:
        for name, draw in drawers.items():
            setattr(plots, name, choose(_FIGURE_OF[name], draw))
        yield
    finally:
        for name, draw in drawers.items():
            setattr(plots, name, draw)
