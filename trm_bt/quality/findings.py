"""What an examination of bars finds, and how it is said."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from trm_bt.errors import BarsError

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
    first : Timestamp or None
        First session that breaks it.
    sentence : str
        Symbol, rule, what came, and where.
    """

    severity: Severity
    rule: str
    count: int
    first: pd.Timestamp | None
    sentence: str


def on_rows(severity: Severity, rule: str, rows: pd.Index, words: str) -> Finding:
    """Return a finding about these rows, whose sentence ends with the first of them."""
    first = pd.Timestamp(rows[0])
    sentence = f"{words}; first {first.date()}."
    return Finding(severity, rule, len(rows), first, sentence)


def on_whole(rule: str, words: str, severity: Severity = "error") -> Finding:
    """Return a finding about a whole history."""
    end = "" if words.endswith("?") else "."
    return Finding(severity, rule, 1, None, f"{words}{end}")


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
