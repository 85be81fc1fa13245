"""Does the training work at all? Three checks of the machinery, none of skill.

A model that passes can fit, settles, and does not hang on the last digit of a feature.
Whether what it learns is worth anything is another question, and out-of-sample data
answers it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import torch

from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError
from trm_bt.learning.dataset import Samples
from trm_bt.learning.devices import cpu_threads
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import EpochRecord, ProgressCallback
from trm_bt.learning.trainer import TrainingRun

MIN_ACCURACY: Final = 0.65
MIN_KEPT: Final = 0.7
MIN_KAPPA: Final = 0.4
"""Agreement beyond chance from which on it is called moderate (Landis and Koch)."""

NOISE: Final = 0.1
_MIN_ROWS: Final = 15
_N_DRAWS: Final = 50
_SETTINGS: Final = {
    "target": "label",
    "strategy_loss_weight": 1.0,
    "profit_loss_weight": 0.0,
    "label_smoothing": 0.0,
    "class_weighting": "none",
    "epochs": 60,
    "patience": 60,
}
"""What a loss must ask for if labels are to be learned by heart."""
_MAX_LAST_LOSS: Final = 0.5
_MAX_DRIFT: Final = 0.1


@dataclass(frozen=True)
class Check:
    """One check: what it is called, whether it passed, and its figures in words."""

    name: str
    is_passed: bool
    figures: str


def self_check(
    samples: Samples, config: TRMConfig, *, progress: ProgressCallback | None = None
) -> list[Check]:
    """Fit one month of labels and check the result.

    Parameters
    ----------
    samples : Samples
        Labels; the newest calendar month with 15 or more, of which no class has 65%,
        is fitted, and judged on the very same rows.
    config : TRMConfig
        Settings and seed. Whatever they say, the loss names the label; there are 60
        epochs, without early stopping and at a constant rate, and labels are unweighted
        and not smoothed: else the cross-entropy could not fall to nothing, and a
        falling rate would bring any loss to rest.
    progress : callable, optional
        News of the training.

    Returns
    -------
    list of Check
        Capacity, convergence, anti-memorisation.

    Raises
    ------
    BarsError
        If there is no such month.
    """
    month = pick_month(samples)
    settings = config.training.model_copy(update=_SETTINGS)
    used = config.model_copy(update={"training": settings})
    with cpu_threads(settings.num_threads):
        training = TrainingRun(
            "self-check", month, month, used, progress, is_constant=True
        )
        while not training.is_over:
            training.epoch()
    decide = _decisions_of(training)
    spread = month.features.std(axis=0)
    history = training.state.course.history
    return [
        check_capacity(history[training.state.course.best], month),
        check_convergence(history),
        check_consistency(
            decide, month.features, spread, np.random.default_rng(config.seed)
        ),
    ]


def pick_month(samples: Samples) -> Samples:
    """Return the newest month with 15 or more labels that no constant answer fits."""
    months = samples.sessions.to_period("M")
    for month in months.unique()[::-1]:
        rows = samples.where(np.asarray(months == month))
        if len(rows) >= _MIN_ROWS and _majority(rows.winners) < MIN_ACCURACY:
            return rows
    raise BarsError(
        f"The self-check needs a month of {_MIN_ROWS} labels or more of which no "
        f"allocation wins {MIN_ACCURACY:.0%}, got none in {len(samples)} labels. Give "
        "more history."
    )


def check_capacity(best: EpochRecord, month: Samples) -> Check:
    """Require the month's labels to be fitted; a constant answer could not."""
    accuracy = best.validation_accuracy
    name = pd.Timestamp(month.sessions[0]).strftime("%Y-%m")
    return Check(
        "capacity",
        accuracy > MIN_ACCURACY,
        f"fits {accuracy:.1%} of the {len(month)} labels of {name}, which it was "
        f"trained on (needs more than {MIN_ACCURACY:.0%}; the majority class has "
        f"{_majority(month.winners):.1%}). This says nothing about skill",
    )


def check_convergence(history: Sequence[EpochRecord]) -> Check:
    """Require the loss to fall by half, and to have come to rest at the end."""
    losses = np.array([epoch.train_strategy_loss for epoch in history])
    tenth = max(len(losses) // 10, 1)
    last, before = losses[-tenth:].mean(), losses[-2 * tenth : -tenth].mean()
    share, drift = last / losses[0], abs(last - before) / losses[0]
    return Check(
        "convergence",
        bool(share <= _MAX_LAST_LOSS and drift <= _MAX_DRIFT),
        f"cross-entropy went from {losses[0]:.3f} to {last:.3f}, {share:.0%} of it "
        f"(needs at most {_MAX_LAST_LOSS:.0%}), and moved by {drift:.1%} of it over "
        f"the last tenth (at most {_MAX_DRIFT:.0%})",
    )


def check_consistency(
    decide: Callable[[np.ndarray], np.ndarray],
    features: np.ndarray,
    spread: np.ndarray,
    generator: np.random.Generator,
) -> Check:
    r"""Require decisions to survive noise, beyond what a constant answer would.

    Parameters
    ----------
    decide : callable
        From feature rows, shape (n_rows, n_features), to class indices, (n_rows,).
    features : ndarray of shape (n_rows, n_features)
        Raw feature rows.
    spread : ndarray of shape (n_features,)
        Standard deviation of each feature; the noise is a tenth of it.
    generator : Generator
        Source of the noise.

    Notes
    -----
    With :math:`p` the share of decisions that stay and :math:`c` the share that would
    stay if decisions were drawn again at their own frequencies, Cohen's
    :math:`\kappa = (p - c) / (1 - c)`. A constant predictor keeps every decision and
    has :math:`c = 1`: nothing can be said for it, and it fails.

    References
    ----------
    Cohen, J. (1960). A coefficient of agreement for nominal scales. Educational and
    Psychological Measurement 20(1).
    Landis, J. R. and Koch, G. G. (1977). The measurement of observer agreement for
    categorical data. Biometrics 33(1).
    """
    before = decide(features)
    noise = generator.standard_normal((_N_DRAWS, *features.shape)) * NOISE * spread
    after = np.stack([decide(features + shift) for shift in noise])
    kept = float((after == before).mean())
    classes = np.arange(max(before.max(), after.max()) + 1)
    chance = float(sum((before == k).mean() * (after == k).mean() for k in classes))
    kappa = (kept - chance) / (1 - chance) if chance < 1 else 0.0
    constant = ". Every decision is the same, so this says nothing"
    return Check(
        "anti-memorisation",
        kept > MIN_KEPT and kappa > MIN_KAPPA,
        f"{kept:.1%} of decisions stay under noise of {NOISE:.0%} of each feature's "
        f"deviation (needs more than {MIN_KEPT:.0%}), {chance:.1%} by chance, "
        f"kappa {kappa:.2f} (more than {MIN_KAPPA})"
        f"{constant if len(np.unique(before)) == 1 else ''}",
    )


def _decisions_of(training: TrainingRun) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from raw feature rows to the model's decisions."""
    n_allocations = training.state.model.n_allocations
    model = TinyRecursiveModel(training.config.model, n_allocations=n_allocations)
    model.load_state_dict(training.state.course.best_parameters)

    def decide(features: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(training.rows.scaler.transform(features))
        choices: np.ndarray = model.predict_strategy(rows)[0].numpy()
        return choices

    return decide


def _majority(winners: np.ndarray) -> float:
    return float(np.bincount(winners).max() / len(winners))
