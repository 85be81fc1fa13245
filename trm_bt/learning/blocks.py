"""Rows in blocks of one size, so that a row's bits do not depend on its company.

A matrix product may add up in another order when it has another number of rows. Blocks
of `BLOCK_ROWS` rows use a core fully. What is left over goes into the smallest block
that is known to give the same bits, padded with zeros: a row alone then costs a small
part of a whole block.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import starmap
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

BLOCK_ROWS: Final = 128
"""Rows of a whole block."""
SMALL_BLOCKS: Final = (4, 8, 16, 32, 64)
"""Rows of the smaller ones; products of one or two rows add up in another order."""

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
        From blocks of `rows`, each of shape (n, ...), to tensors of as many rows.
    rows : sequence of Tensor of shape (n_rows, ...)
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
    n_over = n_rows % BLOCK_ROWS
    fits = (size for size in SMALL_BLOCKS if size >= n_over and may_be(size))
    size = next(fits, BLOCK_ROWS) if n_over else 0
    sizes = [BLOCK_ROWS] * (n_rows // BLOCK_ROWS) + [size] * bool(size or not n_rows)
    padding = sum(sizes) - n_rows
    blocks = zip(
        *(
            torch.split(functional.pad(each, (0, 0, 0, padding)), sizes)
            for each in rows
        ),
        strict=True,
    )
    if n_threads == 1 or len(sizes) == 1:
        parts = list(starmap(function, blocks))
    else:
        with ThreadPoolExecutor(n_threads, initializer=_use_one_thread) as pool:
            parts = list(pool.map(partial(_inferred, function), blocks))
    return [torch.cat(each)[:n_rows] for each in zip(*parts, strict=True)]


def _use_one_thread() -> None:
    """Keep torch from using threads of its own in a thread of ours."""
    torch.set_num_threads(1)


@torch.inference_mode()
def _inferred(function: OfRows, block: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Apply a function in inference mode, which each thread has for itself."""
    return function(*block)
