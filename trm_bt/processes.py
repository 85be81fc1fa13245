"""How long work reports its progress, and whether this process is a fork.

A fork has its parent's memory, but not its threads.
"""

import os
from collections.abc import Callable
from typing import Final

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the units of work done, and all of its units."""
_LOADED_BY: Final = os.getpid()


def no_progress(stage: str, done: int, total: int) -> None:
    """Do nothing with the progress of a stage."""


def is_fork() -> bool:
    """Return whether this process was forked after this module was loaded."""
    return os.getpid() != _LOADED_BY
