"""The fixed allocations: the only list of them, from which everything else derives."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from trm_bt.market._typing import FloatArray

ALLOCATIONS: Final[Mapping[str, tuple[float, float, float]]] = MappingProxyType(
    {
        "ultra_defensive": (0.20, 0.50, 0.30),
        "defensive": (0.40, 0.30, 0.30),
        "balanced_safe": (0.60, 0.20, 0.20),
        "balanced_growth": (0.70, 0.20, 0.10),
        "growth": (0.80, 0.15, 0.05),
        "aggressive_growth": (0.90, 0.10, 0.00),
        "contrarian_long": (0.85, 0.15, 0.00),
        "tactical_opportunity": (0.75, 0.25, 0.00),
    }
)
"""Weights of equity, bond and cash by name, in the order of the class indices."""

ALLOCATION_NAMES: Final = tuple(ALLOCATIONS)
N_ALLOCATIONS: Final = len(ALLOCATIONS)

ALLOCATION_WEIGHTS: Final[FloatArray] = np.array(list(ALLOCATIONS.values()))
"""The same weights, shape (n_allocations, 3); each row sums to 1."""

ALLOCATION_WEIGHTS.setflags(write=False)
