"""Tables for a terminal: figures in, `rich` tables out; nothing is printed here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from trm_bt.market.allocations import ALLOCATION_NAMES

if TYPE_CHECKING:
    from trm_bt.audit.checks import AuditResult
    from trm_bt.feeds.fetch import Outcome
    from trm_bt.feeds.store import BarStore
    from trm_bt.feeds.validate import SymbolReport
    from trm_bt.runfolder.records import CrisisRecord, Summary


def crisis_table(crises: Sequence["CrisisRecord"]) -> Table:
    """Return a row for each entry of `crises` in summary.json."""
    table = figure_table(
        "Crises, each decided by a model that was frozen before it",
        ("crisis", "sessions", "trained until", "steps", "trm", "spy", "60/40"),
    )
    for column in ("drawdown trm", "spy", "60/40"):
        table.add_column(column, justify="right")
    names = ("trm", "spy", "sixty_forty")
    for crisis in crises:
        if crisis.total_return is None or crisis.max_drawdown is None:
            table.add_row(crisis.name, "no data", style="dim")
            continue
        table.add_row(
            crisis.name,
            str(crisis.sessions),
            str(crisis.trained_until),
            str(crisis.n_optimizer_steps),
            *[_percent(crisis.total_return[name]) for name in names],
            *[_percent(crisis.max_drawdown[name]) for name in names],
        )
    missing = {c.reason: 0 for c in crises if not c.covered}
    if missing:
        table.caption = f"No data: {'; '.join(missing)}"
    return table


def strategy_table(summary: "Summary") -> Table:
    """Return a row for each strategy of summary.json, over the whole run."""
    span = summary.out_of_sample
    table = figure_table(
        f"Out of sample {span.start} to {span.end}, {span.sessions} sessions",
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
    for name, row in summary.strategies.items():
        table.add_row(
            name,
            *[_percent(v) for v in (row.total_return, row.cagr, row.volatility_annual)],
            _number(row.sharpe, ".2f"),
            _percent(row.max_drawdown),
            _number(row.turnover_annual, ".1f"),
        )
    table.caption = f"Turnover is a year's. Cash {summary.cash}."
    return table


def compare_table(facts: Mapping[str, Any]) -> Table:
    """Return a row for each strategy of comparison.json, with the lead over it."""
    span, tests = facts["span"], facts["tests"] or {"leads": {}}
    table = figure_table(
        f"{facts['run']}: {span['sessions']} sessions, {span['start']} to "
        f"{span['end']}",
        (
            "strategy",
            "Sharpe",
            "lead",
            "p",
            "a year",
            "risk",
            "drawdown",
            "turnover",
            "costs",
            "regret",
            "accuracy",
        ),
    )
    for name, row in facts["strategies"].items():
        lead = tests["leads"].get(name, {"difference": None, "p_value": None})
        table.add_row(
            name,
            _number(row["sharpe"], ".2f"),
            _number(lead["difference"], "+.2f"),
            _number(lead["p_value"], ".3f"),
            *[_percent(row[k]) for k in ("cagr", "volatility_annual", "max_drawdown")],
            _number(row["turnover_annual"], ".1f"),
            _percent(row["lost_to_costs"]),
            _number(row["regret"], ".2%"),
            _percent(row["accuracy"]),
            style="dim" if row["kind"] == "hindsight" else None,
        )
    table.caption = (
        "Lead: of trm by Sharpe ratio, with its one-sided p. Turnover: a year's. "
        f"Costs: of the end value, {facts['cost_bps']:g} basis points of each trade. "
        f"Cash {facts['cash'].rstrip('.')}. Dim: known only afterwards."
    )
    return table


def label_tables(summary: Mapping[str, Any], out: Path) -> tuple[Table, Table]:
    """Return what labels_summary.json counts, by allocation and by crisis."""
    by_class = figure_table(
        f"{summary['n_labels']} labels in {out}, {summary['n_ties']} of them ties",
        ("allocation", "wins", "share", "mean return"),
    )
    by_class.caption = (
        f"Objective {summary['objective']}, {summary['horizon']} sessions from "
        f"{'the next open' if summary['fill'] == 'next_open' else 'the same close'}."
    )
    for name, row in summary["by_class"].items():
        by_class.add_row(
            name,
            str(row["n_wins"]),
            _percent(row["win_share"]),
            _number(row["mean_return"], ".3%"),
        )
    by_crisis = figure_table(
        "Wins by crisis and class index",
        ("crisis", "labels", "ties", *map(str, range(len(ALLOCATION_NAMES)))),
    )
    for name, row in summary["by_crisis"].items():
        counts = (row["n_labels"], row["n_ties"], *row["n_wins"].values())
        by_crisis.add_row(
            name, *map(str, counts), style=None if row["n_labels"] else "dim"
        )
    return by_class, by_crisis


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


def symbol_table(report: "SymbolReport") -> Table:
    """Return a row for each rule that a symbol was held against."""
    span = f"{report.start:%Y-%m-%d} to {report.end:%Y-%m-%d}" if report.start else ""
    table = Table(title=f"{report.symbol} {span}".strip(), title_justify="left")
    table.add_column("rule", no_wrap=True)
    table.add_column("rows", justify="right")
    for column in ("first", "finding"):
        table.add_column(column)
    if report.start:
        table.add_row("rows", str(report.rows), "", f"{report.sessions} sessions")
    found = {finding.rule: finding for finding in report.findings}
    if report.rows and not report.role:
        table.caption = "nothing that a run reads: not examined"
    for rule in report.rules:
        if rule in report.unchecked:
            table.add_row(rule, "-", "", f"not checked: {report.unchecked[rule]}")
            continue
        if rule not in found:
            table.add_row(rule, "0", "", "ok", style="dim")
            continue
        finding = found[rule]
        first = f"{finding.first:%Y-%m-%d}" if finding.first is not None else ""
        style = "red" if finding.severity == "error" else "yellow"
        sentence = f"{finding.severity}: {finding.sentence}"
        table.add_row(rule, str(finding.count), first, escape(sentence), style=style)
    return table


def fetch_table(outcomes: "Sequence[Outcome]", store: "BarStore") -> Table:
    """Return what became of each symbol of a fetch."""
    table = Table(title=f"Bars in {store.folder}")
    for column in ("symbol", "what", "new", "rows", "first", "last"):
        table.add_column(
            column, justify="right" if column in ("new", "rows") else "left"
        )
    for outcome in outcomes:
        entry = store.entry(outcome.symbol)
        kept = (str(entry.rows), entry.start, entry.end) if entry else ("-", "-", "-")
        table.add_row(outcome.symbol, outcome.action, str(outcome.n_new), *kept)
    return table


def audit_table(results: "Sequence[AuditResult]") -> Table:
    """Return a row for each check of a look-ahead audit."""
    table = Table(title="Does anything known by a cut change with its future?")
    table.add_column("check", no_wrap=True)
    table.add_column("compared")
    for column in ("cuts", "runs", "values", "largest", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("first difference")
    for result in results:
        table.add_row(
            result.name,
            escape(result.detail),
            str(result.n_cuts),
            str(result.n_runs),
            str(result.n_values),
            f"{result.largest:.0e}" if result.largest else "0",
            f"{result.seconds:.1f}",
            escape(str(result.difference or "none")),
            style="red" if result.difference else None,
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
