"""Tables for a terminal: figures in, `rich` tables out; nothing is printed here."""

from collections import ChainMap, Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.table import Table

from trm_bt.cli.fitting import fitted
from trm_bt.figures import count, number, percent, portion, signed

if TYPE_CHECKING:
    from trm_bt.audit.checks import AuditResult
    from trm_bt.evaluation.assessment import ComparisonRecord
    from trm_bt.feeds.fetch import Outcome
    from trm_bt.feeds.store import BarStore
    from trm_bt.feeds.validate import SymbolReport
    from trm_bt.learning.self_check import Check
    from trm_bt.market.features import Features
    from trm_bt.market.label_table import LabelSummary
    from trm_bt.report.runs_page import RunsContent
    from trm_bt.runfolder.orders import OrdersRecord
    from trm_bt.runfolder.records import BarsRecord, CrisisRecord, ModelRecord, Summary


_Form = Callable[[float | None], str]
_p: Final = partial(number, digits=3)
_fine: Final = partial(percent, digits=2)
_STRATEGY_COLUMNS: Final[Mapping[str, tuple[str, _Form]]] = {
    ">return": ("total_return", percent),
    "?>CAGR": ("cagr", percent),
    "?>volatility": ("volatility_annual", percent),
    ">Sharpe": ("sharpe", number),
    ">drawdown": ("max_drawdown", percent),
    ">turnover": ("turnover_annual", portion),
}
"""Key in summary.json and its form by heading."""
_COMPARE_COLUMNS: Final[Mapping[str, tuple[str, _Form]]] = {
    ">Sharpe": ("sharpe", number),
    ">lead": ("difference", signed),
    ">p": ("p_corrected", _p),
    "?>MDE": ("detectable", number),
    "?>CAGR": ("cagr", percent),
    "?>volatility": ("volatility_annual", percent),
    ">drawdown": ("max_drawdown", percent),
    ">turnover": ("turnover_annual", portion),
    "?>costs": ("lost_to_costs", percent),
    "?>regret": ("regret", _fine),
    "?>accuracy": ("accuracy", percent),
}
"""Key in comparison.json, of a strategy or of the lead over it, and its form."""


def summary_parts(summary: "Summary") -> tuple[Table | str, ...]:
    """Return what every run of backtests prints: its bars, then its tables."""
    tables = strategy_table(summary), schedule_table(summary)
    return summary.bars.source, crisis_table(summary.crises), *tables


def crisis_table(crises: "Sequence[CrisisRecord]") -> Table:
    """Return a row for each crisis of a run."""
    table = fitted(
        "Crises, each decided by a model frozen before it",
        *("crisis", "?>sessions", "?>trained until", "?>steps", ">trm", ">spy"),
        *(">60/40", ">drawdown trm", ">spy", ">60/40"),
    )
    for crisis in crises:
        if crisis.total_return is None or crisis.max_drawdown is None:
            continue
        table.add_row(
            crisis.name,
            count(crisis.sessions or 0),
            str(crisis.trained_until),
            count(crisis.n_optimizer_steps or 0),
            *[
                percent(values[name])
                for values in (crisis.total_return, crisis.max_drawdown)
                for name in ("trm", "spy", "sixty_forty")
            ],
        )
    missing: dict[str, list[str]] = {}
    for crisis in crises:
        if not crisis.covered:
            missing.setdefault(crisis.reason, []).append(crisis.name)
    if missing:
        said = [f"{', '.join(names)} ({why})" for why, names in missing.items()]
        table.caption = f"No data: {'; '.join(said)}"
    return table


def strategy_table(summary: "Summary") -> Table:
    """Return a row for each strategy of a run, over all its sessions."""
    span = summary.out_of_sample
    table = fitted(
        f"Out of sample {span.start} to {span.end}, {count(span.sessions)} sessions",
        *("strategy", *_STRATEGY_COLUMNS),
    )
    for name, figures in summary.strategies.items():
        table.add_row(name, *_figures(_STRATEGY_COLUMNS, figures))
    table.caption = f"Turnover is annual. Cash {summary.cash}."
    return table


def schedule_table(summary: "Summary") -> Table:
    """Return a row for each schedule on which the decisions could be traded."""
    table = fitted(
        "When to trade: the same decisions on other schedules",
        *("schedule", ">turnover", ">costs", "?>orders", "?>sessions", ">return"),
    )
    for name, row in summary.schedules.items():
        table.add_row(
            name,
            portion(row.turnover_annual),
            _fine(row.costs_annual),
            count(row.orders),
            count(row.trading_sessions),
            percent(row.total_return),
            style="bold" if name == summary.schedule else None,
        )
    table.caption = "Turnover and costs are annual. Bold: the schedule of this run."
    return table


def order_line(orders: "OrdersRecord") -> str:
    """Return the number of orders of a run in words."""
    sent, done = count(orders.submitted), count(orders.completed)
    return f"Orders: {sent} submitted, {done} completed, {orders.rejected:,} rejected."


def compare_table(record: "ComparisonRecord") -> Table:
    """Return a row for each strategy of a comparison, with the lead over it."""
    span, leads = record.span, record.tests.leads if record.tests else {}
    table = fitted(
        f"{record.run}: {count(span.sessions)} sessions, {span.start} to {span.end}",
        *("strategy", *_COMPARE_COLUMNS),
    )
    for name, row in record.strategies.items():
        style = "dim" if row.kind == "hindsight" else None
        figures = _figures(_COMPARE_COLUMNS, row, leads.get(name))
        table.add_row(name, *figures, style=style)
    table.caption = (
        "Lead: Sharpe ratio of trm minus this one, with its corrected p. MDE: the "
        "smallest lead that is detectable with 80% power. Turnover: annual. "
        f"Costs: of the end value, at {record.cost_bps:g} basis points per trade. "
        f"Cash {record.cash.rstrip('.')}. Dim: known only afterwards."
    )
    return table


def feature_table(features: "Features") -> Table:
    """Return a row for each feature, with its range."""
    table = fitted(
        f"{len(features.frame)} rows of features",
        *("feature", ">status", ">min", ">median", ">max"),
    )
    for name, status in features.schema.status_by_name.items():
        values = features.frame[name]
        figures = (values.min(), values.median(), values.max())
        table.add_row(name, status, *[f"{value:.4g}" for value in figures])
    return table


def label_tables(summary: "LabelSummary") -> tuple[Table, Table]:
    """Return what labels_summary.json counts, by allocation and by crisis."""
    by_class = fitted(
        f"{summary.n_labels} labels, {summary.n_ties} of them ties",
        *("allocation", ">wins", ">share", ">mean return"),
    )
    fill = "the next open" if summary.fill == "next_open" else "the same close"
    by_class.caption = (
        f"Objective {summary.objective}, {summary.horizon} sessions from {fill}."
    )
    for name, row in summary.by_class.items():
        by_class.add_row(
            name,
            *(str(row.n_wins), percent(row.win_share), percent(row.mean_return, 3)),
        )
    classes = [f">{index}" for index in range(len(summary.by_class))]
    by_crisis = fitted(
        "Wins by crisis and class index", "crisis", ">labels", ">ties", *classes
    )
    for name, crisis in summary.by_crisis.items():
        counts = (crisis.n_labels, crisis.n_ties, *crisis.n_wins.values())
        style = None if crisis.n_labels else "dim"
        by_crisis.add_row(name, *map(str, counts), style=style)
    return by_class, by_crisis


def provenance_table(bars: "BarsRecord") -> Table:
    """Return each role's status and where it comes from."""
    table = fitted(f"Bars {bars.start} to {bars.end}", "role", "status", "source")
    table.caption = bars.source
    for name, role in bars.roles.items():
        table.add_row(name, role.status, "; ".join([role.source, *role.notes]))
    return table


def verdict_table(reports: "Sequence[SymbolReport]") -> Table:
    """Return a row for each symbol: span, rows, findings, verdict."""
    table = fitted(
        "Bars checked against every rule",
        *("symbol", "first", "last", ">rows", ">errors", ">warnings", "verdict"),
    )
    for report in reports:
        span = ("", "", "")
        if report.start:
            span = (str(report.start), str(report.end), str(report.rows))
        counts = Counter(finding.severity for finding in report.findings)
        style = {"refused": "red", "suspect": "yellow", "not read": "dim"}
        table.add_row(
            report.symbol,
            *span,
            str(counts["error"]),
            str(counts["warning"]),
            report.verdict,
            style=style.get(report.verdict),
        )
    return table


def finding_lines(reports: "Sequence[SymbolReport]") -> list[str]:
    """Return a line for each finding, errors first."""
    found = [finding for report in reports for finding in report.findings]
    found.sort(key=lambda finding: finding.severity != "error")
    return [f"{f.severity}: {f.sentence} [{f.rule}]" for f in found]


def verdict_line(reports: "Sequence[SymbolReport]") -> str:
    """Return the verdict on all symbols in one line."""
    verdicts = Counter(report.verdict for report in reports)
    if verdicts["refused"]:
        return f"Refused: {verdicts['refused']} of {len(reports)} break a rule."
    suspect = verdicts["suspect"]
    added = f", {suspect} of them suspect" if suspect else ""
    return f"Accepted: {len(reports)} symbols checked{added}."


def symbol_table(report: "SymbolReport") -> Table:
    """Return a row for each rule that a symbol was checked against."""
    span = f"{report.start:%Y-%m-%d} to {report.end:%Y-%m-%d}" if report.start else ""
    table = fitted(
        f"{report.symbol} {span}".strip(), "rule", ">rows", "first", "finding"
    )
    table.title_justify = "left"
    if report.start:
        table.add_row("rows", str(report.rows), "", f"{report.sessions} sessions")
    found = {finding.rule: finding for finding in report.findings}
    if report.rows and not report.role:
        table.caption = "not checked: no run reads it"
    for rule in report.rules:
        if rule in report.unchecked:
            table.add_row(rule, "-", "", f"not checked: {report.unchecked[rule]}")
        elif rule not in found:
            table.add_row(rule, "0", "", "ok", style="dim")
        else:
            finding = found[rule]
            first = "" if finding.first is None else f"{finding.first:%Y-%m-%d}"
            style = "red" if finding.severity == "error" else "yellow"
            sentence = escape(f"{finding.severity}: {finding.sentence}")
            table.add_row(rule, str(finding.count), first, sentence, style=style)
    return table


def fetch_table(outcomes: "Sequence[Outcome]", store: "BarStore") -> Table:
    """Return the outcome of a fetch for each symbol."""
    table = fitted(
        f"Bars in {store.folder}", "symbol", "action", ">new", ">rows", "first", "last"
    )
    for outcome in outcomes:
        entry = store.entry(outcome.symbol)
        kept = (str(entry.rows), entry.start, entry.end) if entry else ("-", "-", "-")
        table.add_row(outcome.symbol, outcome.action, str(outcome.n_new), *kept)
    return table


def model_table(model: "ModelRecord") -> Table:
    """Return a row for each fact of a trained model."""
    table = Table("field", "value", title="Checkpoint")
    for key, value in model.model_dump(exclude={"validation", "pooled"}).items():
        table.add_row(key, str(value))
    for rows in model.pooled:
        counted = f"{rows.n_train} rows, count for {rows.n_effective:.0f}"
        table.add_row(f"pooled {rows.name}", counted)
    for key, value in model.validation.model_dump().items():
        table.add_row(f"validation {key}", f"{value:.5g}")
    return table


def check_table(checks: "Sequence[Check]") -> Table:
    """Return a row for each check of training."""
    table = Table("check", "", "figures", title="Training checks")
    for check in checks:
        passed = "passed" if check.is_passed else "FAILED"
        table.add_row(check.name, passed, check.figures)
    return table


def audit_table(results: "Sequence[AuditResult]") -> Table:
    """Return a row for each check of a look-ahead audit."""
    table = fitted(
        "Look-ahead audit: does anything depend on later bars?",
        *("check", "compared", "?>cuts", "?>runs", ">values", ">largest"),
        *("?>seconds", "first difference"),
    )
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


def runs_table(content: "RunsContent") -> Table:
    """Return a row for each run: return and risk of the allocator."""
    table = fitted(
        "Runs side by side, not tested", *("run", "?out of sample", *_STRATEGY_COLUMNS)
    )
    for name, folder in zip(content.names, content.folders, strict=True):
        span, figures = folder.summary.out_of_sample, folder.summary.strategies["trm"]
        row = _figures(_STRATEGY_COLUMNS, figures)
        table.add_row(name, f"{span.start} to {span.end}", *row)
    return table


def _figures(columns: Mapping[str, tuple[str, _Form]], *records: object) -> list[str]:
    """Write a field of one of the records for each column."""
    fields = ChainMap(*(vars(record) for record in records if record))
    return [form(fields.get(key)) for key, form in columns.values()]
