"""A strategy that trades a table of target weights."""

from bisect import bisect_right

import numpy as np
import pandas as pd

from trm_bt.errors import ConfigError
from trm_bt.strategies.ledger import ASSETS
from trm_bt.strategies.rebalancing import RebalancingStrategy

_ROUND_OFF = 1e-9
_SINGLE = 1e-6
"""Rounding of three shares in single precision."""


class ScheduledWeights(RebalancingStrategy):
    """Hold the weights that a table gives for each session, known at its close.

    Params
    ------
    weights : DataFrame of shape (n_sessions, 3)
        Columns equity, bond and cash by tz-naive date; each row is at least 0 and sums
        to 1. A row of a day without a session, such as a month's last Saturday, is in
        force from the next session; on one without a row the weights are kept.
    rebalance_band, max_gap, decide_from
        As in `RebalancingStrategy`.

    Raises
    ------
    ConfigError
        If there is no table, or a row of it has no date or is no long-only portfolio.
    """

    params = (("weights", None),)

    def _trm_prepare(self) -> None:
        super()._trm_prepare()
        weights = check_weights(self.p.weights)
        weights = weights.sort_index()
        # Backtrader's date numbers are proleptic ordinals
        self._trm_days = [day.toordinal() for day in weights.index]
        self._trm_pairs = weights[list(ASSETS)].to_numpy(np.float64).tolist()

    def target_weights(self) -> tuple[float, float] | None:
        """Return the newest row since the session before, None where there is none."""
        session, dates = int(self._trm.session), self._trm.assets[0].datetime
        before = int(dates[-1]) if len(dates) > 1 else session - 1
        at = bisect_right(self._trm_days, session) - 1
        if at < 0 or self._trm_days[at] <= before:
            return None
        equity, bond = self._trm_pairs[at]
        return equity, bond


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

    Returns
    -------
    DataFrame of shape (n_sessions, 3)
        The table, without times of day.

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
    if not isinstance(weights, pd.DataFrame) or not {*columns} <= {*weights.columns}:
        got = list(weights) if isinstance(weights, pd.DataFrame) else type(weights)
        raise ConfigError(
            f"`weights` must be a DataFrame with the columns {columns}, got {got}."
        )
    index = weights.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or index.hasnans:
        raise ConfigError(
            "`weights` must be indexed by tz-naive dates, each row by one, got "
            f"{index.dtype}{' with a hole' if index.hasnans else ''}."
        )
    weights = weights.set_axis(index.normalize())
    if weights.empty:
        raise ConfigError("`weights` must have a row, got none.")
    if weights.index.has_duplicates:
        twice = weights.index[weights.index.duplicated()][0]
        raise ConfigError(f"`weights` must have one row per session, {twice} has two.")
    try:
        values = weights[columns].to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"`weights` must be numbers, but {error}.") from error
    is_right = (values >= -_ROUND_OFF).all(axis=1)
    is_right &= np.abs(values.sum(axis=1) - 1.0) <= _SINGLE
    if not is_right.all():
        row = int(is_right.argmin())
        raise ConfigError(
            "`weights` must be shares that sum to 1, on "
            f"{weights.index[row].date()} got {values[row].tolist()}."
        )
    return weights
