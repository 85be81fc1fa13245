r"""Which forecasts next week's variance better, the network or a simple model.

The network forecasts no variance. But it says how probable each allocation is to win,
and weeks that one of them wins have a variance that is known from the past: by the law
of total expectation its probabilities imply

.. math:: \hat\sigma^2_a = \sum_c p(c) \; \overline{\sigma^2_a \mid c \text{ won}}

with the means over the labels that the deciding model knew. That holds of a network
that learns to name the winner; one that is paid for utility alone implies nothing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from trm_bt.config import TRMConfig
from trm_bt.evaluation.benchmarks import OURS, DecisionRecord
from trm_bt.evaluation.claims import LEVEL
from trm_bt.evaluation.metrics import MIN_SESSIONS
from trm_bt.evaluation.regression import newey_west, usual_lags
from trm_bt.figures import number, signed
from trm_bt.market._typing import FloatArray
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.variance import ewma_variance, expanding_forecast, har_terms
from trm_bt.strategies.rules import history_of

MODELS: Final = {
    OURS: "what TRM implies",
    "ewma": "EWMA",
    "har": "HAR",
    "har_vix": "HAR with the volatility index",
}
"""What each model is called in a sentence."""


@dataclass(frozen=True)
class RiskForecasts:
    """Variances of one session that models forecast, and those that came.

    Parameters
    ----------
    realised : DataFrame of shape (n_sessions, n_allocations)
        Of each held allocation over the horizon of a label, by deciding session; NaN
        where it is not known.
    forecasts : dict of str to DataFrame of shape (n_sessions, n_allocations)
        By model, known at the close of the deciding session.
    horizon : int
        Sessions that each outcome took.
    """

    realised: pd.DataFrame
    forecasts: dict[str, pd.DataFrame]
    horizon: int


@dataclass(frozen=True)
class RiskModel:
    """How well one model forecasts variance; less QLIKE is better.

    Parameters
    ----------
    qlike : float
        Mean over sessions and allocations.
    by_allocation : dict of str to float
        The same by allocation.
    difference : float or None
        What TRM implies less this model, by mean QLIKE; None for TRM and where it
        implies nothing.
    low, high, p_value : float or None
        Its interval of 95 % and two-sided p-value (Diebold and Mariano).
    """

    qlike: float
    by_allocation: dict[str, float]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class RiskSkill:
    """The models on the sessions that all of them forecast and whose outcome is known.

    `n_lags` is the number of autocorrelations that the intervals allow for.
    """

    sessions: int
    n_lags: int
    best: str
    models: dict[str, RiskModel]


def risk_forecasts(
    bars: Bars, decisions: DecisionRecord, labels: pd.DataFrame, config: TRMConfig
) -> RiskForecasts | None:
    """Forecast the variance of each allocation, by every model that can.

    Parameters
    ----------
    bars : Bars
        The whole history.
    decisions : DecisionRecord
    labels : DataFrame of shape (n_labels, n_columns)
        Of the whole history.
    config : TRMConfig

    Returns
    -------
    RiskForecasts or None
        None if labels have no variances because their horizon is under two sessions.
        An allocation that never moves is left out.
    """
    table, horizon = Allocations.of(config.labels.allocations), config.labels.horizon
    columns = list(table.columns("variance"))
    if not {*columns} <= {*labels} or labels.empty:
        return None
    moves = (labels[columns] > 0.0).any().to_numpy()
    names = [name for name, moving in zip(table.names, moves, strict=True) if moving]
    variances = labels[[c for c, moving in zip(columns, moves, strict=True) if moving]]
    variances = variances.set_axis(names, axis=1) / horizon
    outcomes = variances.reindex(bars.sessions)
    squares = (history_of(bars).excess @ table.weights[moves, :2].T) ** 2
    implied = (bars.volatility["close"].to_numpy() / 100.0) ** 2 / SESSIONS_PER_YEAR
    found: dict[str, list[FloatArray]] = {"ewma": [], "har": [], "har_vix": []}
    for square, outcome in zip(squares.T, outcomes.to_numpy().T, strict=True):
        terms = har_terms(square)
        more = np.column_stack([terms, implied])
        found["ewma"].append(ewma_variance(square))
        found["har"].append(expanding_forecast(terms, outcome, horizon + 1))
        found["har_vix"].append(expanding_forecast(more, outcome, horizon + 1))
    sessions = decisions.sessions
    forecasts = {
        name: pd.DataFrame(dict(zip(names, rows, strict=True)), bars.sessions)
        for name, rows in found.items()
    }
    training = config.training
    if training.strategy_loss_weight > 0 and training.target == "label":
        ours = implied_variances(decisions, labels, variances)
        forecasts = forecasts if ours is None else {OURS: ours, **forecasts}
    return RiskForecasts(
        outcomes.loc[sessions],
        {name: rows.loc[sessions] for name, rows in forecasts.items()},
        horizon,
    )


def implied_variances(
    decisions: DecisionRecord, labels: pd.DataFrame, variances: pd.DataFrame
) -> pd.DataFrame | None:
    """Return the variances that the network's probabilities imply.

    Parameters
    ----------
    decisions : DecisionRecord
    labels, variances : DataFrame of shape (n_labels, n_columns)
        Winners of the whole history, and the variance of each allocation that followed.

    Returns
    -------
    DataFrame of shape (n_sessions, n_allocations) or None
        NaN where it abstained; None if the decisions have no probabilities. An
        allocation that never won in what a model knew counts as the mean of all weeks.
    """
    if decisions.probs is None:
        return None
    found = pd.DataFrame(np.nan, decisions.sessions, variances.columns)
    for known_on, block in decisions.known_by.groupby(decisions.known_by):
        is_known = labels["known_on"] <= known_on
        known, winners = variances[is_known], labels.loc[is_known, "winner"]
        if known.empty:
            continue
        by_winner = known.groupby(winners).mean()
        by_winner = by_winner.reindex(range(decisions.probs.shape[1]))
        rows = decisions.sessions.get_indexer(block.index)
        means = by_winner.fillna(known.mean()).to_numpy()
        found.iloc[rows] = decisions.probs[rows] @ means
    return found


def risk_skill(given: RiskForecasts) -> RiskSkill | None:
    r"""Compare forecasts of variance by QLIKE; None on fewer than `MIN_SESSIONS`.

    Notes
    -----
    With :math:`x = \sigma^2 / \hat\sigma^2`, QLIKE is :math:`x - \ln x - 1`: of the
    losses that rank forecasts rightly though variance is seen with noise, the one that
    large variances do not rule. Errors are those of Newey and West.

    References
    ----------
    Patton, A. (2011). Volatility forecast comparison using imperfect volatility
    proxies. Journal of Econometrics 160(1), doi:10.1016/j.jeconom.2010.03.034.
    Diebold, F. and Mariano, R. (1995). Comparing predictive accuracy. Journal of
    Business & Economic Statistics 13(3), doi:10.1080/07350015.1995.10524599.
    """
    forecasts = {name: table.to_numpy() for name, table in given.forecasts.items()}
    everything = [given.realised.to_numpy(), *forecasts.values()]
    is_known = np.logical_and.reduce([(rows > 0.0).all(axis=1) for rows in everything])
    n_sessions = int(is_known.sum())
    if n_sessions < MIN_SESSIONS:
        return None
    losses = {
        name: qlike(everything[0][is_known], rows[is_known])
        for name, rows in forecasts.items()
    }
    # outcomes of neighbours overlap by all but one session
    n_lags = max(usual_lags(n_sessions), given.horizon - 1)
    models, names = {}, list(map(str, given.realised))
    for name, loss in losses.items():
        means = dict(zip(names, loss.mean(axis=0).tolist(), strict=True))
        against: tuple[float, ...] = ()
        if OURS in losses and name != OURS:
            against = diebold_mariano((losses[OURS] - loss).mean(axis=1), n_lags)
        models[name] = RiskModel(float(loss.mean()), means, *against)
    best = min(models, key=lambda name: models[name].qlike)
    return RiskSkill(n_sessions, n_lags, best, models)


def qlike(realised: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the QLIKE loss of each forecast; arrays of one shape, above 0.

    Examples
    --------
    >>> qlike(np.array([1.0, 2.0]), np.array([1.0, 1.0])).round(3)
    array([0.   , 0.307])
    """
    ratio = realised / forecast
    return np.asarray(ratio - np.log(ratio) - 1.0)


def diebold_mariano(
    differences: FloatArray, n_lags: int
) -> tuple[float, float, float, float]:
    """Return mean, ends of its interval, and the two-sided p-value of a mean of 0.

    Parameters
    ----------
    differences : ndarray of shape (n_sessions,)
        Of the losses of two forecasts.
    n_lags : int
        Autocorrelations that the error allows for.
    """
    fitted = newey_west(differences, n_lags)
    mean, error = float(fitted.params[0]), float(fitted.bse[0])
    reach = -float(ndtri(LEVEL / 2.0)) * error
    p_value = 2.0 * float(ndtr(-abs(mean) / error)) if error else 1.0
    return mean, mean - reach, mean + reach, p_value


def risk_sentence(skill: RiskSkill) -> str:
    """Say which model forecasts variance best, and what is shown of TRM."""
    best = skill.models[skill.best]
    said = (
        f"The best forecast of next week's variance is {MODELS[skill.best]}: QLIKE "
        f"{number(best.qlike, 3)}"
    )
    if OURS not in skill.models:
        return f"{said}. TRM implies none: it does not learn to name the winner."
    if skill.best == OURS:
        others = [name for name in skill.models if name != OURS]
        other = min(others, key=lambda name: skill.models[name].qlike)
    else:
        other = skill.best
    found = skill.models[other]
    ends = [signed(value, 3) for value in (found.difference, found.low, found.high)]
    is_shown = found.p_value is not None and found.p_value <= LEVEL
    ours = number(skill.models[OURS].qlike, 3)
    return (
        f"{said}. The one that TRM's probabilities imply has {ours}: it differs from "
        f"{MODELS[other]} by {ends[0]} (95% interval {ends[1]} to {ends[2]}), "
        f"{'more' if is_shown else 'no more'} than chance gives."
    )
