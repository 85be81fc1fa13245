"""Rows in blocks of one size, so that a row's bits do not depend on its company.

A matrix product may add up in another order when it has another number of rows. Blocks
of `BLOCK_ROWS` rows use a core fully. What is left over goes into the smallest block
that is known to give the same bits, padded with zeros: a row alone then costs a small
part of a whole block.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

BLOCK_ROWS: Final = 128
"""Rows of a whole block."""
SMALL_BLOCKS: Final = (1, 2, 4, 8, 16, 32, 64)
"""Rows of the smaller ones."""

OfRows = Callable[..., tuple[Tensor, ...]]
"""From tensors of shape (n_rows, ...) to others of as many rows."""


def in_blocks(
    function: OfRows,
    rows: Sequence[Tensor],
    *,
    may_be: Callable[[int], bool],
    n_threads: int = 1,
) -> list[Tensor]:
    """Apply a function of rows block by block, in inference mode.

    Parameters
    ----------
    function : callable
        From blocks of `rows`, each of shape (n, width), to tensors of as many rows.
    rows : sequence of Tensor of shape (n_rows, width)
        What is cut into blocks.
    may_be : callable
        From one of `SMALL_BLOCKS` to whether a block of that size gives the bits of a
        whole one; asked for what is left over.
    n_threads : int
        Blocks computed at a time, each by one thread: the bits are those of one.

    Returns
    -------
    list of Tensor of shape (n_rows, ...)
        What the function gives, joined.
    """
    n_rows = len(rows[0])
    blocks = [[*cut(each, BLOCK_ROWS)] for each in rows]
    if n_over := n_rows % BLOCK_ROWS:
        fits = (size for size in SMALL_BLOCKS if size >= n_over and may_be(size))
        padding = 0, 0, 0, next(fits, BLOCK_ROWS) - n_over
        for each in blocks:
            each[-1] = functional.pad(each[-1], padding)
    if n_threads == 1 or n_rows <= BLOCK_ROWS:
        parts = list(map(function, *blocks))
    else:
        with ThreadPoolExecutor(n_threads, initializer=_use_one_thread) as pool:
            parts = list(pool.map(partial(_inferred, function), *blocks))
    return [torch.cat(each)[:n_rows] for each in zip(*parts, strict=True)]


def cut(rows: Tensor, n_rows: int) -> tuple[Tensor, ...]:
    """Return rows in parts of `n_rows`, the last one shorter."""
    parts: tuple[Tensor, ...] = torch.split(rows, n_rows)
    return parts


def _use_one_thread() -> None:
    """Keep torch from using threads of its own in a thread of ours."""
    torch.set_num_threads(1)


@torch.inference_mode()
def _inferred(function: OfRows, *block: Tensor) -> tuple[Tensor, ...]:
    """Apply a function in inference mode, which each thread has for itself."""
    return function(*block)
