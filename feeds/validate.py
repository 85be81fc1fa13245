"""Every symbol of a source held against every rule, without stopping at the first."""

import warnings
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from trm_bt.errors import BarsError, BarsWarning
from trm_bt.feeds.assembly import assemble
from trm_bt.feeds.checked import (
    checked_prices,
    cut_span,
    find_all,
    missing_sentence,
)
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.sample import SampleSource
from trm_bt.feeds.series import load_cash_yield, load_put_call
from trm_bt.feeds.sources import CORE_SYMBOLS, ROLE_OF_SYMBOL, DataSource, check_span
from trm_bt.feeds.vendors import open_source
from trm_bt.quality.core_roles import TOGETHER_RULES, examine_together
from trm_bt.quality.findings import (
    AS_RULED,
    Finding,
    Judgement,
    Role,
    Severity,
    has_errors,
    on_whole,
)
from trm_bt.quality.rules import rules_for

_READERS: Final = {"rates": load_cash_yield, "putcall": load_put_call}
_CORE: Final = tuple(CORE_SYMBOLS.values())
TOGETHER: Final = "SPY, TLT and VIX together"
_READING: Final = "read by a run"


class SymbolReport(BaseModel, frozen=True):
    """What was found in one symbol.

    Parameters
    ----------
    symbol : str
        The symbol, or `TOGETHER`.
    role : str or None
        What it was examined as, None where it is nothing that a run reads.
    start, end : date or None
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
    start: date | None = None
    end: date | None = None
    rows: int = 0
    sessions: int = 0
    findings: tuple[Finding, ...] = ()
    unchecked: Mapping[str, str] = {}

    @property
    def verdict(self) -> str:
        """Whether a run would take it: refused, suspect or sound; else "not read"."""
        if has_errors(self.findings):
            return "refused"
        if self.role is None and self.symbol != TOGETHER:
            return "not read"
        return "suspect" if self.findings else "sound"

    @property
    def rules(self) -> tuple[str, ...]:
        """What the symbol was held against, in order."""
        if self.symbol == TOGETHER:
            return (*TOGETHER_RULES, _READING)
        if not self.rows:
            return tuple(finding.rule for finding in self.findings)
        return rules_for(self.role) if self.role else ()


def validate_source(
    source: str | Path,
    *,
    start: str | None = None,
    end: str | None = None,
    judgement: Judgement = AS_RULED,
) -> tuple[SymbolReport, ...]:
    """Examine every symbol of a source, and the core roles together.

    Parameters
    ----------
    source : str or Path
        "sample", "yahoo", a store, or a folder of files.
    start, end : str, optional
        First and last date looked at, inclusive, as YYYY-MM-DD.
    judgement : Judgement
        Which findings are errors, where that is not left to the rules.

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
    opened, span = open_source(source, start), slice(start, end)
    opened.judgement = judgement
    ordered = sorted(opened.symbols(), key=lambda s: (s not in ROLE_OF_SYMBOL, s))
    reports = [
        _unreadable(symbol, missing_sentence(opened, symbol))
        for symbol in _CORE
        if symbol not in ordered
    ]
    reports += [_report(opened, symbol, span) for symbol in ordered]
    sound = {report.symbol for report in reports if not has_errors(report.findings)}
    if sound >= set(_CORE):
        findings = _together(opened, span)
        reports.append(SymbolReport(symbol=TOGETHER, role=None, findings=findings))
    return tuple(reports)


def _together(source: DataSource, span: slice) -> tuple[Finding, ...]:
    """Hold the core roles against each other, then read all as a run does."""
    frames = {
        str(role): checked_prices(source, symbol, role, span)[0].loc[span]
        for role, symbol in CORE_SYMBOLS.items()
    }
    together = examine_together(frames)
    findings = source.judgement.of(together, CORE_SYMBOLS["volatility"])
    if isinstance(source, SampleSource) or has_errors(findings):
        return findings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BarsWarning)  # the symbols have said it
            assemble(source, span)
    except BarsError as error:
        return (*findings, on_whole(_READING, str(error)))
    return findings


def _report(source: DataSource, symbol: str, span: slice) -> SymbolReport:
    try:
        table = source.read(symbol)
    except BarsError as error:
        return _unreadable(symbol, str(error))
    assert table is not None
    is_bars = "close" in table.columns
    role: Role | None = ROLE_OF_SYMBOL.get(symbol, "member" if is_bars else None)
    cut = cut_span(table, span)
    if cut.empty:
        sentence = f"{source.where(symbol)}: has no rows in the span."
        return _unreadable(symbol, sentence, "error" if symbol in _CORE else "warning")
    findings = find_all(source, symbol, role, span, symbol) if role else ()
    try:
        if symbol in _READERS:
            _READERS[symbol](source)
    except BarsError as error:
        findings += (on_whole("role", str(error)),)
    unchecked = {}
    if is_bars and "adj close" not in table.columns:
        unchecked["adjusted and raw mixed"] = "no adjusted closes beside the closes"
    first, last = cut.index.min(), cut.index.max()
    return SymbolReport(
        symbol=symbol,
        role=role,
        start=first.date(),
        end=last.date(),
        rows=len(cut),
        sessions=len(nyse_sessions(first, last)),
        findings=findings,
        unchecked=unchecked,
    )


def _unreadable(
    symbol: str, sentence: str, severity: Severity = "error"
) -> SymbolReport:
    finding = on_whole("readable", sentence, severity)
    return SymbolReport(
        symbol=symbol, role=ROLE_OF_SYMBOL.get(symbol), findings=(finding,)
    )
