"""Tables for a terminal: figures in, `rich` tables out; nothing is printed here."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def crisis_table(crises: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each entry of `crises` in summary.json."""
    table = figure_table(
        "Crises, each decided by a model that was frozen before it",
        ("crisis", "sessions", "trained until", "steps", "trm", "spy", "60/40"),
    )
    for column in ("drawdown trm", "spy", "60/40"):
        table.add_column(column, justify="right")
    names = ("trm", "spy", "sixty_forty")
    for crisis in crises:
        if not crisis["covered"]:
            table.add_row(crisis["name"], "no data", style="dim")
            continue
        table.add_row(
            crisis["name"],
            str(crisis["sessions"]),
            crisis["trained_until"],
            str(crisis["n_optimizer_steps"]),
            *[_percent(crisis["total_return"][name]) for name in names],
            *[_percent(crisis["max_drawdown"][name]) for name in names],
        )
    missing = {c["reason"]: 0 for c in crises if not c["covered"]}
    if missing:
        table.caption = f"No data: {'; '.join(missing)}"
    return table


def strategy_table(summary: Mapping[str, Any]) -> Table:
    """Return a row for each strategy of summary.json, over the whole run."""
    span = summary["out_of_sample"]
    table = figure_table(
        f"Out of sample {span['start']} to {span['end']}, {span['sessions']} sessions",
        (
            "strategy",
            "return",
            "a year",
            "volatility",
            "Sharpe",
            "drawdown",
            "turnover",
        ),
    )
    for name, row in summary["strategies"].items():
        table.add_row(
            name,
            *[_percent(row[k]) for k in ("total_return", "cagr", "volatility_annual")],
            _number(row["sharpe"], ".2f"),
            _percent(row["max_drawdown"]),
            _number(row["turnover_annual"], ".1f"),
        )
    table.caption = f"Cash {summary['cash']}."
    return table


def provenance_table(bars: Mapping[str, Any]) -> Table:
    """Return each role's status and where it comes from."""
    table = Table(
        title=f"Bars {bars['start']} to {bars['end']}", caption=bars["source"]
    )
    for column in ("role", "status", "source"):
        table.add_column(column)
    for role, entry in bars["roles"].items():
        table.add_row(
            role, entry["status"], "; ".join([entry["source"], *entry["notes"]])
        )
    return table


def figure_table(title: str, columns: Sequence[str]) -> Table:
    """Return a table whose first column is words and the others figures."""
    table = Table(title=title)
    table.add_column(columns[0], no_wrap=True)
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _percent(value: float | None) -> str:
    return _number(value, ".1%")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
