"""Whether a confidence means what it says: how often decisions of each were right."""

from typing import Any, Final

import numpy as np

EDGES: Final = np.linspace(0.0, 1.0, 11)
"""Limits of the tenths that confidences are gathered in."""


def calibration(confidence: np.ndarray, is_right: np.ndarray) -> list[dict[str, Any]]:
    """Return how often decisions were right at each tenth of the confidence.

    Parameters
    ----------
    confidence : ndarray of shape (n_decisions,)
        Largest probability of each decision, in [0, 1].
    is_right : ndarray of shape (n_decisions,), bool
        Whether the most probable allocation turned out the best, known only when the
        outcome of the decision is.

    Returns
    -------
    list of dict
        Keys low, high, sessions, confidence (mean) and accuracy, for the tenths that
        came up; a limit belongs to the tenth above it, 1 to the last.

    Examples
    --------
    >>> sure, right = np.array([0.31, 0.39, 1.0]), np.array([True, False, True])
    >>> [(row["sessions"], row["accuracy"]) for row in calibration(sure, right)]
    [(2, 0.5), (1, 1.0)]
    """
    tenths = np.clip(np.digitize(confidence, EDGES) - 1, 0, len(EDGES) - 2)
    rows = []
    for tenth in np.unique(tenths):
        is_in = tenths == tenth
        rows.append(
            {
                "low": float(EDGES[tenth]),
                "high": float(EDGES[tenth + 1]),
                "sessions": int(is_in.sum()),
                "confidence": float(confidence[is_in].mean()),
                "accuracy": float(is_right[is_in].mean()),
            }
        )
    return rows
