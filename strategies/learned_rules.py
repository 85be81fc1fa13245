"""Rules that learn from labels or returns, trained when the allocator's models were.

Each returns a class index a session, or weights, known at its close. `known_by` says
for each session up to which session its model may know labels: it must lie before the
session itself. Scikit-learn, LightGBM and hmmlearn come with the extra `research`.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from trm_bt.errors import LookAheadError
from trm_bt.market._typing import (
    BoolSessions,
    FloatArray,
    FloatSessions,
    FloatSessionsByAsset,
    FloatSessionsByFeature,
    IntSessions,
)
from trm_bt.market.allocations import ALLOCATION_WEIGHTS, Allocations
from trm_bt.market.features import FEATURE_NAMES
from trm_bt.market.labels import labelled_allocations
from trm_bt.strategies.rules import History

if TYPE_CHECKING:
    from hmmlearn.hmm import GaussianHMM

Predict = Callable[[FloatSessionsByFeature], IntSessions]
"""From raw features, shape (n_rows, n_features), to class indices, shape (n_rows,)."""
FitModel = Callable[[pd.DataFrame, int], Predict]
"""From a label table and a seed to a model."""

CALM_CLASS: Final = int(ALLOCATION_WEIGHTS[:, 0].argmax())
"""The allocation with the most equity, of the eight."""
ROUGH_CLASS: Final = int(ALLOCATION_WEIGHTS[:, 0].argmin())
"""The allocation with the least, of the eight."""
_NONE: Final = -1
_FEWEST: Final = 20
"""Returns without which no regimes are fitted."""


def weights_of_classes(
    classes: IntSessions, allocations: Allocations | None = None
) -> FloatSessionsByAsset:
    """Return the weights of class indices, NaN where there is none (-1).

    Parameters
    ----------
    classes : ndarray of shape (n_sessions,), int64
    allocations : Allocations, optional
        By default the eight.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
    """
    weights = (allocations or Allocations.of(None)).weights[classes]
    weights[classes == _NONE] = np.nan
    return weights


def last_best(labels: pd.DataFrame, sessions: pd.DatetimeIndex) -> IntSessions:
    """Return the best allocation of the last label known at each close, -1 for none.

    Parameters
    ----------
    labels : DataFrame of shape (n_labels, n_columns)
        What `compute_labels` returns.
    sessions : DatetimeIndex of shape (n_sessions,)
        The deciding sessions.

    Returns
    -------
    ndarray of shape (n_sessions,), int64
    """
    known_on = pd.DatetimeIndex(labels["known_on"])
    n_known = known_on.searchsorted(sessions, side="right")
    winners = np.r_[_NONE, labels["winner"].to_numpy(np.int64)]
    return np.asarray(winners[n_known])


def retrained(
    fit: FitModel,
    labels: pd.DataFrame,
    features: pd.DataFrame,
    known_by: pd.Series,
    seed: int = 0,
) -> IntSessions:
    """Decide each session with a model trained on the labels known by its date.

    Parameters
    ----------
    fit : callable
        `fit_majority`, `fit_logistic`, `fit_boosted`, or one like them.
    labels : DataFrame of shape (n_labels, n_columns)
        What `compute_labels` returns.
    features : DataFrame of shape (n_sessions, n_features)
        Features of the deciding sessions.
    known_by : Series of shape (n_sessions,)
        By deciding session, the last session whose labels its model knows; missing
        where there is no model.
    seed : int
        Given to every training.

    Returns
    -------
    ndarray of shape (n_sessions,), int64
        Class indices; -1 where there is no model, or no label that it could know.

    Raises
    ------
    LookAheadError
        If a model would decide a session that its labels reach.
    """
    classes = np.full(len(known_by), _NONE, dtype=np.int64)
    for known_on, is_decided in _blocks(known_by):
        training = labels[labels["known_on"] <= known_on]
        if training.empty:
            continue
        rows = features.loc[known_by.index[is_decided], list(FEATURE_NAMES)]
        classes[is_decided] = fit(training, seed)(rows.to_numpy(np.float64))
    return classes


def fit_majority(labels: pd.DataFrame, seed: int) -> Predict:
    """Return the most frequent winner of the labels, whatever the features."""
    winner = int(np.bincount(labels["winner"]).argmax())
    return lambda rows: np.full(len(rows), winner, dtype=np.int64)


def fit_logistic(labels: pd.DataFrame, seed: int) -> Predict:
    """Fit a multinomial logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, winners = _training_rows(labels)
    if len(np.unique(winners)) == 1:
        return fit_majority(labels, seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features, winners)
    return lambda rows: np.asarray(model.predict(rows), dtype=np.int64)


def fit_boosted(labels: pd.DataFrame, seed: int) -> Predict:
    """Fit LightGBM's boosted trees: 100 rounds of shallow trees, one thread."""
    import lightgbm

    features, winners = _training_rows(labels)
    settings = {
        "objective": "multiclass",
        "num_class": len(labelled_allocations(labels)),
        "learning_rate": 0.05,
        "num_leaves": 7,
        "min_data_in_leaf": 100,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(features, winners)
    model = lightgbm.train(settings, data, num_boost_round=100)
    return lambda rows: np.asarray(model.predict(rows)).argmax(axis=1)


def hmm_regime(
    history: History, known_by: pd.Series, allocations: Allocations | None = None
) -> IntSessions:
    """Hold the most equity in the calm state of a Markov model, the least in the rough.

    The two states differ in mean and variance of the equity's log returns. The model is
    fitted up to each date of `known_by`; the state of a session is filtered from the
    returns up to its close, never smoothed with later ones.

    Parameters
    ----------
    history : History
        From the first session that may be learned from.
    known_by : Series of shape (n_decided,)
        As in `retrained`.
    allocations : Allocations, optional
        By default the eight.

    Returns
    -------
    ndarray of shape (n_decided,), int64
        Class indices; -1 where there is no model.

    References
    ----------
    Hamilton, J. D. (1989). A new approach to the economic analysis of nonstationary
    time series and the business cycle. Econometrica 57(2), doi:10.2307/1912559.
    """
    equity = (allocations or Allocations.of(None)).weights[:, 0]
    # in percent: the priors of hmmlearn's variances are of that size
    returns = 100.0 * np.log1p(history.returns[1:, :1])
    sessions = history.sessions[1:]
    classes = np.full(len(known_by), _NONE, dtype=np.int64)
    for known_on, is_decided in _blocks(known_by):
        n_known = int(sessions.searchsorted(known_on, side="right"))
        if n_known < _FEWEST:
            continue
        model = _fit_regimes(returns[:n_known])
        rows = sessions.get_indexer(known_by.index[is_decided])
        filtered = filtered_states(
            returns[: rows.max() + 1, 0],
            model.startprob_,
            model.transmat_,
            model.means_[:, 0],
            model.covars_[:, 0, 0],
        )
        calm = int(model.covars_[:, 0, 0].argmin())
        is_calm = filtered[rows, calm] >= 0.5
        classes[is_decided] = np.where(is_calm, equity.argmax(), equity.argmin())
    return classes


def _fit_regimes(returns: FloatArray) -> "GaussianHMM":
    """Fit two states to log returns, shape (n_sessions, 1), from a fixed start.

    The first state starts calm and the second rough, and both tend to stay.
    """
    from hmmlearn.hmm import GaussianHMM

    variance = float(returns.var())
    model = GaussianHMM(2, n_iter=100, init_params="")
    model.startprob_ = np.array([0.5, 0.5])
    model.transmat_ = np.array([[0.98, 0.02], [0.02, 0.98]])
    model.means_ = np.zeros((2, 1))
    model.covars_ = np.array([[0.5], [2.0]]) * variance
    return model.fit(returns)


def filtered_states(
    returns: FloatSessions,
    start: FloatArray,
    transitions: FloatArray,
    means: FloatArray,
    variances: FloatArray,
) -> FloatArray:
    """Return the probability of each state given the returns up to each session.

    Parameters
    ----------
    returns : ndarray of shape (n_sessions,)
    start : ndarray of shape (n_states,)
        Probabilities of the first state.
    transitions : ndarray of shape (n_states, n_states)
        Row i: from state i to each state.
    means, variances : ndarray of shape (n_states,)
        Of the normal returns in each state.

    Returns
    -------
    ndarray of shape (n_sessions, n_states)
        Rows sum to 1; row t is known at the close of session t.

    Examples
    --------
    >>> even = np.array([0.5, 0.5])
    >>> mixed = np.array([[0.5, 0.5], [0.5, 0.5]])
    >>> filtered_states(np.array([0.0]), even, mixed, np.zeros(2), np.array([1.0, 4.0]))
    array([[0.66666667, 0.33333333]])
    """
    distance = (returns[:, np.newaxis] - means) ** 2 / (2.0 * variances)
    # scaled by the likeliest state, which cancels: a crash would underflow in both
    likelihood = np.exp(distance.min(axis=1, keepdims=True) - distance)
    likelihood /= np.sqrt(variances)
    filtered: FloatArray = np.empty_like(likelihood)
    expected = start
    for t, likely in enumerate(likelihood):
        joint = expected * likely
        filtered[t] = joint / joint.sum()
        expected = filtered[t] @ transitions
    return filtered


def _blocks(known_by: pd.Series) -> Iterator[tuple[pd.Timestamp, BoolSessions]]:
    """Yield each date of `known_by` with the mask of the sessions it decides."""
    is_late = (known_by >= known_by.index).to_numpy()
    if is_late.any():
        session = known_by.index[int(is_late.argmax())]
        raise LookAheadError(
            f"A model must know its last label before it decides, but on "
            f"{session.date()} it knows labels up to {known_by[session].date()}."
        )
    for known_on in known_by.dropna().unique():
        yield pd.Timestamp(known_on), (known_by == known_on).to_numpy()


def _training_rows(labels: pd.DataFrame) -> tuple[FloatSessionsByFeature, IntSessions]:
    """Return raw features and winners of a label table."""
    features = labels[list(FEATURE_NAMES)].to_numpy(np.float64)
    return features, labels["winner"].to_numpy(np.int64)
