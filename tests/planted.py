"""Data sets whose winner follows from the features by a rule that can be learned."""

import numpy as np
import pandas as pd

from trm_bt.config import TrainingConfig, TRMConfig
from trm_bt.learning.dataset import Samples
from trm_bt.market.allocations import ALLOCATION_WEIGHTS

N_AHEAD = 6
"""Sessions until an outcome is known, as with labels held 5 sessions from next open."""


def planted_samples(n_rows: int, seed: int = 0) -> Samples:
    """Draw slow features in odd units; equity and bond returns follow four of them.

    Features are autocorrelated like lookback windows that overlap, so neighbours are
    nearly copies and there is far less to learn from than the row count says. Equity
    gains where feature 1 exceeds 0.7 of feature 0, the bond where features 5 and 2
    have one sign.
    """
    rng = np.random.default_rng(seed)
    memory = np.array([0.97, 0.8, 0.95, 0.5, 0.9, 0.95, 0.97, 0.9, 0.95, 0.9])
    shocks = rng.standard_normal((n_rows + 200, 10)) * np.sqrt(1 - memory**2)
    states = np.zeros_like(shocks)
    for row in range(1, len(states)):
        states[row] = memory * states[row - 1] + shocks[row]
    states = states[200:]
    equity = 0.02 * np.tanh(2 * (states[:, 1] - 0.7 * states[:, 0]))
    bond = 0.012 * np.tanh(2 * states[:, 5] * np.sign(states[:, 2]))
    cash = np.full(n_rows, 0.0005)
    returns = np.stack([equity, bond, cash], axis=1) @ ALLOCATION_WEIGHTS.T
    sessions = pd.bdate_range("1990-01-02", periods=n_rows + N_AHEAD)
    return Samples(
        sessions[:n_rows],
        sessions[N_AHEAD:],
        states * np.linspace(0.5, 20.0, 10) + 3.0,
        returns,
        returns.argmax(axis=1),
        variances=returns**2 + 1e-5,
    )


def naming(**changes: object) -> TrainingConfig:
    """Return settings that name the winner: the planted rule is one of profit."""
    named = TRMConfig.preset("seed").training.model_dump()
    return TrainingConfig.model_validate({**named, **changes})
