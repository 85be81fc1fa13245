"""Whether this process is a fork: it has its parent's memory, but not its threads."""

import os
from typing import Final

_LOADED_BY: Final = os.getpid()


def is_fork() -> bool:
    """Tell whether this process was forked after this module was loaded."""
    return os.getpid() != _LOADED_BY
