"""Array types that name their dimensions, and values that JSON can hold.

An array type is an alias of a numpy array: a type checker sees the dtype alone, a
reader the dimensions too. Sessions run from the oldest to the newest; allocations,
features and assets (equity, bond, cash) stand in the order of their tables.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
"""Any shape; the docstring says which."""

FloatSessions: TypeAlias = NDArray[np.float64]
"""Shape (n_sessions,)."""

FloatSessionsByMember: TypeAlias = NDArray[np.float64]
"""Shape (n_sessions, n_members)."""

FloatSessionsByFeature: TypeAlias = NDArray[np.float64]
"""Shape (n_sessions, n_features)."""

FloatSessionsByAsset: TypeAlias = NDArray[np.float64]
"""Shape (n_sessions, 3): equity, bond and cash."""

FloatAllocations: TypeAlias = NDArray[np.float64]
"""Shape (n_allocations,)."""

FloatAllocationsBySession: TypeAlias = NDArray[np.float64]
"""Shape (n_allocations, n_sessions): numpy is fastest along a long last axis."""

FloatFeatures: TypeAlias = NDArray[np.float64]
"""Shape (n_features,)."""

IntSessions: TypeAlias = NDArray[np.int64]
"""Shape (n_sessions,): class indices or positions."""

BoolSessions: TypeAlias = NDArray[np.bool_]
"""Shape (n_sessions,)."""

BoolSessionsByFeature: TypeAlias = NDArray[np.bool_]
"""Shape (n_sessions, n_features)."""

Json: TypeAlias = (
    "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
)
"""A value that JSON can hold."""

JsonObject: TypeAlias = dict[str, Json]
"""A JSON object."""
