"""One line an epoch while a model is trained."""

import time
from typing import TYPE_CHECKING, Final

from trm_bt.cli.terminal import Stages

if TYPE_CHECKING:
    from trm_bt.learning.records import EpochRecord, TrainingProgress

_BASIS_POINT: Final = 1e-4
_HEADER: Final = (
    "epoch   loss: all   name   halt  profit | validation: loss  accuracy (majority)"
    "  bp a session (best fixed) |   rate   left"
)


class EpochLines:
    """Turn the progress of a training into a bar and a line an epoch.

    Losses are means over the epoch. "majority" is the accuracy of always naming the
    majority class of the validation rows, "best fixed" the utility of the best single
    allocation on them, both with hindsight.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._start = time.monotonic()
        self._first_step: int | None = None

    def __call__(self, progress: "TrainingProgress") -> None:
        """Show one optimiser step or one epoch."""
        self._stages("training", progress.step, progress.total_steps)
        if self._first_step is None:
            self._start, self._first_step = time.monotonic(), progress.step - 1
            self._stages.say(_HEADER)
        if progress.finished is not None:
            taken, n_done = time.monotonic() - self._start, progress.step
            pace = taken / max(n_done - self._first_step, 1)
            seconds_left = round(pace * (progress.total_steps - n_done))
            self._stages.say(_line(progress, progress.finished, seconds_left))


def _line(progress: "TrainingProgress", epoch: "EpochRecord", seconds_left: int) -> str:
    utility = epoch.validation_utility / _BASIS_POINT
    fixed = progress.best_fixed_utility / _BASIS_POINT
    left = f"{seconds_left // 60}:{seconds_left % 60:02}"
    return (
        f"{epoch.epoch:5}   {epoch.train_loss:9.4f} "
        f"{epoch.train_strategy_loss:6.3f} {epoch.train_halt_loss:6.3f} "
        f"{epoch.train_profit_loss:7.3f} | "
        f"{epoch.validation_loss:16.4f}  {epoch.validation_accuracy:8.1%} "
        f"({progress.majority_accuracy:8.1%})  {utility:12.2f} ({fixed:10.2f}) | "
        f"{epoch.learning_rate:.1e} {left:>6}"
    )
