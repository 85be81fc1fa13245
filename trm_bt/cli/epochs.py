"""One line an epoch while a model is trained."""

import time
from typing import TYPE_CHECKING, Final

from trm_bt.cli.terminal import Stages

if TYPE_CHECKING:
    from trm_bt.learning.records import TrainingProgress

_BASIS_POINT: Final = 1e-4
_HEADER: Final = (
    "epoch   loss: all   name   halt  profit | validation: loss  accuracy (majority)"
    "  bp a session (best fixed) |   rate   left"
)


class EpochLines:
    """Turn the news of a training into a bar and a line an epoch.

    Losses are means over the epoch. "majority" is the accuracy of always naming the
    majority class of the validation rows, "best fixed" the utility of the best single
    allocation on them, both with hindsight.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._begun: tuple[float, int] | None = None

    def __call__(self, news: "TrainingProgress") -> None:
        """Take the news of one pass or one epoch."""
        self._stages("training", news.step, news.total_steps)
        if self._begun is None:
            self._begun = time.monotonic(), news.step - 1
            self._stages.say(_HEADER)
        if news.finished is not None:
            self._stages.say(self._line(news))

    def _line(self, news: "TrainingProgress") -> str:
        epoch = news.finished
        assert epoch is not None
        utility, fixed = (
            value / _BASIS_POINT
            for value in (epoch.validation_utility, news.best_fixed_utility)
        )
        return (
            f"{epoch.epoch:5}   {epoch.train_loss:9.4f} "
            f"{epoch.train_strategy_loss:6.3f} {epoch.train_halt_loss:6.3f} "
            f"{epoch.train_profit_loss:7.3f} | "
            f"{epoch.validation_loss:16.4f}  {epoch.validation_accuracy:8.1%} "
            f"({news.majority_accuracy:8.1%})  {utility:12.2f} ({fixed:10.2f}) | "
            f"{epoch.learning_rate:.1e} {self._left(news):>6}"
        )

    def _left(self, news: "TrainingProgress") -> str:
        """Return the minutes and seconds left if all planned passes are made."""
        assert self._begun is not None
        begun, first = self._begun
        taken = time.monotonic() - begun
        n_left = news.total_steps - news.step
        left = round(taken / max(news.step - first, 1) * n_left)
        return f"{left // 60}:{left % 60:02}"
