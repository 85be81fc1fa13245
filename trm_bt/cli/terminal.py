"""What reaches the user: results, progress bars and log lines."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress, TaskID, TimeElapsedColumn
from rich.table import Table

from trm_bt.figures import number
from trm_bt.market._typing import Json

_LOG = logging.getLogger(__name__)
_ALL = 2
_PIPE = 130
"""Columns where there is no terminal: wide enough for every table."""


class Stages:
    """One bar per stage on a terminal, one line per stage in a pipe.

    The first word of a call names the stage; the others describe the work. Printed
    lines go above the bars.
    """

    def __init__(self, bars: Progress, *, quiet: bool) -> None:
        self._bars = bars
        self._quiet = quiet
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    @property
    def width(self) -> int:
        """Columns of the terminal, or as many as a pipe is given."""
        console = self._bars.console
        return console.width if console.is_terminal else _PIPE

    def __call__(self, words: str, done: int, total: int) -> None:
        """Move a stage on to `done` of `total`."""
        stage = words.split()[0]
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._started[stage] = time.monotonic()
        self._bars.update(
            self._tasks[stage], completed=done, total=total, description=words
        )
        level = logging.INFO if done == total else logging.DEBUG
        _LOG.log(level, "%s: %d of %d", words, done, total)
        if done == total and stage in self._started:
            spent = time.monotonic() - self._started.pop(stage)
            if not self._bars.console.is_terminal:
                self.say(f"trm-bt: {stage}: done in {number(spent, 1)} s")

    def say(self, line: str) -> None:
        """Print a line above the bars, in a pipe too."""
        if not self._quiet:
            self._bars.console.print(
                line, markup=False, highlight=False, soft_wrap=True
            )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Terminal:
    """How much a command prints, and in which form."""

    verbose: Annotated[
        int, Parameter(name=("--verbose", "-v"), count=True, allow_repeating=None)
    ] = 0
    """Log progress; `-vv` logs more and shows the traceback of a bug; `-vvv` logs
    each decision and order."""
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"))] = False
    """Print only the path of the result."""
    as_json: Annotated[bool, Parameter(name="--json")] = False
    """Print one JSON object instead."""

    def show(
        self, facts: "BaseModel | Json", *parts: Table | str, path: Path | None = None
    ) -> None:
        """Print a result.

        Parameters
        ----------
        facts : BaseModel or JSON values
            The result, printed alone with `--json`.
        *parts : Table or str
            The result for people.
        path : Path, optional
            The file or folder to look at; the only thing printed with `--quiet`.
        """
        if self.as_json:
            if isinstance(facts, BaseModel):
                facts = facts.model_dump(mode="json")
            print(json.dumps(facts))
            return
        if isinstance(
            sys.stdout, TextIOWrapper
        ):  # characters that it cannot write are named
            sys.stdout.reconfigure(errors="namereplace")
        console = Console()
        if not console.is_terminal:  # wide enough for the tables
            console = Console(width=_PIPE)
        for part in () if self.quiet else parts:
            if isinstance(part, Table):
                console.print(part)
            else:
                print(part)
        if path is not None:
            print(path)

    @contextmanager
    def progress(self) -> Iterator[Stages]:
        """Yield the progress bars, on the standard error stream."""
        console = Console(stderr=True)
        with Progress(
            *Progress.get_default_columns(),
            TimeElapsedColumn(),
            console=console,
            disable=self.quiet or not console.is_terminal,
        ) as bars:
            yield Stages(bars, quiet=self.quiet)

    def start_logging(self) -> None:
        """Print the package's log records of the requested level."""
        level = logging.ERROR if self.quiet else logging.WARNING - 10 * self.verbose
        logger = logging.getLogger("trm_bt")
        logger.setLevel(max(level, logging.DEBUG))
        logger.handlers = [_StandardError()]
        # a run has a hundred thousand decisions and orders
        bar_by_bar = logging.INFO if self.verbose > _ALL else logging.WARNING
        logging.getLogger("trm_bt.strategies").setLevel(bar_by_bar)


class _StandardError(logging.Handler):
    """Print a line per record on the current stream, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        level = record.levelname.lower()
        print(f"trm-bt: {level}: {self.format(record)}", file=sys.stderr)
