"""The allocations: the eight, or your own table; everything else derives from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from pydantic import ValidationError

from trm_bt.config import LabelConfig, explain
from trm_bt.errors import ConfigError
from trm_bt.fields import AllocationConfig
from trm_bt.market._typing import FloatArray
from trm_bt.reading import read_json
from trm_bt.text import reason_of

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


@dataclass(frozen=True, eq=False)
class Allocations:
    """The allocations that a model chooses from.

    Parameters
    ----------
    names : tuple of n_allocations str
        In the order of the class indices.
    weights : ndarray of shape (n_allocations, 3)
        Weights of equity, bond and cash; each row sums to 1.
    """

    names: tuple[str, ...]
    weights: FloatArray

    @classmethod
    def of(cls, table: Sequence[AllocationConfig] | None) -> "Allocations":
        """Return the allocations of your own table, or the eight if there is none.

        Examples
        --------
        >>> len(Allocations.of(None))
        8
        >>> half = AllocationConfig(name="half", equity=0.5, bond=0.2)
        >>> Allocations.of([half]).weights.tolist()
        [[0.5, 0.2, 0.3]]
        """
        if table is None:
            return cls(ALLOCATION_NAMES, ALLOCATION_WEIGHTS)
        rows = [
            (a.equity, a.bond, max(round(1.0 - a.equity - a.bond, 12), 0.0))
            for a in table
        ]
        weights = np.array(rows)
        weights.setflags(write=False)
        return cls(tuple(a.name for a in table), weights)

    def __len__(self) -> int:
        return len(self.names)

    def columns(self, prefix: str) -> list[str]:
        """Return the columns of a value by allocation, such as `prob_growth`."""
        return [f"{prefix}_{name}" for name in self.names]

    def describe(self) -> str:
        """Return names and weights in a line."""
        shares = (
            "/".join(f"{share:.0%}".rstrip("%") for share in row)
            for row in self.weights.tolist()
        )
        return ", ".join(map(" ".join, zip(self.names, shares, strict=True)))

    def is_same(self, other: "Allocations") -> bool:
        """Return whether both name the same weights in the same order."""
        return self.names == other.names and np.array_equal(self.weights, other.weights)


def read_allocations(path: Path) -> tuple[AllocationConfig, ...]:
    """Read your own table: a JSON object of shares of equity and bond by name.

    ``{"calm": [0.2, 0.6], "bold": {"equity": 1, "bond": 0}}``; the rest is cash.

    Raises
    ------
    ConfigError
        If the file is no such table; the sentence names the file and the rule.
    """
    try:
        table = json.loads(read_json(path))
        read = LabelConfig.model_validate({"allocations": table}).allocations
    except ValidationError as error:  # a ValueError as well
        raise ConfigError(f"{path}: {explain(LabelConfig, error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read as JSON: {reason_of(error)}."
        ) from error
    if read is None:
        raise ConfigError(f"{path}: must hold a table of allocations, got null.")
    return read
