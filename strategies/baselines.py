"""Fixed mixes of equity, bond and cash, as benchmarks."""

import math
from collections.abc import Mapping

import pandas as pd

from trm_bt.errors import ConfigError
from trm_bt.strategies.ledger import ASSETS
from trm_bt.strategies.rebalancing import RebalancingStrategy


class FixedMix(RebalancingStrategy):
    """Hold fixed weights, rebalanced on each bar.

    Weights (1, 0, 0) buy the equity and hold it, (0.6, 0.4, 0) are the classic mix.

    Params
    ------
    weights : tuple of 3 floats, or mapping or Series by equity, bond and cash
        Weights of equity, bond and cash, summing to 1.

    Raises
    ------
    ConfigError
        If a weight is negative or the weights do not sum to 1.
    """

    params = (("weights", (0.6, 0.4, 0.0)),)

    def _trm_prepare(self) -> None:
        super()._trm_prepare()
        given = self.p.weights
        try:
            if isinstance(given, Mapping | pd.Series):  # by label, in any order
                given = [given[asset] for asset in (*ASSETS, "cash")]
            weights = [float(weight) for weight in given]
        except (KeyError, TypeError, ValueError):
            weights = []
        is_sound = len(weights) == 3 and min(weights) >= 0
        if not is_sound or not math.isclose(sum(weights), 1.0, abs_tol=1e-9):
            raise ConfigError(
                "`weights` must be shares of equity, bond and cash that sum to 1, got "
                f"{self.p.weights!r}."
            )
        self._trm_mix = (weights[0], weights[1])

    def target_weights(self) -> tuple[float, float]:
        """Return the same weights on every session."""
        return self._trm_mix
