"""The rows of a training as tensors, and all that is fitted on them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, ConfigError
from trm_bt.fields import PooledRows
from trm_bt.learning.dataset import Samples, Scaler
from trm_bt.learning.devices import pick_device
from trm_bt.learning.losses import Targets, class_weights, utility_scale
from trm_bt.learning.pool import effective_weights
from trm_bt.market.allocations import Allocations
from trm_bt.market.regimes import Regimes
from trm_bt.market.utility import expected_returns, risk_utilities, session_utilities


def check_allocations(samples: Samples, config: TRMConfig) -> None:
    """Refuse labels of another number of allocations than the settings have."""
    n_set = len(Allocations.of(config.labels.allocations))
    for rows in samples.universes:
        if (n_labelled := rows.returns.shape[1]) != n_set:
            raise ConfigError(
                "Labels and settings must have the same allocations, the labels have "
                f"{n_labelled} and `labels.allocations` {n_set}. Label the bars with "
                "the settings that you train with."
            )


@dataclass(frozen=True)
class Universe:
    """Training rows of one universe, and what is fitted on them.

    Parameters
    ----------
    rows : Samples of n_rows
        With the winners that `training.target` requires.
    utilities : ndarray of shape (n_rows, n_allocations)
        Utility of each allocation, as decimals per session.
    scaler : Scaler
        Standardisation of the features.
    scale : float
        What utilities are divided by.
    """

    rows: Samples
    utilities: np.ndarray
    scaler: Scaler
    scale: float

    @classmethod
    def of(cls, rows: Samples, config: TRMConfig) -> "Universe":
        """Fit all of it on training rows."""
        utilities = _utilities(rows, rows, config)
        scale = utility_scale(utilities)
        return cls(
            _aimed(rows, rows, utilities, config),
            utilities,
            Scaler.fit(rows.features),
            scale,
        )

    def features(self, rows: Samples) -> np.ndarray:
        """Return the features of rows, standardised."""
        return self.scaler.transform(rows.features)

    def scaled(self, utilities: np.ndarray) -> np.ndarray:
        """Return utilities as a loss takes them."""
        return np.asarray(utilities / self.scale, dtype=np.float32)


class Rows:
    """Both sides of the split as tensors; what is fitted is fitted on the old side.

    Parameters
    ----------
    old, new : Samples
        Training and validation rows. Where the old ones are pooled with rows of further
        universes, each universe is standardised by its own rows and its utilities are
        divided by their own spread; the new ones by those of the first universe.
    config : TRMConfig
        Utility, target and class weighting.

    Attributes
    ----------
    old, new : Samples of n_rows each
        The rows of the first universe, with the winners that `training.target`
        requires.
    utilities, new_utilities : ndarray of shape (n_rows, n_allocations)
        Utility of each allocation in them, as decimals per session.
    scaler : Scaler
        Standardisation of the first universe's training features.
    weights : ndarray of shape (n_train,) or None
        How much each training row counts, universe by universe; None where there is
        one universe.
    class_weights : Tensor of shape (n_allocations,)
        Weights of the cross-entropy.
    features, new_features : Tensor of shape (n_train, n_features) and (n_rows, ...)
        Standardised features, those to train on of all universes.
    targets, new_targets : Targets
        What the network should answer.
    """

    def __init__(self, old: Samples, new: Samples, config: TRMConfig) -> None:
        self._pool = [Universe.of(rows, config) for rows in old.universes]
        first = self._pool[0]
        self.old, self.utilities = first.rows, first.utilities
        self.scaler = first.scaler
        self.new_utilities = _utilities(old, new, config)
        self.new = _aimed(old, new, self.new_utilities, config)
        self.weights = self._weights()
        device = pick_device(config.training.device)

        def tensor(*parts: np.ndarray) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).to(device)

        winners = np.concatenate([each.rows.winners for each in self._pool])
        self.class_weights = tensor(
            class_weights(
                winners, config.training, old.returns.shape[1], self.weights
            ).astype(np.float32)
        )
        self.features = tensor(*[each.features(each.rows) for each in self._pool])
        self.targets = Targets(
            tensor(winners),
            tensor(*[each.scaled(each.utilities) for each in self._pool]),
            None if self.weights is None else tensor(self.weights.astype(np.float32)),
        )
        self.new_features = tensor(first.features(new))
        self.new_targets = Targets(
            tensor(self.new.winners), tensor(first.scaled(self.new_utilities))
        )

    @property
    def n_train(self) -> int:
        """Rows to train on, of all universes."""
        return len(self.features)

    @property
    def n_effective(self) -> float:
        """What they count for: their number where there is one universe."""
        return self.n_train if self.weights is None else float(self.weights.sum())

    def pooled(self) -> tuple[PooledRows, ...]:
        """Describe the rows of each further universe."""
        if self.weights is None:
            return ()
        ends = np.cumsum([len(each.rows) for each in self._pool])[:-1]
        _, *weights = np.split(self.weights, ends)
        return tuple(
            PooledRows(
                name=name,
                train_start=rows.sessions[0].date(),
                train_end=rows.sessions[-1].date(),
                n_train=len(rows),
                n_effective=float(own.sum()),
            )
            for (name, rows), own in zip(self.old.pooled.items(), weights, strict=True)
        )

    def _weights(self) -> np.ndarray | None:
        """Return how much each training row counts, None for all alike."""
        if len(self._pool) == 1:
            return None
        rows = [each.rows for each in self._pool]
        utilities = [each.utilities for each in self._pool]
        return np.concatenate(effective_weights(rows, utilities))


def _aimed(
    old: Samples, rows: Samples, utilities: np.ndarray, config: TRMConfig
) -> Samples:
    """Return rows with the winners that `training.target` requires."""
    if config.training.target == "label":
        return rows
    if config.training.target == "utility":
        return replace(rows, winners=utilities.argmax(axis=1))
    aversion = config.training.risk_aversion
    regimes = Regimes.fit(old.returns, _variances(old), aversion)
    return replace(rows, winners=regimes.allocations(_variances(rows)))


def _utilities(old: Samples, rows: Samples, config: TRMConfig) -> np.ndarray:
    """Return the utility of each allocation in rows, by what the old ones expect."""
    horizon, settings = config.labels.horizon, config.training
    if settings.utility != "risk":
        return session_utilities(rows.returns, horizon, settings)
    variances = _variances(rows)
    expected = expected_returns(old.returns, horizon, settings)
    return risk_utilities(expected, variances, horizon, settings)


def _variances(rows: Samples) -> np.ndarray:
    """Return the variances of the labels; raise `BarsError` if they have none."""
    if rows.variances is None:
        raise BarsError(
            'The `training.utility` "risk" and the `training.target` "regime" need '
            "labels with the columns variance_<allocation>, got none. Label the bars "
            "anew."
        )
    return rows.variances
