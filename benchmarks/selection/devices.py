"""Devices against drifting inputs and rash answers, tried on the chosen settings.

The package has none of them: they were tried after the choice was made and judged, to
know what they would have brought.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from sklearn.preprocessing import RobustScaler

from benchmarks.ablation.folds import Fold
from benchmarks.selection.judge import RISK_AVERSION
from trm_bt.learning.dataset import Samples
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.market.features import FEATURE_NAMES

WINDOW: Final = 756
"""Sessions of three years, over which inputs are standardised."""
_MIN_SESSIONS: Final = 252
_FAR: Final = 3.0
_LEVEL: Final = FEATURE_NAMES.index("vix_level")
_DECILES: Final = np.linspace(0.05, 0.95, 10)
SHRINKAGES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
HORIZON: Final = 5


def rolling(fold: Fold) -> Fold:
    """Standardise each row by the mean and deviation of the sessions up to it.

    Of those in the fold: the few between its known and its tested rows are not among
    them. Rows with less than a year before them go.
    """
    rows = np.concatenate([fold.known.features, fold.test.features])
    windows = pd.DataFrame(rows).rolling(WINDOW, min_periods=_MIN_SESSIONS)
    scaled = ((rows - windows.mean()) / windows.std()).to_numpy()
    n_known = len(fold.known)
    return replace(
        fold,
        known=replace(fold.known, features=scaled[:n_known]).where(
            np.arange(n_known) >= _MIN_SESSIONS - 1
        ),
        test=replace(fold.test, features=scaled[n_known:]),
    )


def robust(fold: Fold) -> Fold:
    """Standardise by median and quartiles of the known rows, and cut at 3 of them."""
    scaler = RobustScaler(unit_variance=True).fit(fold.known.features)

    def scaled(rows: Samples) -> Samples:
        inside = scaler.transform(rows.features).clip(-_FAR, _FAR)
        return replace(rows, features=inside)

    return replace(fold, known=scaled(fold.known), test=scaled(fold.test))


def grid(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return each row at its own and at ten other levels of the volatility index.

    Parameters
    ----------
    features : ndarray of shape (n_rows, 10)
        Rows to decide.
    known : ndarray of shape (n_known, 10)
        Rows whose deciles are the other levels.

    Returns
    -------
    ndarray of shape (n_rows, 11, 10)
        The row itself first.
    """
    points = np.repeat(features[:, np.newaxis], len(_DECILES) + 1, axis=1)
    points[:, 1:, _LEVEL] = np.quantile(known[:, _LEVEL], _DECILES)
    return points


def rearranged(points: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Let the weight of equity never rise with the level of the volatility index.

    What is said at the levels of `grid` is sorted by the equity that it means, and
    each row gets what stands where its own level does.

    Parameters
    ----------
    points : ndarray of shape (n_rows, n_levels, 10)
        What `grid` returned.
    probabilities : ndarray of shape (n_rows, n_levels, 8)
        What is said there.

    Returns
    -------
    ndarray of shape (n_rows, 8)

    References
    ----------
    Chernozhukov, V., Fernández-Val, I. and Galichon, A. (2009). Improving point and
    interval estimators of monotone functions by rearrangement. Biometrika 96(3),
    doi:10.1093/biomet/asp030.
    """
    levels = points[:, :, _LEVEL]
    places = (levels < levels[:, :1]).sum(axis=1)
    equity = probabilities @ ALLOCATION_WEIGHTS[:, 0]
    order = np.argsort(-equity, axis=1, kind="stable")
    rows = np.arange(len(points))
    return np.asarray(probabilities[rows, order[rows, places]])


def shrunk(
    probabilities: np.ndarray, validation: np.ndarray, old: Samples, new: Samples
) -> np.ndarray:
    """Draw probabilities towards the best fixed allocation of the training rows.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, 8)
        Of the rows to decide.
    validation : ndarray of shape (n_new, 8)
        Of the validation rows, whose utility chooses by how much.
    old, new : Samples
        Training and validation rows.

    Returns
    -------
    ndarray of shape (n_rows, 8)
    """
    certain = np.eye(len(ALLOCATION_WEIGHTS))
    best = certain[np.argmax([utility_of(old, one) for one in certain])]
    merits = [utility_of(new, s * best + (1 - s) * validation) for s in SHRINKAGES]
    share = SHRINKAGES[int(np.argmax(merits))]
    return share * best + (1.0 - share) * probabilities


def utility_of(rows: Samples, shares: np.ndarray) -> float:
    """Return the mean-variance utility of a year of blends, held for five sessions.

    Parameters
    ----------
    rows : Samples
        What the allocations earned.
    shares : ndarray of shape (8,) or (n_rows, 8)
        How much of each.
    """
    earned = (rows.returns * shares).sum(axis=1)
    per_year = SESSIONS_PER_YEAR / HORIZON
    return float(per_year * (earned.mean() - RISK_AVERSION / 2 * earned.var()))
