r"""Whether a Sharpe ratio, or a lead, is more than luck.

Arrays are session returns in excess of cash as decimals, float64, oldest first. Sharpe
ratios are annual where the name says so and of one session otherwise. Nothing here
makes sense under `trm_bt.evaluation.metrics.MIN_SESSIONS` sessions; callers see to it.
Arch takes a second to import, and is imported where a figure needs it; scipy.special
has the normal distribution without the rest of scipy.stats.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from trm_bt.evaluation.claims import POWER, Lead
from trm_bt.market.bars import SESSIONS_PER_YEAR

CONFIDENCE: Final = 0.95
SET_SIZE: Final = 0.10
"""Strategies of a larger p-value are in the model confidence set."""
_YEAR: Final = float(np.sqrt(SESSIONS_PER_YEAR))
_ROUND_OFF: Final = 1e-12


@dataclass(frozen=True)
class Resampling:
    """How histories are resampled, in stationary blocks of all strategies together.

    Parameters
    ----------
    block : float
        Mean length of a block in sessions; `block_length` gives one.
    n_draws : int
        Number of histories.
    seed : int
        Seed of the generator.
    """

    block: float
    n_draws: int = 2000
    seed: int = 0

    def generator(self) -> np.random.Generator:
        """Return a new generator, the same each time."""
        return np.random.default_rng(self.seed)


def sharpe_ratios(excess: np.ndarray) -> np.ndarray:
    """Return the Sharpe ratio of one session of each column.

    Parameters
    ----------
    excess : ndarray of shape (n_sessions, n_strategies)

    Returns
    -------
    ndarray of shape (n_strategies,)
        Mean over standard deviation (divisor n - 1); NaN where nothing varies.
    """
    deviation = excess.std(axis=0, ddof=1)
    has_risk = deviation > _ROUND_OFF
    safe = np.where(has_risk, deviation, 1.0)
    return np.where(has_risk, excess.mean(axis=0) / safe, np.nan)


def block_length(excess: np.ndarray) -> float:
    """Return the mean block length, in sessions, for resampling one strategy.

    The longer of the lengths for the returns and for their squares, because a Sharpe
    ratio is made of both; at least 1.

    Parameters
    ----------
    excess : ndarray of shape (n_sessions,)

    References
    ----------
    Politis, D. and White, H. (2004). Automatic block-length selection for the
    dependent bootstrap. Econometric Reviews 23(1), doi:10.1081/ETC-120028836.
    Patton, A., Politis, D. and White, H. (2009). Correction to it. Econometric Reviews
    28(4), doi:10.1080/07474930802459016.
    """
    from arch.bootstrap import optimal_block_length

    if excess.std() <= _ROUND_OFF:
        return 1.0
    both = [optimal_block_length(each)["stationary"] for each in (excess, excess**2)]
    return max(1.0, *(float(length.iloc[0]) for length in both))


def resampled_sharpes(excess: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Return annual Sharpe ratios of resampled histories.

    Every draw takes the same sessions of all strategies, so that differences between
    two of them keep what the two have in common.

    Parameters
    ----------
    excess : ndarray of shape (n_sessions, n_strategies)
    resampling : Resampling

    Returns
    -------
    ndarray of shape (n_draws, n_strategies)

    References
    ----------
    Politis, D. and Romano, J. (1994). The stationary bootstrap. Journal of the American
    Statistical Association 89(428), doi:10.2307/2290993.
    """
    from arch.bootstrap import StationaryBootstrap

    n_sessions, n_strategies = excess.shape
    positions = np.arange(n_sessions)
    bootstrap = StationaryBootstrap(
        resampling.block,  # type: ignore[arg-type] # a mean length, which need not be whole
        positions,
        seed=resampling.generator(),
    )
    # a draw is how often it takes each session: two sums say all that a ratio needs
    centre = excess.mean(axis=0)
    moments = np.column_stack([excess - centre, (excess - centre) ** 2])
    sums = np.empty((resampling.n_draws, 2 * n_strategies))
    for draw, (taken, _) in enumerate(bootstrap.bootstrap(resampling.n_draws)):
        sums[draw] = np.bincount(taken[0], minlength=n_sessions) @ moments
    means = sums[:, :n_strategies] / n_sessions
    variances = sums[:, n_strategies:] / n_sessions - means**2
    deviations = np.sqrt(np.maximum(variances, 0) * n_sessions / (n_sessions - 1))
    safe = np.where(deviations > _ROUND_OFF, deviations, np.nan)
    return np.asarray((centre + means) / safe * _YEAR)


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return the ends of the middle `CONFIDENCE` of `draws`, shape (n_draws,)."""
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(draws, [tail, 100.0 - tail])
    return float(low), float(high)


def lead(difference: float, draws: np.ndarray) -> Lead:
    r"""Return how likely luck is behind a difference of two annual Sharpe ratios.

    Parameters
    ----------
    difference : float
        The difference found.
    draws : ndarray of shape (n_draws,)
        Differences in resampled histories.

    Notes
    -----
    Under the null the draws would centre on zero instead of on d; unlike the source,
    differences are not studentised. The interval is of the same distances, so that
    both say the same:

    .. math:: p = (1 + \#\{|d^* - d| \ge |d|\}) / (1 + n)

    References
    ----------
    Ledoit, O. and Wolf, M. (2008). Robust performance hypothesis testing with the
    Sharpe ratio. Journal of Empirical Finance 15(5), doi:10.1016/j.jempfin.2008.03.002.
    """
    away = np.abs(draws - difference)
    n_as_large = int((away >= abs(difference)).sum())
    p_value = (1 + n_as_large) / (1 + len(draws))
    reach = float(np.quantile(away, CONFIDENCE, method="higher"))
    return Lead(difference, difference - reach, difference + reach, p_value, p_value)


def detectable(draws: np.ndarray, level: float) -> float | None:
    r"""Return the smallest difference that would be shown in `POWER` of histories.

    Parameters
    ----------
    draws : ndarray of shape (n_draws,)
        Differences of two annual Sharpe ratios in resampled histories.
    level : float
        Largest two-sided p-value that shows a difference.

    Returns
    -------
    float or None
        None where so few draws have no p-value as small.

    Notes
    -----
    With s the standard deviation of the draws, :math:`\alpha` the level and
    :math:`\pi` the power:

    .. math:: s \left(\Phi^{-1}(1 - \alpha / 2) + \Phi^{-1}(\pi)\right)

    Examples
    --------
    >>> round(detectable(np.tile([-0.1, 0.1], 100), 0.05), 3)
    0.281
    """
    if level * (1 + len(draws)) < 1.0:
        return None
    quantiles = ndtri(POWER) - ndtri(level / 2.0)
    return float(draws.std(ddof=1) * quantiles)


def probabilistic_sharpe(
    sharpe: float, benchmark: float, n_sessions: int, skew: float, kurtosis: float
) -> float:
    r"""Return the probability that the true Sharpe ratio exceeds a benchmark.

    Parameters
    ----------
    sharpe, benchmark : float
        Ratios of one session, not annual.
    n_sessions : int
        Returns that `sharpe` was found on.
    skew, kurtosis : float
        Of these returns; a normal distribution has 0 and 3.

    Notes
    -----
    .. math::
        \Phi\left(\frac{(S - S^*) \sqrt{n - 1}}
        {\sqrt{1 - \gamma_3 S + \frac{\gamma_4 - 1}{4} S^2}}\right)

    References
    ----------
    Bailey, D. and López de Prado, M. (2012). The Sharpe ratio efficient frontier.
    Journal of Risk 15(2), doi:10.21314/JOR.2012.255.

    Examples
    --------
    >>> round(probabilistic_sharpe(0.1, 0.0, 252, 0.0, 3.0), 4)
    0.943
    """
    spread = np.sqrt(1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2)
    score = (sharpe - benchmark) * np.sqrt(n_sessions - 1.0) / spread
    return float(ndtr(score))


def expected_best_sharpe(variance: float, n_trials: int) -> float:
    r"""Return the best Sharpe ratio that `n_trials` worthless trials would show.

    Parameters
    ----------
    variance : float
        Of the ratios across trials, of one session.
    n_trials : int
        Independent trials, at least 1; of one trial nothing is the best.

    Notes
    -----
    With :math:`\gamma` the Euler-Mascheroni constant:

    .. math::
        \sqrt{V} \left((1 - \gamma) \Phi^{-1}(1 - 1/N)
        + \gamma \Phi^{-1}(1 - 1/(N e))\right)

    References
    ----------
    Bailey, D. and López de Prado, M. (2014). The deflated Sharpe ratio. Journal of
    Portfolio Management 40(5), doi:10.3905/jpm.2014.40.5.094.

    Examples
    --------
    The paper's example: 100 trials, and a variance of a half a year.

    >>> round(expected_best_sharpe(0.5 / 250, 100), 4)
    0.1132
    >>> expected_best_sharpe(0.5 / 250, 1)
    0.0
    """
    if n_trials <= 1:
        return 0.0
    best = (1.0 - np.euler_gamma) * ndtri(1.0 - 1.0 / n_trials)
    best += np.euler_gamma * ndtri(1.0 - 1.0 / (n_trials * math.e))
    return float(np.sqrt(variance) * best)


def superiority(
    benchmark: np.ndarray, others: np.ndarray, resampling: Resampling
) -> float:
    """Return Hansen's consistent p-value of "none of the others beats the benchmark".

    Parameters
    ----------
    benchmark : ndarray of shape (n_sessions,)
        Returns in units of their own volatility, so that means are Sharpe ratios.
    others : ndarray of shape (n_sessions, n_others)
        The same of the others.
    resampling : Resampling

    References
    ----------
    Hansen, P. R. (2005). A test for superior predictive ability. Journal of Business
    and Economic Statistics 23(4), doi:10.1198/073500105000000063.
    """
    from arch.bootstrap import SPA

    test = SPA(
        -benchmark,
        -others,
        block_size=int(np.ceil(resampling.block)),
        reps=resampling.n_draws,
        bootstrap="stationary",
        seed=resampling.generator(),
    )
    test.compute()
    return float(test.pvalues["consistent"])


def confidence_set(scaled: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Return the p-value with which each strategy stays among the best.

    Strategies of a p-value above `SET_SIZE` are the model confidence set.

    Parameters
    ----------
    scaled : ndarray of shape (n_sessions, n_strategies)
        Returns in units of their own volatility.
    resampling : Resampling

    Returns
    -------
    ndarray of shape (n_strategies,)

    References
    ----------
    Hansen, P. R., Lunde, A. and Nason, J. M. (2011). The model confidence set.
    Econometrica 79(2), doi:10.3982/ECTA5771.
    """
    from arch.bootstrap import MCS

    test = MCS(
        -scaled,
        size=SET_SIZE,
        block_size=int(np.ceil(resampling.block)),
        reps=resampling.n_draws,
        bootstrap="stationary",
        seed=resampling.generator(),
    )
    test.compute()
    return test.pvalues["Pvalue"].sort_index().to_numpy(np.float64)
