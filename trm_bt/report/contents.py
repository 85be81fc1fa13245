"""What each kind of page is about, before any of it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import pandas as pd

from trm_bt.evaluation.assessment import ComparisonRecord
from trm_bt.evaluation.crisis_figures import CrisisFigures
from trm_bt.market.allocations import Allocations
from trm_bt.report.colours import COMPARED, LINES
from trm_bt.report.crisis_windows import Window
from trm_bt.report.models import ModelText
from trm_bt.report.templating import label
from trm_bt.runfolder.holding import DecisionReport, read_now
from trm_bt.runfolder.records import OUT_OF_SAMPLE
from trm_bt.runfolder.store import RunFolder


@dataclass(frozen=True)
class RunContent:
    """The index of a run.

    Parameters
    ----------
    folder : RunFolder
        The run.
    windows : sequence of Window
        The crises, in the order of the table.
    models : mapping of str to ModelText
        What `read_models` returns.
    """

    folder: RunFolder
    windows: Sequence[Window]
    models: Mapping[str, ModelText]

    @property
    def title(self) -> str:
        """The title names the crises that the run covers, not those it might have."""
        twelve = [window for window in self.windows if not window.is_own]
        n_covered = sum(not window.reason for window in twelve)
        if n_covered == len(twelve):
            return f"TRM through {n_covered} crises"
        if n_covered == 0:
            return "TRM out of sample"
        return f"TRM through {n_covered} of {len(twelve)} crises"

    @property
    def allocations(self) -> Allocations:
        """What the allocator chooses from."""
        return self.folder.run.feature_schema.table

    @cached_property
    def growth(self) -> pd.DataFrame:
        """Values of the portfolios that are drawn, shape (n_sessions + 1, 3)."""
        return self.folder.equity[list(LINES)].rename(columns=label)

    @property
    def n_judged(self) -> int:
        """Sessions out of sample."""
        return len(self.folder.equity) - 1

    @cached_property
    def now(self) -> DecisionReport | None:
        """What is held after the last session; None in earlier folders."""
        return read_now(self.folder.path)

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """Decisions of the continuous run by session, shape (n_sessions, n_columns)."""
        return _continuous(self.folder.decisions)

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Decisions whose outcome is known, with the `winner` of each session."""
        decided = self.decisions.dropna(subset=["allocation"])
        return decided.join(self.folder.labels["winner"], how="inner")

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Weights at closes of the continuous run, shape (n_sessions, n_columns)."""
        return _continuous(self.folder.weights)


def _continuous(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["run"] == OUT_OF_SAMPLE].set_index("session")


@dataclass(frozen=True)
class Sheet:
    """One tearsheet.

    Parameters
    ----------
    title : str
        Heading of the page; any text, it is escaped.
    returns : Series of shape (n_sessions + 1,)
        Simple daily returns as decimals on tz-naive sessions; the first row is the
        base and 0. Its name, and those below, are what tables and legends say.
    benchmark, second : Series of shape (n_sessions + 1,) or None
        Returns of the benchmark on the same sessions, and of another one.
    facts : tuple of (str, str)
        What is said on top: term and description.
    compared : tuple of (str, CrisisFigures)
        Rows of the comparison, ours first: what the page calls it, and its figures.
    last : date or None
        The last session by which a drawdown may have been recovered.
    notes : tuple of str
        Sentences over QuantStats' part.
    back : str
        Link to the run's index; empty for a page that stands alone.
    before, after : tuple of (str, str)
        Link and title of the crisis before and after; empty where there is none.
    untouched : str
        Link to QuantStats' own page of the same returns; empty if there is none.
    is_cash_paid : bool
        Whether cash earned something, which QuantStats' ratios would ignore.
    window : Window or None
        The crisis of a page of one; `returns` then add a quarter before and after.
    """

    title: str
    returns: pd.Series
    benchmark: pd.Series | None = None
    second: pd.Series | None = None
    facts: tuple[tuple[str, str], ...] = ()
    compared: tuple[tuple[str, CrisisFigures], ...] = ()
    last: date | None = None
    notes: tuple[str, ...] = ()
    back: str = ""
    before: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    untouched: str = ""
    is_cash_paid: bool = False
    window: Window | None = None

    @cached_property
    def growth(self) -> pd.DataFrame:
        """Values of all portfolios drawn, shape (n_sessions + 1, n_columns)."""
        drawn = [self.returns, self.benchmark, self.second]
        table = pd.concat([one for one in drawn if one is not None], axis=1)
        return (1.0 + table).cumprod()

    @property
    def n_judged(self) -> int:
        """Sessions of the crisis, or of the whole span where there is none."""
        return self.window.n_sessions if self.window else len(self.returns) - 1

    @property
    def start(self) -> date:
        """The first session after the base."""
        sessions = pd.DatetimeIndex(self.returns.index)
        return sessions[min(1, len(sessions) - 1)].date()

    @property
    def end(self) -> date:
        """The last session."""
        return pd.DatetimeIndex(self.returns.index)[-1].date()


@dataclass(frozen=True)
class ComparisonContent:
    """The page of a comparison.

    Parameters
    ----------
    record : ComparisonRecord
        What comparison.json holds.
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        Portfolio values at the closes.
    excess : DataFrame of shape (n_sessions, n_strategies)
        Session returns in excess of cash.
    back : str
        Link to the run's index; empty if there is none.
    """

    record: ComparisonRecord
    equity: pd.DataFrame
    excess: pd.DataFrame
    back: str = ""

    @property
    def colours(self) -> dict[str, str]:
        """Colour of each line: ours, the fixed ones, and the best benchmark."""
        best = self.record.best_benchmark
        return dict(COMPARED) if best in COMPARED else {**COMPARED, best: "best"}

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Text and colour of each line."""
        best = self.record.best_benchmark
        return [
            (label(n) + (", the best benchmark in hindsight" if n == best else ""), c)
            for n, c in self.colours.items()
        ]

    @property
    def title(self) -> str:
        """The title counts the benchmarks."""
        return f"TRM against {len(self.record.strategies) - 1} benchmarks"
