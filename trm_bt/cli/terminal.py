"""Progress bars and tables on a terminal, and lines that a pipe can hold."""

from collections.abc import Callable, Iterator
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


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback that draws one bar a stage on a terminal, nothing in a pipe.

    A stage is the first of the words it is called with; the others say what is done.
    """
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
        tasks: dict[str, TaskID] = {}

        def advance(words: str, done: int, total: int) -> None:
            stage = words.split()[0]
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total, description=words)

        yield advance


def console() -> Console:
    """Return a console; a pipe gets lines wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=120)
