"""One number that makes probabilities as sure as they are right, for reports alone."""

from typing import Final

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from trm_bt.market._typing import FloatArray, IntSessions

RANGE: Final = (0.05, 50.0)
"""Temperatures that are looked at."""


def fit_temperature(logits: FloatArray, winners: IntSessions) -> float:
    r"""Return the temperature under which the winners are the most likely.

    Parameters
    ----------
    logits : ndarray of shape (n_rows, n_allocations)
        Log-probabilities, up to a constant in each row.
    winners : ndarray of shape (n_rows,), int64
        The allocation that won.

    Returns
    -------
    float
        Above 1 where the probabilities are too sure; within `RANGE`.

    Notes
    -----
    .. math:: \min_T \; -\sum_i \ln \mathrm{softmax}(z_i / T)_{c_i}

    References
    ----------
    Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. (2017). On calibration of modern
    neural networks. ICML, arXiv:1706.04599.
    """
    rows = np.arange(len(winners))

    def surprise(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(-log_softmax(scaled, axis=1)[rows, winners].mean())

    ends = np.log(RANGE)
    found = minimize_scalar(surprise, bounds=ends, method="bounded")
    return float(np.exp(found.x))


def tempered(probabilities: FloatArray, temperatures: FloatArray) -> FloatArray:
    """Return probabilities at other temperatures; the most probable one stays so.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_allocations)
    temperatures : ndarray of shape (n_rows,)

    Examples
    --------
    >>> tempered(np.array([[0.9, 0.1]]), np.array([2.0])).round(3)
    array([[0.75, 0.25]])
    """
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities)
    return np.asarray(softmax(logs / temperatures[:, np.newaxis], axis=1))
