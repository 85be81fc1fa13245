"""Sweeps: every row once, in an order of the generator's, in batches of equal size."""

import numpy as np
import pytest

from trm_bt.learning.batches import Batches


def test_every_row_is_visited_before_one_is_visited_again():
    batches = Batches(330, 7, np.random.default_rng(0))

    seen = [row for _ in range(3 * 7) for row in next(batches).tolist()]

    counts = np.bincount(seen, minlength=330)
    assert counts.tolist() == [3] * 330
    assert sorted(seen[:330]) == list(range(330))


@pytest.mark.parametrize(("n_rows", "n_batches"), [(330, 7), (5, 5), (12, 1), (13, 4)])
def test_batches_of_a_sweep_differ_by_one_row_at_most(n_rows, n_batches):
    batches = Batches(n_rows, n_batches, np.random.default_rng(0))

    sizes = [len(next(batches)) for _ in range(n_batches)]

    assert sum(sizes) == n_rows
    assert max(sizes) - min(sizes) <= 1


def test_sweeps_are_the_permutations_of_the_generator():
    batches = Batches(20, 4, np.random.default_rng(3))

    seen = [row for _ in range(2 * 4) for row in next(batches).tolist()]

    rng = np.random.default_rng(3)
    assert seen == [*rng.permutation(20), *rng.permutation(20)]


def test_the_next_order_is_drawn_when_its_first_batch_is_asked_for():
    """Whatever else draws from the generator in a sweep comes before the next order."""
    generator = np.random.default_rng(0)
    batches = Batches(10, 2, generator)
    for _ in range(2):
        next(batches)
    state = generator.bit_generator.state

    next(batches)

    assert generator.bit_generator.state != state
    fresh = np.random.default_rng(0)
    fresh.permutation(10)
    assert fresh.bit_generator.state == state


def test_a_sweep_goes_on_from_its_order_and_count():
    first = Batches(50, 6, np.random.default_rng(0))
    for _ in range(8):
        next(first)
    other = Batches(50, 6, np.random.default_rng(1))
    other.order, other.n_taken = first.order.copy(), first.n_taken
    other.generator.bit_generator.state = first.generator.bit_generator.state

    for _ in range(9):
        assert next(first).tolist() == next(other).tolist()
