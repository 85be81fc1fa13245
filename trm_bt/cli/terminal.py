"""Progress bars and tables on a terminal, and lines that a pipe can hold."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Stages:
    """One bar a stage on a terminal, none in a pipe; lines go above the bars.

    A stage is the first of the words it is called with; the others say what is done.
    """

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, words: str, done: int, total: int) -> None:
        """Move a stage on to `done` of `total`."""
        stage = words.split()[0]
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(
            self._tasks[stage], completed=done, total=total, description=words
        )

    def say(self, line: str) -> None:
        """Print a line above the bars, in a pipe too."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[Stages]:
    """Yield the bars, on the standard error stream."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        yield Stages(bars)


def console() -> Console:
    """Return a console; a pipe gets lines wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)
