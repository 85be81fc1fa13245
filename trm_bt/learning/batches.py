"""Sweeps over shuffled rows, in batches of nearly equal size."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class Batches(Iterator[Tensor]):
    """Row positions of one batch after the other, for ever.

    Every row is visited before one is visited again; the order of a sweep is drawn
    when its first batch is asked for.

    Parameters
    ----------
    n_rows, n_batches : int
        Rows, and batches that a sweep over them makes.
    generator : Generator
        Source of the orders.

    Attributes
    ----------
    order : ndarray of shape (n_rows,), int64
        Order of the present sweep.
    n_taken : int
        Batches of it that were asked for.
    """

    def __init__(
        self, n_rows: int, n_batches: int, generator: np.random.Generator
    ) -> None:
        self.n_batches = n_batches
        self.generator = generator
        self.order = np.arange(n_rows)
        self.n_taken = n_batches

    def __next__(self) -> Tensor:
        """Return the row positions of the next batch."""
        if self.n_taken == self.n_batches:
            self.order, self.n_taken = self.generator.permutation(len(self.order)), 0
        self.n_taken += 1
        batch = np.array_split(self.order, self.n_batches)[self.n_taken - 1]
        return torch.from_numpy(batch)
