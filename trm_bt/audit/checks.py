"""One check of the look-ahead audit: what is known by a cut, in every world.

Something is computed over all bars, again over bars that end at a cut, and again over
bars with another future (one that opens as the real one did, where orders are sent at
an open). What was known by the cut must be the same in all of them. A check ends at
the first cut that shows a difference.
"""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.audit.counterfactual import (
    World,
    pick_cuts,
    whole_world,
    with_other_past,
    worlds_at,
)
from trm_bt.audit.differences import Comparison, Difference, Table, compare
from trm_bt.errors import ConfigError, LookAheadError, TRMError
from trm_bt.market.bars import Bars

DEFAULT_RTOL: Final = 1e-6
_NOTHING: Final = Table(pd.DataFrame(), pd.DatetimeIndex([]))
_N_OTHER_PASTS: Final = 3
"""Other pasts tried until one shows; what is seldom or coarse may miss the first."""
_FAR: Final = pd.Timedelta(days=31)
"""Results this far behind the last bar were not computed from the bars that came."""


@dataclass(frozen=True)
class AuditSettings:
    """How thoroughly to look, and what counts as equal.

    Parameters
    ----------
    n_cuts : int or None
        Sessions to cut after; None takes every one.
    seed : int
        Of the generator that draws cuts and other futures.
    rtol : float
        Difference of two numbers that is let pass, relative to the larger of the two
        and the median of the column; 0 takes equal numbers of equal dtype alone.
    tell : callable, optional
        Called with a check's name, the cuts it has seen, and those it has in all.
    """

    n_cuts: int | None = 200
    seed: int = 0
    rtol: float = DEFAULT_RTOL
    tell: Callable[[str, int, int], None] | None = None


@dataclass(frozen=True)
class AuditResult:
    """What one check found.

    Parameters
    ----------
    name : str
        What was compared.
    detail : str
        In which worlds, and over which span.
    n_cuts : int
        Cuts looked at; the last of them shows the difference, if there is one.
    n_runs : int
        Times that the thing under audit was computed, the whole included.
    n_values : int
        Values compared.
    largest : float
        Largest difference of two numbers that was seen, relative to the larger of the
        two and the median of its column; up to the tolerance it does not count.
    difference : Difference or None
        The first one that counts.
    seconds : float
        Wall time.
    """

    name: str
    detail: str
    n_cuts: int
    n_runs: int
    n_values: int
    largest: float
    difference: Difference | None
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        values = asdict(self)
        if self.difference is not None:
            session = self.difference.session.date().isoformat()
            values["difference"]["session"] = session
        return values


@dataclass(frozen=True)
class Evaluation:
    """What the thing under audit says about one world.

    Parameters
    ----------
    tables : dict of str to Table
        Results, each row with the session on which it is known.
    shown_from : Timestamp or None
        First session that this evaluation tells of; None if it tells of all.
    cuts_from : Timestamp or None
        First session that makes sense as a cut; None if all do.
    keeps_calendar : bool
        Whether other worlds must go on after the cut, on the sessions as they are.
    """

    tables: dict[str, Table]
    shown_from: pd.Timestamp | None = None
    cuts_from: pd.Timestamp | None = None
    keeps_calendar: bool = False


Evaluate = Callable[[World], Evaluation]


def check_worlds(
    name: str, evaluate: Evaluate, bars: Bars, settings: AuditSettings
) -> AuditResult:
    """Compare an evaluation of all bars with those of worlds that share its past.

    Parameters
    ----------
    name : str
        Name of the check in tables.
    evaluate : callable
        From a `World` to an `Evaluation`. It is given a copy of the bars, so that what
        it writes into them is seen by nobody else.
    bars : Bars
        The bars as they are.
    settings : AuditSettings
        Cuts, seed and tolerance.

    Returns
    -------
    AuditResult
        An error that only another world raises counts as a difference, and so does a
        `LookAheadError` in any.

    Raises
    ------
    ConfigError
        If the evaluation fails on the bars as they are, gives another result for the
        same bars a second time, or the same one for bars with another past.
    """
    watch = Watch(name, evaluate, settings)
    try:
        whole = watch.whole(whole_world(bars))
    except LookAheadError as error:
        last = bars.sessions[-1]
        return watch.result(
            "all bars", 0, Difference(last, "(error)", "", str(error), "whole")
        )
    generator = np.random.default_rng(settings.seed)
    cuts = _cuts(name, whole, bars, settings, generator)
    has_open = any(table.is_at_open for table in whole.tables.values())
    keeps_calendar = whole.keeps_calendar
    kinds = "opened" if has_open else "altered"
    kinds = f"{kinds}, same calendar" if keeps_calendar else f"cut, {kinds}"
    detail = f"{kinds}; {cuts[0].date()} to {cuts[-1].date()}"
    for n_seen, cut in enumerate(cuts):
        watch.tell(n_seen, len(cuts))
        worlds = worlds_at(
            bars, cut, generator, has_open=has_open, keeps_calendar=keeps_calendar
        )
        found = watch.first_difference(whole, worlds)
        if found is not None:
            return watch.result(detail, n_seen + 1, found)
    watch.check_depends_on_bars(whole, whole_world(bars))
    watch.tell(1, 1)
    return watch.result(detail, len(cuts), None)


class Watch:
    """A check under way: its runs, its comparisons, and the clock."""

    def __init__(self, name: str, evaluate: Evaluate, settings: AuditSettings) -> None:
        self._name, self._evaluate, self._settings = name, evaluate, settings
        self._started = time.perf_counter()
        self._n_runs = self._n_values = 0
        self._largest = 0.0

    def tell(self, done: int, total: int) -> None:
        """Say how far the check is."""
        if self._settings.tell is not None:
            self._settings.tell(self._name, done, total)

    def whole(self, world: World, *, is_repeated: bool = True) -> Evaluation:
        """Evaluate the bars as they are, twice: chance must not look like a leak.

        Raises
        ------
        ConfigError
            If that fails, or two results differ.
        """
        try:
            first = self._run(world)
            again = self._run(world) if is_repeated else first
        except TRMError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{self._name}: must work on all bars, {world.bars.sessions[0].date()} "
                f"to {world.bars.sessions[-1].date()}, and raises {_told(error)}."
            ) from error
        found = self._compare(first, again, world)
        if found is not None:
            raise ConfigError(
                f"{self._name}: must give the same result for the same bars, and a "
                f"second time gives another: {found}. Seed what is random."
            )
        return first

    def first_difference(
        self, whole: Evaluation, worlds: Iterable[World]
    ) -> Difference | None:
        """Evaluate worlds one by one until one of them differs from the whole."""
        for world in worlds:
            try:
                other = self._run(world)
            except Exception as error:  # the user's own code may raise anything
                return Difference(world.cut, "(error)", "", _told(error), world.kind)
            self._check_reads_bars(other, world)
            found = self._compare(whole, other, world)
            if found is not None:
                return found
        return None

    def check_depends_on_bars(self, whole: Evaluation, world: World) -> None:
        """Prove that what was found sound changes with another past.

        What does not depend on the bars looks sound whatever else it reads.

        Raises
        ------
        ConfigError
            If no other past changes anything.
        """
        generator = np.random.default_rng(self._settings.seed)
        for _ in range(_N_OTHER_PASTS):
            past = with_other_past(world.bars, generator)
            try:
                other = self._run(replace(world, kind="moved", bars=past))
            except Exception:  # it has read them, or would not have failed
                return
            # however much is let pass elsewhere, any change here is one
            rtol = min(self._settings.rtol, DEFAULT_RTOL)
            if any(seen.difference for seen in self._seen(whole, other, world, rtol)):
                return
        raise ConfigError(
            f"{self._name}: does not depend on the bars: with other prices on the same "
            "sessions it gives the same result. Read the bars that are given; audit "
            "what reads dates alone together with what reads prices."
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

    def _run(self, world: World) -> Evaluation:
        self._n_runs += 1
        try:
            return self._evaluate(replace(world, bars=copy.deepcopy(world.bars)))
        except SystemExit as error:  # else it would choose the exit code of the audit
            raise ConfigError(
                f"{self._name}: must return a result, and ends the program with exit "
                f"code {error.code}."
            ) from error

    def _compare(
        self, whole: Evaluation, other: Evaluation, world: World
    ) -> Difference | None:
        """Count what all tables hold; return the difference that is known first."""
        found = []
        for seen in self._seen(whole, other, world, self._settings.rtol):
            self._n_values += seen.n_values
            self._largest = max(self._largest, seen.largest)
            if seen.difference is not None:
                found.append(seen.difference)
        return min(found, key=lambda difference: difference.session, default=None)

    def _seen(
        self, whole: Evaluation, other: Evaluation, world: World, rtol: float
    ) -> Iterator[Comparison]:
        """Compare table by table what both must know."""
        for name in whole.tables | other.tables:
            pair = whole.tables.get(name, _NOTHING), other.tables.get(name, _NOTHING)
            is_at_open = any(table.is_at_open for table in pair)
            last = world.opened if is_at_open else world.cut
            ours, theirs = (table.between(other.shown_from, last) for table in pair)
            seen = compare(ours, theirs, rtol)
            found = seen.difference
            if found is not None:
                is_one = len(whole.tables) == 1
                named = found.column if is_one else f"{name}: {found.column}"
                found = replace(found, column=named, world=world.kind)
            yield replace(seen, difference=found)

    def _check_reads_bars(self, other: Evaluation, world: World) -> None:
        last = world.bars.sessions[-1]
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
    # A row may have leaned on the session it came with, or the one it was made before.
    places = sessions.get_indexer(events.intersection(sessions))
    events = sessions[np.unique(np.r_[places, np.maximum(places - 1, 0)].astype(int))]
    return pick_cuts(candidates, settings.n_cuts, generator, events)


def _told(error: Exception) -> str:
    """Return an error's type and message on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
