"""What one tearsheet shows, before any of it is drawn."""

from dataclasses import dataclass
from datetime import date

import pandas as pd

from trm_bt.report.drawing import DateSpan


@dataclass(frozen=True)
class Context:
    """What a page shows of a crisis with a quarter before and after.

    Parameters
    ----------
    equity, weights, seen : DataFrame of shape (n_sessions, n_columns)
        Portfolio values at the closes, weights held, and z-scores of the features.
    base : Timestamp
        The close before the crisis.
    span : (Timestamp, Timestamp)
        First and last day of the crisis.
    n_sessions : int
        Sessions of the crisis alone: they decide whether anything is annualised.
    """

    equity: pd.DataFrame
    weights: pd.DataFrame
    seen: pd.DataFrame
    base: pd.Timestamp
    span: DateSpan
    n_sessions: int


@dataclass(frozen=True)
class Sheet:
    """Everything one page shows.

    Parameters
    ----------
    title : str
        Heading of the page; any text, it is escaped.
    returns : Series of shape (n_sessions + 1,)
        Simple daily returns as decimals on tz-naive sessions; the first row is the
        base and 0. Its name, and those below, are what tables and legends say.
    benchmark, second : Series of shape (n_sessions + 1,) or None
        Returns of the benchmark on the same sessions, and of another one, against which
        QuantStats' measures are taken once more.
    facts : tuple of (str, str)
        What is said on top: term and description.
    compared : tuple of dict
        Rows of the comparison: label, recovery, and what `crisis_figures` returns.
    notes : tuple of str
        Sentences over QuantStats' part.
    back : str
        Link to the run's index; empty for a page that stands alone.
    context : Context or None
        For a page of one crisis; `returns` then span all of it.
    """

    title: str
    returns: pd.Series
    benchmark: pd.Series | None = None
    second: pd.Series | None = None
    facts: tuple[tuple[str, str], ...] = ()
    compared: tuple[dict[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    back: str = ""
    context: Context | None = None

    @property
    def n_judged(self) -> int:
        """Sessions of the crisis, or of the whole span where there is none."""
        return self.context.n_sessions if self.context else len(self.returns) - 1

    @property
    def start(self) -> date:
        """The first session after the base."""
        sessions = pd.DatetimeIndex(self.returns.index)
        return sessions[min(1, len(sessions) - 1)].date()

    @property
    def end(self) -> date:
        """The last session."""
        return pd.DatetimeIndex(self.returns.index)[-1].date()
