"""Tearsheets: one page for each crisis, one for the whole run, one for any user."""

from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.files import write_text_atomically
from trm_bt.market.bars import PRICE_COLUMNS
from trm_bt.report.contents import Sheet
from trm_bt.report.returns import (
    clean_returns,
    find_benchmark,
    find_flows,
    find_returns,
    on_sessions,
    with_base,
)
from trm_bt.report.sections.calendar import calendar
from trm_bt.report.sections.context import context
from trm_bt.report.sections.earned import earned
from trm_bt.report.sections.measures import measures, untouched_page
from trm_bt.report.templating import Section, fill, render_page

_SECTIONS: Final = (
    Section(partial(fill, "crisis_alone")),
    Section(context),
    Section(earned),
    Section(calendar),
    Section(measures),
)


def tearsheet(
    strategy_or_returns: object,
    out: str | Path,
    *,
    benchmark: pd.Series | str | None = None,
    title: str = "Tearsheet",
) -> Path:
    """Write a tearsheet of any Cerebro run, or of any daily returns.

    Parameters
    ----------
    strategy_or_returns : bt.Strategy or Series of shape (n_sessions,)
        A strategy that ran with a `TimeReturn` or `PyFolio` analyzer, or simple daily
        returns as decimals, indexed by session. Time zones and hours are dropped;
        missing returns are left out and reported.
    out : str or Path
        The HTML file to write; it needs no other file and asks for nothing online.
    benchmark : Series of shape (n_benchmark,) or str, optional
        Daily returns or prices to compare with, or the name of a feed of the strategy;
        sessions it lacks count as 0 and are reported. By default the feed of a
        `TimeReturn(data=...)` that the strategy ran with, if there is one.
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
    strategy_or_returns: object, benchmark: pd.Series | str | None, title: str
) -> str:
    """Return the page that `tearsheet` writes; arguments as in `tearsheet`."""
    found = find_returns(strategy_or_returns)
    returns = with_base(clean_returns(found, "returns")).rename("Strategy")
    notes = []
    if n_missing := int(found.isna().sum()):
        notes.append(f"Left out: {_sessions(n_missing)} without a return.")
    flows = find_flows(strategy_or_returns)
    if len(flows):
        days = pd.DatetimeIndex(flows.index).strftime("%Y-%m-%d")
        pairs = zip(days, flows.tolist(), strict=True)
        each = "; ".join(f"{day} {flow:+,.2f}" for day, flow in pairs)
        notes.append(f"Returns are time-weighted. Deposits and withdrawals: {each}.")
    aligned = None
    against = find_benchmark(benchmark, strategy_or_returns)
    if against is not None:
        sessions = pd.DatetimeIndex(returns.index)
        aligned = on_sessions(clean_returns(against, "benchmark"), sessions)
        if n_missing := int(aligned.isna().iloc[1:].sum()):
            missing = _sessions(n_missing)
            notes.append(f"The benchmark has no return on {missing}: counted as 0.")
        is_named = against.name not in (None, returns.name, *PRICE_COLUMNS)
        name = str(against.name) if is_named else "Benchmark"
        aligned = aligned.fillna(0.0).rename(name)
    sheet = Sheet(title, returns, aligned, notes=tuple(notes))
    return render_sheet(sheet)


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count:,} sessions"


def render_pages(sheet: Sheet, name: str) -> dict[str, str]:
    """Return the page of `sheet` by name, and QuantStats' own if it links there."""
    pages = {name: render_sheet(sheet)}
    if sheet.untouched:
        pages[sheet.untouched] = untouched_page(sheet)
    return pages


def render_sheet(sheet: Sheet) -> str:
    """Return the page of `sheet` as one HTML document without outside links."""
    ways = [(sheet.back, "All crises and the whole run")] if sheet.back else []
    ways += [(link, f"\N{LEFTWARDS ARROW} {title}") for link, title in (*sheet.before,)]
    ways += [(link, f"{title} \N{RIGHTWARDS ARROW}") for link, title in (*sheet.after,)]
    return render_page(sheet.title, _SECTIONS, sheet, ways=ways)
