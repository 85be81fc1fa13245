"""A strategy that trades a table of target weights."""

import numpy as np
import pandas as pd

from trm_bt.errors import ConfigError
from trm_bt.strategies.ledger import ASSETS
from trm_bt.strategies.rebalancing import RebalancingStrategy

_ROUND_OFF = 1e-9


class ScheduledWeights(RebalancingStrategy):
    """Hold the weights that a table gives for each session, known at its close.

    Params
    ------
    weights : DataFrame of shape (n_sessions, 3)
        Columns equity, bond and cash by session; each row is at least 0 and sums to 1.
        On a session without a row the weights decided before are kept.
    rebalance_band, max_gap, decide_from
        As in `RebalancingStrategy`.

    Raises
    ------
    ConfigError
        If there is no table, or a row of it is no long-only portfolio.
    """

    params = (("weights", None),)

    def _trm_prepare(self) -> None:
        super()._trm_prepare()
        weights = check_weights(self.p.weights)
        # Backtrader's date numbers are proleptic ordinals
        ordinals = [session.toordinal() for session in weights.index]
        pairs = weights[list(ASSETS)].itertuples(index=False, name=None)
        self._trm_schedule = dict(zip(ordinals, pairs, strict=True))

    def target_weights(self) -> tuple[float, float] | None:
        """Return the row of this session, None where there is none."""
        pair = self._trm_schedule.get(int(self._trm.session))
        return None if pair is None else (float(pair[0]), float(pair[1]))


def check_weights(weights: pd.DataFrame) -> pd.DataFrame:
    """Return a table of weights if every row is a long-only portfolio.

    Parameters
    ----------
    weights : DataFrame of shape (n_sessions, 3)
        Columns equity, bond and cash by session.

    Raises
    ------
    ConfigError
        If it is no such table, or a row has a weight below 0 or does not sum to 1.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"equity": [0.6], "bond": [0.5], "cash": [0.0]},
    ...     index=pd.DatetimeIndex(["2024-01-02"]),
    ... )
    >>> check_weights(table)
    Traceback (most recent call last):
    ...
    trm_bt.errors.ConfigError: `weights` must be shares that sum to 1, on 2024-01-02 \
got [0.6, 0.5, 0.0].
    """
    columns = [*ASSETS, "cash"]
    if isinstance(weights, pd.DataFrame) and weights.index.has_duplicates:
        twice = weights.index[weights.index.duplicated()][0]
        raise ConfigError(f"`weights` must have one row per session, {twice} has two.")
    if not isinstance(weights, pd.DataFrame) or not {*columns} <= {*weights.columns}:
        got = list(weights) if isinstance(weights, pd.DataFrame) else type(weights)
        raise ConfigError(
            f"`weights` must be a DataFrame with the columns {columns}, got {got}."
        )
    values = weights[columns].to_numpy(np.float64)
    is_right = (values >= -_ROUND_OFF).all(axis=1)
    is_right &= np.abs(values.sum(axis=1) - 1.0) <= _ROUND_OFF
    if not is_right.all():
        row = int(is_right.argmin())
        raise ConfigError(
            "`weights` must be shares that sum to 1, on "
            f"{weights.index[row].date()} got {values[row].tolist()}."
        )
    return weights
