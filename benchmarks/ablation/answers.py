"""What anything that is compared says about the test rows."""

from dataclasses import dataclass

import numpy as np
import torch

from trm_bt.config import TRMConfig
from trm_bt.learning.dataset import Samples
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.threads import cpu_threads
from trm_bt.learning.trainer import fit_rows

FLOOR = 1e-6
"""A frequency of zero counts as this in the log loss, which would be infinite."""


@dataclass(frozen=True)
class Answers:
    """Log-probabilities of the test rows and where they come from.

    Parameters
    ----------
    log_probabilities : ndarray of shape (n_rows, 8)
        Natural logarithms.
    n_parameters : int, optional
        Fitted numbers, where that is a measure of size.
    mean_steps : float, optional
        Supervision steps that a row took.
    """

    log_probabilities: np.ndarray
    n_parameters: int | None = None
    mean_steps: float | None = None


def known_log(probabilities: np.ndarray) -> np.ndarray:
    """Return logarithms of probabilities, none of which counts as less than `FLOOR`."""
    return np.asarray(np.log(np.maximum(probabilities, FLOOR)))


def answer_trm(
    old: Samples, new: Samples, features: np.ndarray, config: TRMConfig
) -> Answers:
    """Train the network as the package does, and let it decide the rows.

    Parameters
    ----------
    old, new : Samples
        Rows to train on, and rows that choose the epoch.
    features : ndarray of shape (n_rows, 10)
        Raw features of the rows to decide.
    config : TRMConfig
        All settings and the seed.
    """
    fitted = fit_rows(old, new, config, name="ablation")
    model = TinyRecursiveModel(config.model)
    model.load_state_dict(fitted.parameters)
    with cpu_threads(config.training.num_threads):
        rows = torch.from_numpy(fitted.scaler.transform(features))
        prediction = model.predict(rows)
    return Answers(
        prediction.logits.double().log_softmax(dim=1).numpy(),
        model.n_parameters,
        prediction.n_steps.double().mean().item(),
    )
