"""Long work in small tasks, several at a time, that goes on where it was stopped.

Each result is a JSON file of its own, written at once or not at all.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar

from trm_bt.cli.terminal import progress_bars
from trm_bt.errors import RunError
from trm_bt.files import write_text_atomically
from trm_bt.learning.workers import signals_held_back, worker_pool


class Task(Protocol):
    """Something to do in a process of its own."""

    @property
    def file_name(self) -> str:
        """Where its result goes."""

    @property
    def changes(self) -> Mapping[str, Mapping[str, object]]:
        """The settings by which its result is known again; a result holds them too."""


T = TypeVar("T", bound=Task)


def do_all(
    tasks: Sequence[T],
    do: Callable[[T], dict[str, Any]],
    say: Callable[[dict[str, Any]], str],
    folder: Path,
    n_processes: int,
) -> None:
    """Do what has no file yet, and say each result in a line."""
    missing = [task for task in tasks if read_result(folder, task) is None]
    n_done = len(tasks) - len(missing)
    with progress_bars() as stages, worker_pool(n_processes) as (pool, _):
        with signals_held_back():
            futures = {pool.submit(do, task): task for task in missing}
        for future in as_completed(futures):
            task, result = futures[future], future.result()
            write_text_atomically(folder / task.file_name, json.dumps(result) + "\n")
            n_done += 1
            stages("trainings", n_done, len(tasks))
            stages.say(f"{n_done}/{len(tasks)} {say(result)}")


def read_result(folder: Path, task: Task) -> dict[str, Any] | None:
    """Return the result of a task if it is there and was made with its settings."""
    file = folder / task.file_name
    if not file.exists():
        return None
    result: dict[str, Any] = json.loads(file.read_text())
    return result if result["changes"] == task.changes else None


def claim(folder: Path, mark: str) -> None:
    """Make `folder` that of the rows and settings with a mark, unless it is another's.

    Raises
    ------
    RunError
        If it holds results of other rows or settings.
    """
    file = folder / "mark"
    if file.exists() and file.read_text() != mark:
        raise RunError(
            f"{folder}: holds results of other bars or other shipped settings. Give "
            "another --out."
        )
    write_text_atomically(file, mark)
