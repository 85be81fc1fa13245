"""One check of the look-ahead audit: what is known by a cut, on counterfactual bars.

Something is computed on all bars, again on bars that end at a cut, and again on bars
with another future (one that opens as the real one did, where orders are sent at an
open). What was known by the cut must be the same on all of them. A check ends at the
first cut that shows a difference.
"""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from pydantic import JsonValue

from trm_bt.audit.counterfactual import (
    Counterfactual,
    counterfactuals_at,
    pick_cuts,
    whole_bars,
    with_other_past,
)
from trm_bt.audit.differences import (
    Agreement,
    DatedTable,
    Difference,
    compare_tables,
    earliest,
)
from trm_bt.errors import ConfigError, LookAheadError, TRMError
from trm_bt.market.bars import Bars
from trm_bt.processes import Progress

DEFAULT_RTOL: Final = 1e-6
_NOTHING: Final = DatedTable(pd.DataFrame(), pd.DatetimeIndex([]))
_N_OTHER_PASTS: Final = 3
"""Other pasts tried until one shows; what is seldom or coarse may miss the first."""
_FAR: Final = pd.Timedelta(days=31)
"""Results this far behind the last bar were not computed from the given bars."""


@dataclass(frozen=True)
class AuditSettings:
    """How thoroughly to look, and what counts as equal.

    Parameters
    ----------
    n_cuts : int or None
        Sessions to cut after; None takes every one.
    seed : int
        Seed of the generator that draws cuts and other futures.
    rtol : float
        Tolerated difference of two numbers, relative to the larger of the two plus the
        median of the column; 0 takes equal numbers of equal dtype alone.
    progress : callable, optional
        Called with a check's name, the cuts it has seen, and those it has in all.
    """

    n_cuts: int | None = 200
    seed: int = 0
    rtol: float = DEFAULT_RTOL
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not (self.n_cuts is None or self.n_cuts >= 1) or self.seed < 0:
            raise ConfigError(
                "The audit needs 1 cut or more, and a seed of 0 or more, got "
                f"{self.n_cuts} and {self.seed}."
            )
        if not 0.0 <= self.rtol < 1.0:
            raise ConfigError(f"The tolerance must be from 0 to 1, got {self.rtol}.")


@dataclass(frozen=True)
class AuditResult:
    """What one check found.

    Parameters
    ----------
    name : str
        What was compared.
    detail : str
        On which bars, and over which span.
    n_cuts : int
        Cuts looked at; the last of them shows the difference, if there is one.
    n_runs : int
        Times that the thing under audit was computed, the whole included.
    n_values : int
        Values compared.
    largest : float
        Largest relative difference of two numbers; up to the tolerance it does not
        count.
    difference : Difference or None
        The first one that counts.
    seconds : float
        Wall time.
    """

    name: str
    detail: str
    n_cuts: int = 1
    n_runs: int = 1
    n_values: int = 0
    largest: float = 0.0
    difference: Difference | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, JsonValue]:
        """Return plain JSON values."""
        values = asdict(self)
        if self.difference is not None:
            session = self.difference.session.date().isoformat()
            values["difference"]["session"] = session
        return values


@dataclass(frozen=True)
class Evaluation:
    """The results of the thing under audit on one set of bars.

    Parameters
    ----------
    tables : dict of str to DatedTable
        Results, each row with the session on which it is known.
    shown_from : Timestamp or None
        First session that this evaluation has results of; None for all.
    cuts_from : Timestamp or None
        First session that makes sense as a cut; None for all.
    keeps_calendar : bool
        Whether counterfactual bars must continue after the cut, on the real sessions.
    """

    tables: dict[str, DatedTable]
    shown_from: pd.Timestamp | None = None
    cuts_from: pd.Timestamp | None = None
    keeps_calendar: bool = False


Evaluate = Callable[[Counterfactual], Evaluation]


def run_check(
    name: str, evaluate: Evaluate, bars: Bars, settings: AuditSettings
) -> AuditResult:
    """Compare an evaluation of all bars with those of bars that share their past.

    Parameters
    ----------
    name : str
        Name of the check in tables.
    evaluate : callable
        From a `Counterfactual` to an `Evaluation`. It is given a copy of the bars, so
        that nobody else sees what it writes into them.
    bars : Bars
        The bars as they are.
    settings : AuditSettings
        Cuts, seed and tolerance.

    Returns
    -------
    AuditResult
        An error that only counterfactual bars raise counts as a difference, and so does
        a `LookAheadError` on any bars.

    Raises
    ------
    ConfigError
        If the evaluation fails on all bars, gives another result for the same bars a
        second time, or the same one for bars with another past.
    """
    check = RunningCheck(name, evaluate, bars.sessions, settings)
    try:
        whole = check.whole(whole_bars(bars))
    except LookAheadError as error:
        found = Difference(bars.sessions[-1], "(error)", "", str(error), "whole")
        return check.result("all bars", 0, found)
    generator = np.random.default_rng(settings.seed)
    cuts = _cuts(name, whole, bars, settings, generator)
    has_open = any(table.is_at_open for table in whole.tables.values())
    keeps_calendar = whole.keeps_calendar
    kinds = "opened" if has_open else "altered"
    kinds = f"{kinds}, same calendar" if keeps_calendar else f"cut, {kinds}"
    detail = f"{kinds}; {cuts[0].date()} to {cuts[-1].date()}"
    for n_seen, cut in enumerate(cuts):
        check.report(n_seen, len(cuts))
        others = counterfactuals_at(
            bars, cut, generator, has_open=has_open, keeps_calendar=keeps_calendar
        )
        difference = check.first_difference(whole, others)
        if difference is not None:
            return check.result(detail, n_seen + 1, difference)
    check.require_dependence(whole, whole_bars(bars))
    check.report(1, 1)
    return check.result(detail, len(cuts), None)


class RunningCheck:
    """A check under way: its runs, its comparisons, and the clock."""

    def __init__(
        self,
        name: str,
        evaluate: Evaluate,
        sessions: pd.DatetimeIndex,
        settings: AuditSettings,
    ) -> None:
        self._name, self._evaluate, self._settings = name, evaluate, settings
        self._sessions = sessions
        self._started = time.perf_counter()
        self._n_runs = self._n_values = 0
        self._largest = 0.0

    def report(self, done: int, total: int) -> None:
        """Report how far the check is."""
        if self._settings.progress is not None:
            self._settings.progress(self._name, done, total)

    def whole(self, bars: Counterfactual, *, is_repeated: bool = True) -> Evaluation:
        """Evaluate all bars, twice: chance must not look like a leak.

        Raises
        ------
        ConfigError
            If that fails, or two results differ.
        """
        try:
            first = self._run(bars)
            again = self._run(bars) if is_repeated else first
        except TRMError:
            raise
        except Exception as error:
            sessions = bars.bars.sessions
            raise ConfigError(
                f"{self._name}: must work on all bars, {sessions[0].date()} "
                f"to {sessions[-1].date()}, but raises {error_line(error)}."
            ) from error
        found = self._compare(first, again, bars)
        if found is not None:
            raise ConfigError(
                f"{self._name}: must give the same result for the same bars, but a "
                f"second run gives another: {found}. Seed the random numbers."
            )
        return first

    def first_difference(
        self, whole: Evaluation, others: Iterable[Counterfactual]
    ) -> Difference | None:
        """Evaluate counterfactual bars until one of them differs from the whole."""
        for bars in others:
            try:
                other = self._run(bars)
            except Exception as error:  # the user's own code may raise anything
                text = error_line(error)
                return Difference(bars.cut, "(error)", "", text, bars.kind)
            self._require_given_bars(other, bars)
            found = self._compare(whole, other, bars)
            if found is not None:
                return found
        return None

    def require_dependence(self, whole: Evaluation, bars: Counterfactual) -> None:
        """Require that what was found sound changes with another past.

        What does not depend on the bars looks sound whatever else it reads.

        Raises
        ------
        ConfigError
            If no other past changes anything.
        """
        generator = np.random.default_rng(self._settings.seed)
        for _ in range(_N_OTHER_PASTS):
            past = with_other_past(bars.bars, generator)
            try:
                other = self._run(replace(bars, kind="moved", bars=past))
            except Exception:  # it has read them, or would not have failed
                return
            # however much is tolerated elsewhere, any change here is one
            rtol = min(self._settings.rtol, DEFAULT_RTOL)
            if any(
                one.difference for one in self._agreements(whole, other, bars, rtol)
            ):
                return
        raise ConfigError(
            f"{self._name}: does not depend on the bars: with other prices on the same "
            "sessions it gives the same result. Read the given bars; audit "
            "code that reads only dates together with code that reads prices."
        )

    def result(
        self, detail: str, n_cuts: int, difference: Difference | None
    ) -> AuditResult:
        """Return what was found, and what it took."""
        return AuditResult(
            self._name,
            detail,
            n_cuts,
            self._n_runs,
            self._n_values,
            self._largest,
            difference,
            round(time.perf_counter() - self._started, 2),
        )

    def _run(self, bars: Counterfactual) -> Evaluation:
        self._n_runs += 1
        try:
            return self._evaluate(replace(bars, bars=copy.deepcopy(bars.bars)))
        except SystemExit as error:  # else it would choose the exit code of the audit
            raise ConfigError(
                f"{self._name}: must return a result, but ends the program with exit "
                f"code {error.code}."
            ) from error

    def _compare(
        self, whole: Evaluation, other: Evaluation, bars: Counterfactual
    ) -> Difference | None:
        """Count what all tables hold; return the difference that is known first."""
        seen = list(self._agreements(whole, other, bars, self._settings.rtol))
        self._n_values += sum(agreement.n_values for agreement in seen)
        self._largest = max(self._largest, *[one.largest for one in seen], 0.0)
        return earliest(one.difference for one in seen if one.difference is not None)

    def _agreements(
        self, whole: Evaluation, other: Evaluation, bars: Counterfactual, rtol: float
    ) -> Iterator[Agreement]:
        """Compare table by table what both evaluations must know.

        A row of a Sunday may know no more than the Friday before, where it is there.
        """
        for name in whole.tables | other.tables:
            pair = whole.tables.get(name, _NOTHING), other.tables.get(name, _NOTHING)
            is_at_open = any(table.is_at_open for table in pair)
            last = until = bars.opened if is_at_open else bars.cut
            later = self._sessions[self._sessions > last]
            if len(later) and not is_at_open:
                until = later[0] - pd.Timedelta(days=1)
            ours, theirs = (table.between(other.shown_from, until) for table in pair)
            ours, theirs = ours.sharing(last, theirs), theirs.sharing(last, ours)
            seen = compare_tables(ours, theirs, rtol)
            found = seen.difference
            if found is not None:
                column = found.column
                if len(whole.tables) != 1:
                    column = f"{name}: {column}"
                found = replace(found, column=column, counterfactual=bars.kind)
            yield replace(seen, difference=found)

    def _require_given_bars(self, other: Evaluation, bars: Counterfactual) -> None:
        last = bars.bars.sessions[-1]
        for table in other.tables.values():
            if len(table.known_on) and table.known_on.max() > last + _FAR:
                raise ConfigError(
                    f"{self._name}: must read the bars that it is given, and where "
                    f"they end on {last.date()} gives a result of "
                    f"{table.known_on.max().date()}."
                )


def _cuts(
    name: str,
    whole: Evaluation,
    bars: Bars,
    settings: AuditSettings,
    generator: np.random.Generator,
) -> pd.DatetimeIndex:
    """Pick the cuts of a check: from its first result on, half of them at events."""
    sessions = bars.sessions
    candidates = sessions[:-1]
    if whole.cuts_from is not None:
        candidates = candidates[candidates >= whole.cuts_from]
    if not len(candidates):
        raise ConfigError(
            f"{name}: must give its first result before the last bar, which is of "
            f"{sessions[-1].date()}. Give more bars."
        )
    events = sessions[:0]
    for table in whole.tables.values():
        is_sparse = table.known_on.nunique() < len(sessions) / 2
        events = events.union(table.known_on.unique() if is_sparse else table.events())
    # A row may depend on the session it came with, or the one it was made before.
    places = sessions.searchsorted(events, side="right") - 1
    events = sessions[np.unique(np.maximum(np.r_[places, places - 1], 0))]
    return pick_cuts(candidates, settings.n_cuts, generator, events)


def error_line(error: BaseException) -> str:
    """Return an error's type and message on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
