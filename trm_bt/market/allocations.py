"""The eight fixed allocations, class index first."""

from typing import Final

import numpy as np

ALLOCATION_NAMES: Final = (
    "ultra_defensive",
    "defensive",
    "balanced_safe",
    "balanced_growth",
    "growth",
    "aggressive_growth",
    "contrarian_long",
    "tactical_opportunity",
)

ALLOCATION_WEIGHTS: Final = np.array(
    [
        [0.20, 0.50, 0.30],
        [0.40, 0.30, 0.30],
        [0.60, 0.20, 0.20],
        [0.70, 0.20, 0.10],
        [0.80, 0.15, 0.05],
        [0.90, 0.10, 0.00],
        [0.85, 0.15, 0.00],
        [0.75, 0.25, 0.00],
    ]
)
"""Weights of equity, bond and cash, shape (8, 3); each row sums to 1."""

ALLOCATION_WEIGHTS.setflags(write=False)
