"""What a check of bars covers, its findings, and their sentences."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Final, Literal

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.adjustment import adjusted_prices, with_widest
from trm_bt.market.bars import Note

Role = Literal["equity", "bond", "volatility", "member", "fund_nav", "index", "series"]
"""What a symbol is meant to be; a series has values instead of bars."""
Severity = Literal["error", "warning"]
UNACCEPTABLE: Final = (
    *("readable", "dates", "time zone", "duplicates", "order", "columns", "prices"),
    *("high and low", "volume", "swapped roles"),
)
"""Rules without which there are no bars, or bars of something else."""


@dataclass(frozen=True)
class Finding:
    """One rule that bars break.

    Parameters
    ----------
    severity : {"error", "warning"}
        Whether the bars are refused.
    rule : str
        Name of the rule.
    count : int
        Rows that break it.
    first : date or None
        First session that breaks it.
    sentence : str
        Symbol, rule, what came, and where.
    rows : tuple of date
        The sessions that it is about; empty where it is about the file.
    what : str
        What is said of some of the rows; empty where nothing can be.
    """

    severity: Severity
    rule: str
    count: int
    first: date | None
    sentence: str
    rows: tuple[date, ...] = field(default=(), repr=False)
    what: str = field(default="", repr=False)

    @property
    def note(self) -> str:
        """The sentence, which is cut with the bars where it is about some sessions."""
        if not self.rows:
            return self.sentence
        return Note(self.sentence, pd.DatetimeIndex(self.rows), self.what)


@dataclass(frozen=True)
class Judgement:
    """Which findings refuse bars, where that is not left to the rules.

    Parameters
    ----------
    accepted : tuple of str
        Rules that are overruled, as RULE or RULE:SYMBOL: what breaks them is said, and
        does not refuse.
    is_strict : bool
        Whether what is odd about bars refuses them too, unless it is accepted.
    """

    accepted: tuple[str, ...] = ()
    is_strict: bool = False

    def of(self, findings: Iterable[Finding], symbol: str) -> tuple[Finding, ...]:
        """Return the findings about a symbol with the severity they have here."""
        return tuple(self._judged(finding, symbol) for finding in findings)

    def _judged(self, finding: Finding, symbol: str) -> Finding:
        is_accepted = {finding.rule, f"{finding.rule}:{symbol}"} & {*self.accepted}
        if is_accepted and finding.rule not in UNACCEPTABLE:
            if finding.severity == "warning":
                return finding
            end = f" Accepted: the rule '{finding.rule}' is overruled."
            what = f"{finding.what}, accepted" if finding.what else ""
            said = replace(finding, sentence=finding.sentence + end, what=what)
            return replace(said, severity="warning")
        return replace(finding, severity="error") if self.is_strict else finding


AS_RULED: Final = Judgement()
"""The judgement of the rules alone."""


@dataclass(frozen=True)
class Subject:
    """One symbol's bars under examination.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        As read: open, high, low, close, and volume; with `adj close`, or the dividends
        and splits of `RAW_COLUMNS`, moves are those of adjusted prices.
    role : str
        What the bars are meant to be.
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions of the exchange over the span of the frame.
    name : str
        Begins each sentence.
    symbol : str
        As roles spell it, empty where it is not known.
    """

    frame: pd.DataFrame
    role: Role
    sessions: pd.DatetimeIndex
    name: str
    symbol: str = ""

    @cached_property
    def adjusted(self) -> pd.DataFrame:
        """Prices adjusted for dividends and splits, shape (n_rows, 4 or 5)."""
        is_index = self.role == "volatility"
        return adjusted_prices(with_widest(self.frame) if is_index else self.frame)


@dataclass(frozen=True)
class BarCheck:
    """A function that looks for the breach of one rule, or of some that go together.

    Parameters
    ----------
    rules : tuple of str
        Names of the rules, as findings and reports give them.
    find : callable
        Yields the findings of a `Subject`.
    roles : tuple of str
        The roles that are held to the rules.
    """

    rules: tuple[str, ...]
    find: Callable[[Subject], Iterator[Finding]]
    roles: tuple[Role, ...]


def on_rows(severity: Severity, rule: str, rows: pd.Index, words: str) -> Finding:
    """Return a finding about these rows, whose sentence ends with the first of them."""
    dates = tuple(pd.DatetimeIndex(rows).date)
    sentence = f"{words}; first {dates[0]}."
    what = f"{words.partition(':')[0]}: {rule}"
    return Finding(severity, rule, len(rows), dates[0], sentence, dates, what)


def on_whole(rule: str, words: str, severity: Severity = "error") -> Finding:
    """Return a finding about a file or a whole history."""
    end = "" if words.endswith(("?", ".")) else "."
    return Finding(severity, rule, 1, None, f"{words}{end}")


def has_errors(findings: Iterable[Finding]) -> bool:
    """Tell whether bars with these findings are refused."""
    return any(finding.severity == "error" for finding in findings)


def refuse(findings: Iterable[Finding], name: str, label: str = "") -> None:
    """Raise `BarsError` with the first error, and the number of the others.

    Parameters
    ----------
    findings : iterable of Finding
        What was found.
    name : str
        Where the bars are, for the sentence.
    label : str
        What the sentences call them.

    Raises
    ------
    BarsError
        If a finding is an error.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    sentence = errors[0].sentence.removeprefix(f"{label}: " if label else "")
    if name not in sentence:
        sentence = f"{name}: {sentence}"
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    raise BarsError(sentence + more)
