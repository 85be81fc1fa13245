"""How many processor threads torch uses, and for how long."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Have torch use `n_threads` inside the block, and as many as before after it."""
    n_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(n_before)
