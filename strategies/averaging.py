"""From the newest decisions of a policy to the weights that they come to."""

from collections import deque
from typing import Final, Literal

import numpy as np

from trm_bt.market._typing import FloatAllocations, FloatArray
from trm_bt.market.decisions import Decision
from trm_bt.strategies.schedule import Weights

CASH: Final[Weights] = (0.0, 0.0)


class Averaging:
    """Average the probabilities of the last decisions, and hold what is most probable.

    Parameters
    ----------
    table : ndarray of shape (n_allocations, 3)
        Weights of equity, bond and cash of each allocation.
    n_averaged : int
        Decisions averaged, fewer after the start or an abstention.
    decision : {"argmax", "blend"}
        Hold the most probable allocation, or all of them mixed by probability.
    min_confidence : float
        Below this largest probability the weights decided before are kept.
    recent : deque of ndarrays of shape (n_allocations,), optional
        Probabilities of the last decisions, where somebody else keeps them.
    """

    def __init__(
        self,
        table: FloatArray,
        *,
        n_averaged: int,
        decision: Literal["argmax", "blend"],
        min_confidence: float,
        recent: deque[FloatAllocations] | None = None,
    ) -> None:
        self._table = table
        self._is_blend = decision == "blend"
        self._min_confidence = min_confidence
        self._n_averaged = n_averaged
        self._recent: deque[FloatAllocations] = deque() if recent is None else recent

    def weigh(self, decision: Decision) -> Weights | None:
        """Return the weights that the next decision comes to; None keeps the last.

        While the policy abstains, cash is held, and nothing is averaged with it.
        """
        if decision.allocation is None:
            self._recent.clear()
            return CASH
        self._recent.append(decision.probabilities)
        while len(self._recent) > self._n_averaged:
            self._recent.popleft()
        alone = len(self._recent) == 1  # then it is the policy that breaks ties
        shares = decision.probabilities if alone else np.mean(self._recent, axis=0)
        if shares.max() < self._min_confidence:
            return None
        if self._is_blend:
            weights = shares @ self._table
        else:
            chosen = decision.allocation if alone else int(shares.argmax())
            weights = self._table[chosen]
        return float(weights[0]), float(weights[1])
