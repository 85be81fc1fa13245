"""Regression with errors that hold where sessions depend on each other.

Arrays are of sessions, float64, oldest first. Statsmodels takes a second to import, and
is imported where a figure needs it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from trm_bt.market.bars import SESSIONS_PER_YEAR

if TYPE_CHECKING:
    from statsmodels.regression.linear_model import RegressionResultsWrapper

_ROUND_OFF: Final = 1e-12


@dataclass(frozen=True)
class Alpha:
    """Return beyond a benchmark at the same exposure to it.

    Parameters
    ----------
    alpha_annual : float
        Intercept of the regression, times 252.
    beta : float
        Slope.
    t_value : float
        t statistic of the intercept, with the errors of Newey and West.
    p_value : float
        One-sided: no alpha, or a negative one, against a positive one.
    n_lags : int
        Autocorrelations that the errors allow for.
    """

    alpha_annual: float
    beta: float
    t_value: float
    p_value: float
    n_lags: int


def alpha(excess: np.ndarray, benchmark: np.ndarray) -> Alpha | None:
    """Regress a strategy on a benchmark; None where nothing is left to explain.

    Errors are those of `newey_west` with `usual_lags`.

    Parameters
    ----------
    excess, benchmark : ndarray of shape (n_sessions,)
    """
    if min(excess.std(), benchmark.std()) <= _ROUND_OFF:
        return None
    n_lags = usual_lags(len(excess))
    fitted = newey_west(excess, n_lags, benchmark)
    if fitted.resid.std() <= _ROUND_OFF:
        return None
    intercept, slope = map(float, fitted.params)
    t_value = float(fitted.tvalues[0])
    p_value = float(ndtr(-t_value))
    return Alpha(intercept * SESSIONS_PER_YEAR, slope, t_value, p_value, n_lags)


def usual_lags(n_sessions: int) -> int:
    r"""Return the usual number of lags, :math:`\lfloor 4 (n / 100)^{2/9} \rfloor`.

    Examples
    --------
    >>> usual_lags(252)
    4
    """
    return int(4.0 * (n_sessions / 100.0) ** (2.0 / 9.0))


def newey_west(
    values: np.ndarray, n_lags: int, *terms: np.ndarray
) -> "RegressionResultsWrapper":
    """Regress on a constant and terms by ordinary least squares.

    The errors allow for heteroskedasticity and autocorrelation.

    Parameters
    ----------
    values : ndarray of shape (n_sessions,)
    n_lags : int
        Autocorrelations that the errors allow for.
    *terms : ndarray of shape (n_sessions,)
        Without any, the constant is the mean.

    References
    ----------
    Newey, W. and West, K. (1987). A simple, positive semi-definite, heteroskedasticity
    and autocorrelation consistent covariance matrix. Econometrica 55(3),
    doi:10.2307/1913610.
    """
    from statsmodels.regression.linear_model import OLS

    return OLS(values, np.column_stack([np.ones(len(values)), *terms])).fit(
        cov_type="HAC", cov_kwds={"maxlags": n_lags, "use_correction": True}
    )
