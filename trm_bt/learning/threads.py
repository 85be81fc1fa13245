"""How many processor threads torch uses, and for how long."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trm_bt.processes import is_fork


@contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Have torch use `n_threads` inside the block, and as many as before after it.

    A forked process has its parent's thread pool without the threads, and would wait
    for them for ever: there it is one thread, inside the block and from then on.
    """
    if is_fork():
        torch.set_num_threads(1)
        yield
        return
    n_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(n_before)
