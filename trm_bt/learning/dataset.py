"""Training rows, their chronological split, and the scaler fitted on them.

Numpy and pandas only. A row is known when its outcome is: `known_on` decides what a
model may have seen, never the session of the decision alone.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.features import FEATURE_NAMES
from trm_bt.market.labels import labelled_allocations


@dataclass(frozen=True)
class Samples:
    """Feature rows with the outcome of each, oldest first.

    Parameters
    ----------
    sessions : DatetimeIndex of shape (n_rows,)
        The deciding sessions, strictly increasing.
    known_on : DatetimeIndex of shape (n_rows,)
        The session on which each outcome became known, after the deciding one.
    features : ndarray of shape (n_rows, 10)
        Raw features, in the order of `FEATURE_NAMES`.
    returns : ndarray of shape (n_rows, n_allocations)
        Realised return of each allocation as a decimal.
    winners : ndarray of shape (n_rows,), int64
        Class index of the best allocation.
    variances : ndarray of shape (n_rows, n_allocations), optional
        Realised variance of each over the horizon; none with a horizon of one session.
    pooled : dict of str to Samples
        Rows of further universes by name, which are trained on too; they are not
        counted here, never validate, and have no `pooled` of their own.
    """

    sessions: pd.DatetimeIndex
    known_on: pd.DatetimeIndex
    features: np.ndarray
    returns: np.ndarray
    winners: np.ndarray
    variances: np.ndarray | None = None
    pooled: dict[str, "Samples"] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sessions)

    @property
    def universes(self) -> "list[Samples]":
        """These rows, and those of each further universe."""
        return [self, *self.pooled.values()]

    def where(self, is_kept: np.ndarray | slice) -> "Samples":
        """Return the rows of a slice, or where a mask of shape (n_rows,) is true.

        Rows of further universes stay as they are.
        """
        return Samples(
            self.sessions[is_kept],
            self.known_on[is_kept],
            self.features[is_kept],
            self.returns[is_kept],
            self.winners[is_kept],
            None if self.variances is None else self.variances[is_kept],
            self.pooled,
        )


def samples_from_labels(labels: pd.DataFrame) -> Samples:
    """Take the training rows out of a label table.

    Parameters
    ----------
    labels : DataFrame of shape (n_rows, n_columns)
        What `compute_labels` returns.

    Returns
    -------
    Samples
        All its rows, with the variances that the table has.

    Raises
    ------
    BarsError
        If a feature, return or variance is not finite; the message names the column and
        the first session.
    """
    names = labelled_allocations(labels)
    returns = [f"return_{name}" for name in names]
    variances = [f"variance_{name}" for name in names if f"variance_{name}" in labels]
    used = labels[[*FEATURE_NAMES, *returns, *variances]]
    is_bad = ~np.isfinite(used.to_numpy(np.float64))
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        raise BarsError(
            f"Label column `{used.columns[column]}` must be finite, got "
            f"{used.iat[row, column]} on {used.index[row].date()}. Compute the "
            "labels again from valid bars."
        )
    return Samples(
        pd.DatetimeIndex(labels.index),
        pd.DatetimeIndex(labels["known_on"]),
        labels[list(FEATURE_NAMES)].to_numpy(np.float64),
        labels[returns].to_numpy(np.float64),
        labels["winner"].to_numpy(np.int64),
        labels[variances].to_numpy(np.float64) if variances else None,
    )


def known_by(samples: Samples, session: pd.Timestamp) -> Samples:
    """Return the rows whose outcome is known at the close of `session` or before.

    The same holds for the rows of further universes.
    """
    kept = samples.where(np.asarray(samples.known_on <= session))
    pooled = {name: known_by(rows, session) for name, rows in samples.pooled.items()}
    return replace(kept, pooled=pooled)


def split_chronologically(
    samples: Samples, validation_fraction: float
) -> tuple[Samples, Samples]:
    """Split into older training rows and newer validation rows, purged between.

    The newest rows validate. A training row stays only if its outcome was known
    strictly before the first validation session, so that no training outcome overlaps
    a validation one: with labels `horizon` sessions ahead, `horizon` + 1 rows go. The
    same date holds for the rows of further universes, which never validate.

    Parameters
    ----------
    samples : Samples
        Rows to split.
    validation_fraction : float
        Share of the rows that validate, rounded up, in (0, 1).

    Returns
    -------
    training, validation : Samples
        Both with at least one row.

    Raises
    ------
    BarsError
        If too few rows are left to train on.
    """
    n_validation = math.ceil(validation_fraction * len(samples))
    first = len(samples) - n_validation
    is_new = np.arange(len(samples)) >= first
    validation = replace(samples.where(is_new), pooled={})
    if len(validation) and first:
        begin = validation.sessions[0]
        is_old = np.asarray(samples.known_on < begin) & ~is_new
        if is_old.any():
            pooled = {
                name: rows.where(np.asarray(rows.known_on < begin))
                for name, rows in samples.pooled.items()
            }
            return replace(samples.where(is_old), pooled=pooled), validation
    raise BarsError(
        f"Training needs labels known before validation starts, got {len(samples)} "
        f"labels in all, of which {n_validation} validate. Give more history or a "
        "smaller `validation_fraction`."
    )


@dataclass(frozen=True)
class Scaler:
    """Mean, standard deviation and range of each feature over the training rows.

    Parameters
    ----------
    mean, std : ndarray of shape (n_features,)
        In the units of each feature; `std` is positive.
    low, high : ndarray of shape (n_features,), optional
        Smallest and largest value; checkpoints of earlier versions have none.
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @classmethod
    def fit(cls, features: np.ndarray) -> "Scaler":
        """Fit on training rows, shape (n_rows, n_features).

        A feature that never moves gets a standard deviation of 1: its column becomes 0,
        which carries no information.
        """
        std = features.std(axis=0)
        # Round-off gives a constant column a spread of some 1e-16 of its size.
        is_constant = std <= 1e-12 * np.abs(features).max(axis=0)
        return cls(
            features.mean(axis=0),
            np.where(is_constant, 1.0, std),
            features.min(axis=0),
            features.max(axis=0),
        )

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Standardise rows, shape (n_rows, n_features), to float32."""
        return np.asarray((features - self.mean) / self.std, dtype=np.float32)
