"""The progress of a sweep, for display."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trm_bt.tasks import Done
from trm_bt.text import shorten


@dataclass
class Counts:
    """How many tasks of a kind there are, and what came of them.

    Parameters
    ----------
    n_total : int
        All that are known of.
    n_found : int
        Those whose results were there.
    n_done : int
        Those that ended well since.
    n_failed : int
        Those that did not.
    seconds : float
        Wall seconds of those that ended well, in their processes.
    waited : float
        Wall seconds of this process until the last one ended.
    """

    n_total: int = 0
    n_found: int = 0
    n_done: int = 0
    n_failed: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def n_left(self) -> int:
        """Those that are neither done nor failed."""
        return self.n_total - self.n_found - self.n_done - self.n_failed

    @property
    def seconds_each(self) -> float | None:
        """What one took; None before the first."""
        return self.seconds / self.n_done if self.n_done else None

    @property
    def per_minute(self) -> float | None:
        """How many ended a minute; None before the first."""
        n_ended = self.n_done + self.n_failed
        return 60 * n_ended / self.waited if n_ended and self.waited else None

    def minutes_left(self, n_workers: int | None) -> float | None:
        """Minutes to go by what one took, else by the rate; None before the first."""
        if n_workers and self.seconds_each is not None:
            return self.n_left * self.seconds_each / n_workers / 60
        return self.n_left / self.per_minute if self.per_minute else None


@dataclass
class SweepState:
    """Counts of trials, and of the folds that they are made of.

    Parameters
    ----------
    trials : Counts
    folds : Counts
        Those of the trials so far that had no result; all are done before the trials.
    n_workers : int or None
        Tasks done at a time; None if nobody knows.
    failed : dict of str to str
        Error by trial.
    """

    trials: Counts
    folds: Counts = field(default_factory=Counts)
    n_workers: int | None = None
    failed: dict[str, str] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    @property
    def under_way(self) -> Counts:
        """What is done at the moment: folds, or trials."""
        return self.folds if self.folds.n_left else self.trials

    def n_running(self, counts: Counts) -> int | None:
        """How many of the folds or trials are under way; None if nobody knows."""
        if counts is not self.under_way:
            return 0
        return None if self.n_workers is None else min(counts.n_left, self.n_workers)

    def note_fold(self, done: Done) -> None:
        """Count a fold that is over; its error is that of the trials that need it."""
        self._note(self.folds, done)

    def note_trial(self, done: Done) -> None:
        """Count a trial that is over, and keep its error."""
        self._note(self.trials, done)
        if done.error is not None:
            error = f"{type(done.error).__name__}: {done.error}"
            self.failed[done.task.name] = shorten(" ".join(error.split()), 300)

    def _note(self, counts: Counts, done: Done) -> None:
        now = time.perf_counter()
        counts.waited += now - self._last
        self._last = now
        if done.error is not None:
            counts.n_failed += 1
        elif done.is_found:
            counts.n_found += 1
        else:
            counts.n_done += 1
            counts.seconds += done.seconds


OnState = Callable[[SweepState], object]
