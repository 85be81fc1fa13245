"""What an outcome is worth: utilities of realised returns."""

import numpy as np

from trm_bt.config import TrainingConfig
from trm_bt.market.bars import SESSIONS_PER_YEAR


def session_utilities(
    returns: np.ndarray, horizon: int, config: TrainingConfig
) -> np.ndarray:
    r"""Return the utility per session of each realised return.

    Parameters
    ----------
    returns : ndarray of shape (n_rows, n_allocations)
        Realised returns over the horizon, as decimals above -1.
    horizon : int
        Sessions that each return took.
    config : TrainingConfig
        Its `utility` and `risk_aversion`.

    Returns
    -------
    ndarray of shape (n_rows, n_allocations)
        Decimals per session, known when the returns are.

    Notes
    -----
    With :math:`R` the return over h sessions: linear :math:`R / h`, log
    :math:`\ln(1 + R) / h`, mean-variance :math:`(R - \lambda R^2 / 2) / h`, in which
    :math:`R^2` estimates the variance from the one outcome there is.

    References
    ----------
    Markowitz, H. (1952). Portfolio selection. Journal of Finance 7(1).
    Kelly, J. (1956). A new interpretation of information rate. Bell System Technical
    Journal 35(4).
    """
    if config.utility == "log":
        returns = np.log1p(returns)
    elif config.utility == "mean_variance":
        returns = returns - 0.5 * config.risk_aversion * returns**2
    per_session: np.ndarray = returns / horizon
    return per_session


def expected_returns(
    returns: np.ndarray, horizon: int, config: TrainingConfig
) -> np.ndarray:
    r"""Return what each allocation is expected to earn, whatever the session.

    Parameters
    ----------
    returns : ndarray of shape (n_rows, n_allocations)
        Returns over the horizon of the rows to learn from, as decimals.
    horizon : int
        Sessions that each return took.
    config : TrainingConfig
        Its `prior_sharpe`.

    Returns
    -------
    ndarray of shape (n_allocations,)
        Decimals over the horizon; in excess of cash where there is a prior.

    Notes
    -----
    Without a prior, the mean. A mean return is known badly even after decades; the
    prior takes instead that risk is paid alike wherever it is taken: with :math:`S` the
    `prior_sharpe`, per year, and :math:`\sigma` the standard deviation of the returns,
    :math:`S \sigma \sqrt{h / 252}`.

    References
    ----------
    Merton, R. (1980). On estimating the expected return on the market. Journal of
    Financial Economics 8(4). Choueifaty, Y. and Coignard, Y. (2008). Toward maximum
    diversification. Journal of Portfolio Management 35(1).
    """
    if config.prior_sharpe is None:
        return np.asarray(returns.mean(axis=0))
    per_horizon = config.prior_sharpe * np.sqrt(horizon / SESSIONS_PER_YEAR)
    return np.asarray(per_horizon * returns.std(axis=0))


def risk_utilities(
    expected: np.ndarray, variances: np.ndarray, horizon: int, config: TrainingConfig
) -> np.ndarray:
    r"""Return the utility per session of expected returns at realised risk.

    What a model that is paid this can learn is risk alone: the returns are the same in
    every row, so that nothing is gained by guessing their sign.

    Parameters
    ----------
    expected : ndarray of shape (n_allocations,)
        Expected return of each allocation over the horizon, as decimals.
    variances : ndarray of shape (n_rows, n_allocations)
        Realised variance of each over the horizon.
    horizon : int
        Sessions of the horizon.
    config : TrainingConfig
        Its `risk_aversion`.

    Returns
    -------
    ndarray of shape (n_rows, n_allocations)
        Decimals per session, known when the variances are.

    Notes
    -----
    With :math:`\bar R` the expected return over h sessions and :math:`s^2` the realised
    variance of a session, :math:`(\bar R - \lambda h s^2 / 2) / h`.

    References
    ----------
    Fleming, J., Kirby, C. and Ostdiek, B. (2001). The economic value of volatility
    timing. Journal of Finance 56(1).
    """
    per_session: np.ndarray = (
        expected - config.risk_aversion / 2 * variances
    ) / horizon
    return per_session
