"""What changes with the step or the number of rows: batches, rate, averaging."""

import math
from typing import Final

from trm_bt.config import TrainingConfig

MIN_BATCH_ROWS: Final = 128
"""Smaller batches use the processor badly: matrix products lose their speed."""

BATCHES_PER_SWEEP: Final = 48
"""A sweep over the training rows makes so many batches before they grow."""


def batch_rows(n_train: int, config: TrainingConfig) -> int:
    """Return the rows of a batch, at most `batch_size`.

    Few rows are worth more as many small batches than as few large ones: a batch is a
    48th of the rows, but at least 128.

    Examples
    --------
    >>> [batch_rows(n, TrainingConfig()) for n in (1_400, 12_000, 50_000)]
    [128, 250, 768]
    """
    by_count = math.ceil(n_train / BATCHES_PER_SWEEP)
    return min(config.batch_size, max(MIN_BATCH_ROWS, by_count))


def learning_rate(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Return the rate of a step, from 0: linear warm-up, then the schedule.

    "cosine" and "linear" fall to zero at the end, "constant" stays.

    Examples
    --------
    >>> config = TrainingConfig(learning_rate=1.0, schedule="linear")
    >>> [learning_rate(step, 20, config) for step in (0, 1, 2, 11, 20)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    n_warmup = min(
        math.ceil(config.warmup_fraction * total_steps), config.max_warmup_steps
    )
    if step < n_warmup:
        return config.learning_rate * (step + 1) / n_warmup
    share = (step - n_warmup) / max(total_steps - n_warmup, 1)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
    return config.learning_rate * (1 - share if config.schedule == "linear" else 1.0)


def average_decay(step: int, config: TrainingConfig) -> float:
    """Return the decay of the parameter average at a step, from 0.

    It rises from 0.1 to `ema_decay`, so that the average of a short run is not mostly
    initialisation; a decay of 0 keeps the latest parameters.
    """
    return min(config.ema_decay, (1 + step) / (10 + step))
