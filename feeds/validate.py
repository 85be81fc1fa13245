"""Every symbol of a source held against every rule, without stopping at the first."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.errors import BarsError, BarsWarning
from trm_bt.feeds.assembly import assemble
from trm_bt.feeds.checked import examine_span
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.long_bond import OLDER_FUND
from trm_bt.feeds.optional_inputs import read_put_call
from trm_bt.feeds.sample import SampleSource
from trm_bt.feeds.sources import CORE_SYMBOLS, Source, check_span
from trm_bt.feeds.vendors import open_source
from trm_bt.feeds.yields import read_cash_yield
from trm_bt.market.adjustment import adjusted_prices
from trm_bt.market.bars import PRICE_COLUMNS
from trm_bt.quality.core_roles import TOGETHER_RULES, examine_together
from trm_bt.quality.findings import Finding, Role, Severity
from trm_bt.quality.rules import rules_for

_ROLES: Final[dict[str, Role]] = {
    **{symbol: role for role, symbol in CORE_SYMBOLS.items()},
    OLDER_FUND: "fund_nav",
    "rates": "series",
    "putcall": "series",
}
_READERS: Final = {"rates": read_cash_yield, "putcall": read_put_call}
_CORE: Final = tuple(CORE_SYMBOLS.values())
TOGETHER: Final = "SPY, TLT and VIX together"
_READING: Final = "read by a run"


@dataclass(frozen=True)
class SymbolReport:
    """What was found in one symbol.

    Parameters
    ----------
    symbol : str
        The symbol, or `TOGETHER`.
    role : str or None
        What it was examined as, None where it is nothing that a run reads.
    start, end : Timestamp or None
        First and last session.
    rows : int
        Number of rows.
    sessions : int
        Sessions of the exchange over the span.
    findings : tuple of Finding
        Errors and warnings.
    unchecked : mapping of str to str
        Rules that the symbol gives nothing to check by, and what it lacks.
    """

    symbol: str
    role: Role | None
    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None
    rows: int = 0
    sessions: int = 0
    findings: tuple[Finding, ...] = ()
    unchecked: Mapping[str, str] = field(default_factory=dict)

    @property
    def rules(self) -> tuple[str, ...]:
        """What the symbol was held against, in order."""
        if self.symbol == TOGETHER:
            return (*TOGETHER_RULES, _READING)
        if not self.rows:
            return tuple(finding.rule for finding in self.findings)
        return rules_for(self.role) if self.role else ()

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "symbol": self.symbol,
            "role": self.role,
            "start": _iso(self.start),
            "end": _iso(self.end),
            "rows": self.rows,
            "sessions": self.sessions,
            "findings": [
                {
                    "severity": finding.severity,
                    "rule": finding.rule,
                    "count": finding.count,
                    "first": _iso(finding.first),
                    "sentence": finding.sentence,
                }
                for finding in self.findings
            ],
            "unchecked": dict(self.unchecked),
        }


def validate_source(
    source: str | Path, *, start: str | None = None, end: str | None = None
) -> tuple[SymbolReport, ...]:
    """Examine every symbol of a source, and the core roles together.

    Parameters
    ----------
    source : str or Path
        "sample", "yahoo", a store, or a folder of files.
    start, end : str, optional
        First and last date looked at, inclusive, as YYYY-MM-DD.

    Returns
    -------
    tuple of SymbolReport
        One a symbol, the core roles first, and one for the core roles together where
        all of them are sound by themselves.

    Raises
    ------
    BarsError
        If there is no such source.
    """
    check_span(start, end)
    opened = open_source(source)
    ordered = sorted(opened.symbols(), key=lambda s: (s not in _ROLES, s))
    absent = [symbol for symbol in _CORE if symbol not in ordered]
    reports = [_absent(opened, symbol) for symbol in absent]
    reports += [_report(opened, symbol, start, end) for symbol in ordered]
    sound = [report for report in reports if not _has_error(report)]
    if {report.symbol for report in sound} >= set(_CORE):
        findings = _together(opened, start, end)
        reports.append(SymbolReport(TOGETHER, None, findings=findings))
    return tuple(reports)


def _together(
    source: Source, start: str | None, end: str | None
) -> tuple[Finding, ...]:
    """Hold the core roles against each other, then read all as a run does."""
    frames = {
        str(_ROLES[symbol]): adjusted_prices(_table(source, symbol)).loc[start:end]
        for symbol in _CORE
    }
    findings = examine_together(frames)
    if isinstance(source, SampleSource) or any(f.severity == "error" for f in findings):
        return findings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BarsWarning)  # the symbols have said it
            assemble(source, start=start, end=end)
    except BarsError as error:
        return (*findings, Finding("error", _READING, 1, None, str(error)))
    return findings


def _report(
    source: Source, symbol: str, start: str | None, end: str | None
) -> SymbolReport:
    try:
        table = _table(source, symbol)
    except BarsError as error:
        return _unreadable(symbol, str(error))
    has_prices = set(PRICE_COLUMNS) <= set(table.columns)
    role: Role | None = _ROLES.get(symbol, "member" if has_prices else None)
    cut = table.loc[start:end] if table.index.is_monotonic_increasing else table
    if cut.empty:
        sentence = f"{source.where(symbol)}: has no row in the span."
        return _unreadable(symbol, sentence, "error" if symbol in _CORE else "warning")
    findings: tuple[Finding, ...] = ()
    if role is not None:
        findings = examine_span(table, role, symbol, start=start, end=end)
    findings += _series_findings(source, symbol)
    unchecked = {}
    if has_prices and "adj close" not in table.columns:
        unchecked["adjusted and raw mixed"] = "no adjusted closes beside the closes"
    first, last = cut.index.min(), cut.index.max()
    n_sessions = len(nyse_sessions(first, last))
    return SymbolReport(
        symbol, role, first, last, len(cut), n_sessions, findings, unchecked
    )


def _series_findings(source: Source, symbol: str) -> tuple[Finding, ...]:
    """Read a series as a run reads it, and tell what it would refuse."""
    try:
        if symbol in _READERS:
            _READERS[symbol](source)
    except BarsError as error:
        return (Finding("error", "role", 1, None, str(error)),)
    return ()


def _table(source: Source, symbol: str) -> pd.DataFrame:
    table = source.read(symbol)
    assert table is not None
    return table


def _absent(source: Source, symbol: str) -> SymbolReport:
    return _unreadable(symbol, f"{source.where(symbol)}: is needed and missing.")


def _unreadable(
    symbol: str, sentence: str, severity: Severity = "error"
) -> SymbolReport:
    finding = Finding(severity, "readable", 1, None, sentence)
    return SymbolReport(symbol, _ROLES.get(symbol), findings=(finding,))


def _has_error(report: SymbolReport) -> bool:
    return any(finding.severity == "error" for finding in report.findings)


def _iso(moment: pd.Timestamp | None) -> str | None:
    return None if moment is None else moment.date().isoformat()
