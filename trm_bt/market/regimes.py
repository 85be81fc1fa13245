"""Two regimes of the sessions ahead, calm and turbulent, and what suits each."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Regimes:
    """Which outcomes are turbulent, and the best allocation of each regime.

    Parameters
    ----------
    riskiest : int
        Allocation whose realised variance tells the regime.
    limit : float
        Its variance over the horizon above which an outcome is turbulent.
    calm, turbulent : int
        Class index of the best allocation of each.
    """

    riskiest: int
    limit: float
    calm: int
    turbulent: int

    @classmethod
    def fit(
        cls,
        returns: np.ndarray,
        variances: np.ndarray,
        risk_aversion: float,
    ) -> "Regimes":
        r"""Fit on the outcomes of the rows to learn from.

        Parameters
        ----------
        returns : ndarray of shape (n_rows, n_allocations)
            Returns over the horizon, as decimals.
        variances : ndarray of shape (n_rows, n_allocations)
            Realised variance of each over the horizon.
        risk_aversion : float
            :math:`\lambda` below.

        Notes
        -----
        The limit is the median. In each regime the best allocation has the highest mean
        of :math:`R - \lambda V / 2`, with :math:`R` the return over the horizon and
        :math:`V` its realised variance.

        References
        ----------
        Ang, A. and Bekaert, G. (2002). International asset allocation with regime
        shifts. Review of Financial Studies 15(4).
        """
        riskiest = int(variances.mean(axis=0).argmax())
        limit = float(np.median(variances[:, riskiest]))
        utilities = returns - risk_aversion / 2 * variances
        is_turbulent = variances[:, riskiest] > limit
        calm, turbulent = (
            int(utilities[rows].mean(axis=0).argmax()) if rows.any() else 0
            for rows in (~is_turbulent, is_turbulent)
        )
        return cls(riskiest, limit, calm, turbulent)

    def allocations(self, variances: np.ndarray) -> np.ndarray:
        """Return the allocation of each row's regime, int64, shape (n_rows,).

        `variances` are of shape (n_rows, n_allocations), known with the outcomes.
        """
        is_turbulent = variances[:, self.riskiest] > self.limit
        return np.where(is_turbulent, self.turbulent, self.calm).astype(np.int64)
