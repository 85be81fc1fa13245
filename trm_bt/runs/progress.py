"""The progress of a sweep, for display."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trm_bt.tasks import Done
from trm_bt.text import shorten


@dataclass
class SweepState:
    """Counts of trials.

    Parameters
    ----------
    n_total : int
        Trials in all.
    n_found : int
        Trials whose results were there.
    n_done : int
        Trials that ended well since.
    n_workers : int or None
        Trials run at a time; None if unknown.
    failed : dict of str to str
        Error by trial.
    seconds : float
        Wall seconds of the trials that ended well, in their processes.
    started : float
        When the first was handed out, by `time.perf_counter`.
    """

    n_total: int
    n_found: int = 0
    n_done: int = 0
    n_workers: int | None = None
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @property
    def n_left(self) -> int:
        """Trials that are neither done nor failed."""
        return self.n_total - self.n_found - self.n_done - len(self.failed)

    @property
    def n_running(self) -> int | None:
        """Trials running; None if unknown."""
        return None if self.n_workers is None else min(self.n_left, self.n_workers)

    @property
    def per_minute(self) -> float | None:
        """Trials that ended a minute; None before the first."""
        n_ended = self.n_done + len(self.failed)
        return 60 * n_ended / (time.perf_counter() - self.started) if n_ended else None

    @property
    def minutes_left(self) -> float | None:
        """Minutes to go by what a trial took, else by the rate; None before one."""
        if self.n_workers and self.n_done:
            return self.n_left * self.seconds / self.n_done / self.n_workers / 60
        return self.n_left / self.per_minute if self.per_minute else None

    def note(self, done: Done) -> None:
        """Count a trial that is over."""
        if done.error is not None:
            error = f"{type(done.error).__name__}: {done.error}"
            self.failed[done.task.name] = shorten(" ".join(error.split()), 300)
        elif done.is_found:
            self.n_found += 1
        else:
            self.n_done += 1
            self.seconds += done.seconds


OnState = Callable[[SweepState], object]
