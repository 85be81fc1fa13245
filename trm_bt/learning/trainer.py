"""Train one Tiny Recursive Model on the labels known by some session.

Everything random comes from one numpy generator and the parameters' seed, so equal
samples, settings and thread count give equal bits; global generators are untouched.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, TRMError
from trm_bt.learning.dataset import Samples, Scaler, split_chronologically
from trm_bt.learning.fit import Fit
from trm_bt.learning.losses import (
    Losses,
    Targets,
    class_weights,
    three_part_loss,
    utility_scale,
)
from trm_bt.learning.model import Pass, TinyRecursiveModel
from trm_bt.learning.records import (
    EpochRecord,
    Progress,
    ProgressCallback,
    TrainedModel,
    TrainingRecord,
)
from trm_bt.learning.threads import cpu_threads
from trm_bt.learning.unfinished import Course, Unfinished, fingerprint
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.features import FeatureSchema
from trm_bt.market.utility import (
    decided_utilities,
    expected_returns,
    risk_utilities,
    session_utilities,
    turnover_costs,
)


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
    schema : FeatureSchema
        What the features mean.
    config : TRMConfig
        Model and training settings and the seed.
    name : str
        What to call the model.
    progress : callable, optional
        Called after every pass over a batch, and after every epoch.
    unfinished : Path, optional
        Folder in which the state is kept after every epoch. If it is there, the
        training goes on from it; the caller removes it when the result is safe.

    Returns
    -------
    TrainedModel
        Averaged parameters of the epoch with the lowest validation loss.

    Raises
    ------
    BarsError
        If there are too few rows.
    CheckpointError
        If `unfinished` belongs to another training.
    ConfigError
        If the labels cannot measure the utility.
    TRMError
        If the loss stops being finite.

    Notes
    -----
    Each batch is passed through the network up to `n_supervision_steps` times, answer
    and latent carried detached; every pass has its loss and its optimiser step, and a
    batch is left early when all its rows halt. An epoch is a sweep over the training
    rows or `max_batches_per_epoch` batches of it, whichever is shorter; the next epoch
    goes on where it stopped, so every row is visited before one is visited again. The
    averaged parameters are validated after every epoch.
    """
    old, new = split_chronologically(samples, config.training.validation_fraction)
    state = None
    if unfinished is not None:
        state = Unfinished(unfinished, fingerprint(samples, config, name))
    fitted = fit_rows(old, new, config, name=name, progress=progress, state=state)
    n_purged = len(samples) - len(old) - len(new)
    record = fitted.record.model_copy(update={"n_purged": n_purged})
    return TrainedModel(name, config, schema, fitted.scaler, fitted.parameters, record)


@dataclass(frozen=True)
class Fitted:
    """Scaler, averaged parameters of the best epoch, and how they came about."""

    scaler: Scaler
    parameters: dict[str, Tensor]
    record: TrainingRecord


def fit_rows(
    old: Samples,
    new: Samples,
    config: TRMConfig,
    *,
    name: str,
    progress: ProgressCallback | None = None,
    state: Unfinished | None = None,
) -> Fitted:
    """Train on `old` and validate on `new`, as they are; `train` splits them first."""
    config.check_trainable()
    with cpu_threads(config.training.num_threads):
        run = _Run(name, Rows(old, new, config), config, progress)
        if state is not None:
            run.course = state.load(run.fit) or run.course
        while not run.is_over:
            run.epoch()
            if state is not None:
                state.save(run.fit, run.course)
    return Fitted(run.rows.scaler, run.course.best_parameters, _record(run))


class Rows:
    """Both sides of the split as tensors; what is fitted is fitted on the old side."""

    def __init__(self, old: Samples, new: Samples, config: TRMConfig) -> None:
        self.utilities, self.new_utilities = _utilities(old, new, config)
        self.scale = utility_scale(self.utilities)
        if config.training.target == "utility":
            unit = self.scale * (config.training.target_temperature or 0.0)
            old = _aim_at(old, self.utilities, unit)
            new = _aim_at(new, self.new_utilities, unit)
        self.old, self.new = old, new
        self.scaler = Scaler.fit(old.features)
        weights = class_weights(old.shares, config.training)
        self.class_weights = torch.from_numpy(weights.astype(np.float32))
        self.features, self.new_features = (
            torch.from_numpy(self.scaler.transform(rows.features))
            for rows in (old, new)
        )
        self.targets = self._targets(old, self.utilities)

    def charge(self, logits: Tensor, config: TRMConfig) -> None:
        """Take from the training utilities what trading costs a network's decisions."""
        costs = _costs(logits, config)
        self.targets = self._targets(self.old, self.utilities - costs)

    def charged_validation(self, logits: Tensor, config: TRMConfig) -> Targets:
        """Return the validation targets, net of what trading costs the decisions."""
        costs = _costs(logits, config)
        return self._targets(self.new, self.new_utilities - costs)

    def _targets(self, rows: Samples, utilities: np.ndarray) -> Targets:
        return Targets(
            torch.from_numpy(rows.winners),
            torch.from_numpy(rows.shares.astype(np.float32)),
            torch.from_numpy((utilities / self.scale).astype(np.float32)),
        )


def _utilities(
    old: Samples, new: Samples, config: TRMConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the utility of each allocation on both sides of the split."""
    horizon, settings = config.labels.horizon, config.training
    if settings.utility == "risk":
        if old.variances is None or new.variances is None:
            raise BarsError(
                'The `training.utility` "risk" needs labels with the columns '
                "variance_<allocation>, got none. Label the bars anew."
            )
        expected = expected_returns(old.returns, horizon, settings)
        return (
            risk_utilities(expected, old.variances, horizon, settings),
            risk_utilities(expected, new.variances, horizon, settings),
        )
    return (
        session_utilities(old.returns, horizon, settings),
        session_utilities(new.returns, horizon, settings),
    )


def _aim_at(rows: Samples, utilities: np.ndarray, unit: float) -> Samples:
    """Return the rows with the allocation of most utility for their winner.

    Soft labels are the softmax of utilities in that unit; there are none if it is 0.
    """
    soft = torch.from_numpy(utilities / unit).softmax(dim=1).numpy() if unit else None
    return replace(rows, winners=utilities.argmax(axis=1), soft=soft)


def _costs(logits: Tensor, config: TRMConfig) -> np.ndarray:
    """Return what each allocation costs in each row, coming from the row before.

    What a row holds is the mix of the allocations by their probabilities. The first row
    comes from its own mix: it pays nothing to get in.
    """
    held = logits.softmax(dim=1).double().numpy() @ ALLOCATION_WEIGHTS
    return turnover_costs(np.concatenate([held[:1], held[:-1]]), config.training)


class _Run:
    """One training under way."""

    def __init__(
        self,
        name: str,
        rows: Rows,
        config: TRMConfig,
        progress: ProgressCallback | None,
    ) -> None:
        self.name, self.rows, self.config = name, rows, config
        model = TinyRecursiveModel(config.model, seed=config.seed)
        self.fit = Fit(config, len(rows.old), model)
        self.course = Course([], 0, self.fit.averaged_parameters())
        self.majority_accuracy = float(
            np.bincount(rows.new.winners).max() / len(rows.new)
        )
        self.best_fixed_utility = float(rows.new_utilities.mean(axis=0).max())
        self._progress = progress
        share = config.model.halt_threshold
        self._halt_logit = math.log(share / (1 - share))

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is done, or `patience` is at its end."""
        n_epochs = len(self.course.history)
        settings = self.config.training
        n_worse = n_epochs - 1 - self.course.best
        return n_epochs == settings.epochs or n_worse >= settings.patience

    def epoch(self) -> None:
        """Train on the next batches, validate, and keep the better parameters."""
        if self.config.training.turnover_cost_bps:
            logits = self.fit.average.predict(self.rows.features).logits
            self.rows.charge(logits, self.config)
        sums, n_passes = np.zeros(len(Losses._fields)), 0
        for batch in islice(self.fit.batches, self.fit.epoch_batches):
            for losses in self._train_on(batch):
                sums, n_passes = sums + losses, n_passes + 1
                self._tell(losses[0])
        self._check_finite(float(sums.sum()))
        epoch = self._validate(sums / n_passes)
        course = self.course
        course.history.append(epoch)
        best = course.history[course.best]
        if epoch.epoch == 1 or epoch.validation_loss < best.validation_loss:
            course.best = epoch.epoch - 1
            course.best_parameters = self.fit.averaged_parameters()
        self._tell(epoch.train_loss, epoch)

    def _train_on(self, batch: Tensor) -> Iterator[np.ndarray]:
        """Supervise one batch pass by pass; yield the losses of each pass."""
        fit, settings = self.fit, self.config.training
        split = batch.tensor_split(settings.gradient_accumulation_steps)
        parts = [part for part in split if len(part)]
        carried = [fit.model.initial_states(len(part)) for part in parts]
        end = fit.position + settings.n_supervision_steps
        while fit.position < end:
            sums, is_halted = np.zeros(len(Losses._fields)), True
            for i, part in enumerate(parts):
                output = fit.model(
                    self.rows.features[part], carried[i], dropout=fit.generator
                )
                losses = three_part_loss(
                    output, self.rows.targets[part], self.rows.class_weights, settings
                )
                share = len(part) / len(batch)
                (losses.total * share).backward()  # type: ignore[no-untyped-call]
                carried[i] = output.states.detach()
                sums += [loss.item() * share for loss in losses]
                is_halted &= bool((output.halt_logits >= self._halt_logit).all())
            fit.update()
            fit.position = end if is_halted else fit.position + 1
            yield sums

    def _validate(self, train_losses: np.ndarray) -> EpochRecord:
        """Judge the averaged parameters on the validation rows."""
        fit, rows, settings = self.fit, self.rows, self.config.training
        prediction = fit.average.predict(rows.new_features)
        states = fit.average.initial_states(0)
        output = Pass(prediction.logits, prediction.halt_logits, states)
        targets = rows.charged_validation(prediction.logits, self.config)
        losses = three_part_loss(output, targets, rows.class_weights, settings)
        self._check_finite(losses.total.item())
        choices = prediction.logits.argmax(dim=1).numpy()
        earned = decided_utilities(rows.new_utilities, choices, settings)
        total, strategy, halt, profit = train_losses.tolist()
        return EpochRecord(
            epoch=len(self.course.history) + 1,
            n_optimizer_steps=fit.step,
            learning_rate=fit.rate,
            train_loss=total,
            train_strategy_loss=strategy,
            train_halt_loss=halt,
            train_profit_loss=profit,
            validation_loss=losses.total.item(),
            validation_accuracy=float((choices == rows.new.winners).mean()),
            validation_utility=float(earned.mean()),
            validation_mean_steps=prediction.n_steps.double().mean().item(),
        )

    def _check_finite(self, loss: float) -> None:
        """Stop a training that has diverged."""
        if not math.isfinite(loss):
            raise TRMError(
                f"The loss of model {self.name} must stay finite, got {loss} by "
                f"optimiser step {self.fit.step}. Lower `learning_rate`."
            )

    def _tell(self, loss: float, finished: EpochRecord | None = None) -> None:
        if self._progress is not None:
            n_epochs = len(self.course.history)
            self._progress(
                Progress(
                    self.name,
                    self.fit.position,
                    self.fit.total_steps,
                    n_epochs if finished else n_epochs + 1,
                    loss,
                    finished,
                    self.majority_accuracy,
                    self.best_fixed_utility,
                )
            )


def _record(run: _Run) -> TrainingRecord:
    """Gather spans, counts and baselines."""
    old, new, fit = run.rows.old, run.rows.new, run.fit
    return TrainingRecord(
        train_start=old.sessions[0].date(),
        train_end=old.sessions[-1].date(),
        validation_start=new.sessions[0].date(),
        validation_end=new.sessions[-1].date(),
        last_label_known_on=new.known_on.max().date(),
        n_train=len(old),
        n_validation=len(new),
        n_purged=0,
        n_visited=fit.n_visited(run.course.best + 1),
        batch_size=fit.largest_batch,
        n_planned_steps=fit.total_steps,
        n_optimizer_steps=fit.step,
        best_epoch=run.course.best + 1,
        majority_accuracy=run.majority_accuracy,
        best_fixed_utility=run.best_fixed_utility,
        history=tuple(run.course.history),
    )
