"""What an examination of bars looks at, what it finds, and how that is said."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.adjustment import adjusted_prices

Role = Literal["equity", "bond", "volatility", "member", "fund_nav", "series"]
"""What a symbol is meant to be; a series has values instead of bars."""
Severity = Literal["error", "warning"]


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
    """

    severity: Severity
    rule: str
    count: int
    first: date | None
    sentence: str


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
    """

    frame: pd.DataFrame
    role: Role
    sessions: pd.DatetimeIndex
    name: str

    @cached_property
    def adjusted(self) -> pd.DataFrame:
        """Prices adjusted for dividends and splits, shape (n_rows, 4 or 5)."""
        return adjusted_prices(self.frame)


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
    first = pd.Timestamp(rows[0]).date()
    sentence = f"{words}; first {first}."
    return Finding(severity, rule, len(rows), first, sentence)


def on_whole(rule: str, words: str, severity: Severity = "error") -> Finding:
    """Return a finding about a whole history."""
    end = "" if words.endswith(("?", ".")) else "."
    return Finding(severity, rule, 1, None, f"{words}{end}")


def has_errors(findings: Iterable[Finding]) -> bool:
    """Tell whether bars with these findings are refused."""
    return any(finding.severity == "error" for finding in findings)


def refuse(findings: Iterable[Finding], name: str) -> None:
    """Raise `BarsError` with the first error, and the number of the others.

    Raises
    ------
    BarsError
        If a finding is an error.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    sentence = errors[0].sentence
    if name not in sentence:
        sentence = f"{name}: {sentence}"
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    raise BarsError(sentence + more)
