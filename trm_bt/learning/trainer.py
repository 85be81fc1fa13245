"""Train one Tiny Recursive Model on the labels known by some session.

Everything random comes from one numpy generator and the parameters' seed, so equal
samples, settings and thread count give equal bits; global generators are not used.
"""

import copy
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from trm_bt.config import TRMConfig
from trm_bt.errors import TRMError
from trm_bt.learning.dataset import Samples, split_chronologically
from trm_bt.learning.devices import (
    cpu_threads,
    full_precision,
    gradients,
    pick_device,
    single_precision,
)
from trm_bt.learning.fit import TrainingState
from trm_bt.learning.losses import Losses, three_part_loss
from trm_bt.learning.memory import check_memory
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.pool import joined
from trm_bt.learning.records import (
    EpochRecord,
    ProgressCallback,
    TrainedModel,
    TrainingProgress,
    TrainingRecord,
)
from trm_bt.learning.resume import fingerprint, load_state, save_state
from trm_bt.learning.rows import Rows, check_allocations
from trm_bt.market.features import FeatureSchema
from trm_bt.market.temperature import fit_temperature


def train(
    samples: Samples,
    schema: FeatureSchema,
    config: TRMConfig,
    *,
    name: str,
    progress: ProgressCallback | None = None,
    unfinished: Path | None = None,
) -> TrainedModel:
    """Train a model on `samples`, validating on the newest of them.

    Parameters
    ----------
    samples : Samples
        All rows the model may see; the newest `validation_fraction` validate, purged.
        Rows of further universes are trained on where there are enough of them.
    schema : FeatureSchema
        What the features mean.
    config : TRMConfig
        Model and training settings and the seed.
    name : str
        What to call the model.
    progress : callable, optional
        Called after every pass over a batch, and after every epoch.
    unfinished : Path, optional
        Folder in which the state is kept after every epoch. If it exists, the training
        resumes from it; the caller removes it when the result is safe.

    Returns
    -------
    TrainedModel
        Averaged parameters of the epoch with the lowest validation loss.

    Raises
    ------
    BarsError
        If there are too few rows, or the labels have no variances for "risk".
    CheckpointError
        If `unfinished` belongs to another training.
    ConfigError
        If the labels cannot measure the utility, are of other allocations, or the
        training would take too much memory.
    TRMError
        If the loss stops being finite.

    Notes
    -----
    Each batch is passed through the network up to `n_supervision_steps` times, answer
    and latent carried detached; every pass has its loss and its optimiser step, and a
    batch ends early when all its rows halt. An epoch is a sweep over the training rows
    or `max_batches_per_epoch` batches of it, whichever is shorter; the next epoch
    continues the sweep, so every row is visited before one is visited again. The
    averaged parameters are validated after every epoch.
    """
    config.check_trainable()
    check_allocations(samples, config)
    old, new = split_chronologically(samples, config.training.validation_fraction)
    old = joined(old)
    mark = "" if unfinished is None else fingerprint(samples, config, name)
    with (
        cpu_threads(config.training.num_threads),
        full_precision(),
        single_precision(),
        gradients(),
    ):
        training = TrainingRun(name, old, new, config, progress)
        if unfinished is not None:
            load_state(unfinished, training.state, mark)
        while not training.is_over:
            training.epoch()
            if unfinished is not None:
                save_state(unfinished, training.state, mark)
        record = training.record(n_purged=len(samples) - len(old) - len(new))
    parameters = training.state.course.best_parameters
    chosen = schema.choosing(config.labels)
    return TrainedModel(name, config, chosen, training.rows.scaler, parameters, record)


class TrainingRun:
    """One training: its rows and its state, epoch by epoch.

    Parameters
    ----------
    name : str
        Name of the model.
    old, new : Samples
        Training and validation rows, already purged; the training rows of further
        universes with those that they are pooled with.
    config : TRMConfig
        All settings.
    progress : callable, optional
        Called after every pass over a batch, and after every epoch.
    is_constant : bool
        Whether the learning rate stays constant after the warm-up.
    """

    def __init__(
        self,
        name: str,
        old: Samples,
        new: Samples,
        config: TRMConfig,
        progress: ProgressCallback | None = None,
        *,
        is_constant: bool = False,
    ) -> None:
        check_memory(config)
        self.name, self.config = name, config
        self.rows = Rows(old, new, config)
        self._winners = new.winners
        n_allocations = old.returns.shape[1]
        model = TinyRecursiveModel(
            config.model, seed=config.seed, n_allocations=n_allocations
        ).to(pick_device(config.training.device))
        self.state = TrainingState(
            config,
            self.rows.n_train,
            model,
            n_effective=self.rows.n_effective,
            is_constant=is_constant,
        )
        self.majority_accuracy = float(
            np.bincount(self.rows.new.winners).max() / len(new)
        )
        self.best_fixed_utility = float(self.rows.new_utilities.mean(axis=0).max())
        self._progress = progress
        self._best_logits: Tensor | None = None
        share = config.model.halt_threshold
        self._halt_logit = math.log(share / (1 - share))

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is done, or `patience` is exhausted."""
        course, settings = self.state.course, self.config.training
        n_epochs = len(course.history)
        n_worse = n_epochs - 1 - course.best
        return n_epochs == settings.epochs or n_worse >= settings.patience

    def epoch(self) -> None:
        """Train on the next batches, validate, and keep the better parameters."""
        state = self.state
        sums, n_passes = np.zeros(len(Losses._fields)), 0
        for batch in islice(state.batches, state.epoch_batches):
            for losses in self.train_on(batch):
                sums, n_passes = sums + losses, n_passes + 1
                self._report(losses[0])
        self._check_finite(float(sums.sum()))
        epoch, logits = self._validate(sums / n_passes)
        state.course.add(epoch, state.averaged_parameters())
        if state.course.best == len(state.course.history) - 1:
            self._best_logits = logits
        self._report(epoch.train_loss, epoch)

    def train_on(self, batch: Tensor) -> Iterator[np.ndarray]:
        """Supervise a batch of row positions pass by pass.

        Yields
        ------
        ndarray of shape (4,)
            The `Losses` of each pass.
        """
        state, settings = self.state, self.config.training
        states, end = None, state.position + settings.n_supervision_steps
        features, targets = self.rows.features[batch], self.rows.targets[batch]
        while state.position < end:
            output = state.model(features, states, dropout=state.generator)
            losses = three_part_loss(
                output.logits,
                output.halt_logits,
                targets,
                self.rows.class_weights,
                settings,
            )
            losses.total.backward()  # type: ignore[no-untyped-call] # torch's
            state.update()
            states = output.states.detach()
            is_halted = bool((output.halt_logits >= self._halt_logit).all())
            state.position = end if is_halted else state.position + 1
            yield np.array([loss.item() for loss in losses])

    def _validate(self, train_losses: np.ndarray) -> tuple[EpochRecord, Tensor]:
        """Judge the averaged parameters on the validation rows, and return logits."""
        state, rows = self.state, self.rows
        found = state.average.predict(rows.new_features)
        losses = three_part_loss(
            found.logits,
            found.halt_logits,
            rows.new_targets,
            rows.class_weights,
            self.config.training,
        )
        self._check_finite(losses.total.item())
        choices = found.logits.argmax(dim=1).cpu().numpy()
        earned = rows.new_utilities[np.arange(len(choices)), choices]
        total, strategy, halt, profit = train_losses.tolist()
        record = EpochRecord(
            epoch=len(state.course.history) + 1,
            n_optimizer_steps=state.step,
            learning_rate=state.rate,
            train_loss=total,
            train_strategy_loss=strategy,
            train_halt_loss=halt,
            train_profit_loss=profit,
            validation_loss=losses.total.item(),
            validation_accuracy=float((choices == rows.new.winners).mean()),
            validation_utility=float(earned.mean()),
            validation_mean_steps=found.n_steps.double().mean().item(),
        )
        return record, found.logits

    def _check_finite(self, loss: float) -> None:
        """Stop a training that has diverged."""
        if not math.isfinite(loss):
            raise TRMError(
                f"The loss of model {self.name} must stay finite, got {loss} by "
                f"optimiser step {self.state.step}. Lower `learning_rate`."
            )

    def _report(self, loss: float, finished: EpochRecord | None = None) -> None:
        if self._progress is not None:
            n_epochs = len(self.state.course.history)
            self._progress(
                TrainingProgress(
                    self.name,
                    self.state.position,
                    self.state.total_steps,
                    n_epochs if finished else n_epochs + 1,
                    loss,
                    finished,
                    self.majority_accuracy,
                    self.best_fixed_utility,
                )
            )

    def record(self, *, n_purged: int) -> TrainingRecord:
        """Return spans, counts and baselines."""
        old, new, state = self.rows.old, self.rows.new, self.state
        best_epoch = state.course.best + 1
        return TrainingRecord(
            train_start=old.sessions[0].date(),
            train_end=old.sessions[-1].date(),
            validation_start=new.sessions[0].date(),
            validation_end=new.sessions[-1].date(),
            last_label_known_on=new.known_on.max().date(),
            n_train=self.rows.n_train,
            n_validation=len(new),
            n_purged=n_purged,
            n_visited=state.n_visited(best_epoch),
            batch_size=state.largest_batch,
            n_planned_steps=state.total_steps,
            n_optimizer_steps=state.step,
            best_epoch=best_epoch,
            majority_accuracy=self.majority_accuracy,
            best_fixed_utility=self.best_fixed_utility,
            history=tuple(state.course.history),
            temperature=self._temperature(),
            n_effective=self.rows.n_effective if old.pooled else None,
            pooled=self.rows.pooled(),
        )

    def _temperature(self) -> float:
        """Fit the kept parameters' temperature to the winners of the validation."""
        logits = self._best_logits
        if logits is None:  # the best epoch was made before the training was resumed
            network = copy.deepcopy(self.state.average)
            network.load_state_dict(self.state.course.best_parameters)
            logits = network.predict(self.rows.new_features).logits
        return fit_temperature(logits.double().cpu().numpy(), self._winners)
