"""The statistical jump model: two regimes of the equity that seldom change.

The model comes from `jumpmodels`, in the extra `research`.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from trm_bt.market._typing import FloatArray, FloatSessionsByAsset
from trm_bt.strategies.rules import MIN_MEAN_SESSIONS, History

if TYPE_CHECKING:
    from jumpmodels.jump import JumpModel

WINDOW: Final = 3000
"""Newest sessions that the model is fitted on, as far as there are so many."""
JUMP_PENALTY: Final = 50.0
"""What a change of regime costs; that of the examples of `jumpmodels`."""
REFIT_MONTHS: Final = (1, 7)
"""Months on whose first session the model is fitted again."""
DOWNSIDE_HALF_LIFE: Final = 10
SORTINO_HALF_LIVES: Final = (20, 60)
CLIP: Final = 3.0
"""Standard deviations from the mean beyond which a feature is cut off."""


def jump_model(history: History, since: int = 0) -> FloatSessionsByAsset:
    """Hold equity in the regime that earned more, else cash.

    Regimes are found by the downside deviation and two Sortino ratios of the equity,
    in excess of cash. The model is fitted on the first session of January and July,
    on the newest `WINDOW` sessions; until the next, each session's regime is that of
    the best path up to its own close, and no later return changes it.

    Parameters
    ----------
    history : History
    since : int
        Row of the first session to decide; fits that decide earlier ones are left out.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Weights known at the close of their session, NaN before the first fit.

    References
    ----------
    Shu, Y., Yu, C. and Mulvey, J. (2024). Downside risk reduction using
    regime-switching signals: a statistical jump model approach. Journal of Asset
    Management 25, arXiv:2402.05272.
    """
    excess, features = history.excess[:, 0], regime_features(history.excess[:, 0])
    weights = np.full((len(excess), 3), np.nan)
    is_known = np.isfinite(features).all(axis=1)
    first = int(is_known.argmax()) if is_known.any() else len(excess)
    fits = _refits(history.sessions, first + MIN_MEAN_SESSIONS)
    for fit, end in pairwise([*fits, len(excess)]):
        if end <= since:
            continue
        begin = max(first, fit + 1 - WINDOW)
        known, rows = features[begin : fit + 1], features[begin:end]
        scaled = _standardised(rows, known)
        model = _fitted(scaled[: len(known)], excess[begin : fit + 1])
        is_good = np.asarray(model.predict_online(scaled))[fit - begin :] == 0
        weights[fit:end] = np.eye(3)[np.where(is_good, 0, 2)]
    return weights


def regime_features(excess: FloatArray) -> FloatArray:
    """Return the log downside deviation and two Sortino ratios, NaN at the start.

    Parameters
    ----------
    excess : ndarray of shape (n_sessions,)
        Returns in excess of cash; the first counts as none.

    Returns
    -------
    ndarray of shape (n_sessions, 3)
        Exponentially weighted; known at the close of their session.
    """
    returns = pd.Series(excess).where(np.arange(len(excess)) > 0)
    squares = returns.clip(upper=0.0) ** 2

    def mean(values: pd.Series, half_life: int) -> pd.Series:
        return values.ewm(halflife=half_life, min_periods=half_life).mean()

    # a history without a loss so far has none of them
    downside = {
        half_life: mean(squares, half_life).pow(0.5).replace(0.0, np.nan)
        for half_life in (DOWNSIDE_HALF_LIFE, *SORTINO_HALF_LIVES)
    }
    ratios = [mean(returns, life) / downside[life] for life in SORTINO_HALF_LIVES]
    return np.column_stack([np.log(downside[DOWNSIDE_HALF_LIFE]), *ratios])


def _refits(sessions: pd.DatetimeIndex, earliest: int) -> list[int]:
    """Return the rows on which the model is fitted, from `earliest` on."""
    months = sessions.to_period("M")
    is_first = np.r_[False, months[1:] != months[:-1]]
    rows = np.flatnonzero(is_first & np.isin(sessions.month, REFIT_MONTHS))
    return [int(row) for row in rows if row >= earliest]


def _standardised(rows: FloatArray, known: FloatArray) -> FloatArray:
    """Clip and scale features, shape (n_rows, 3), by what `known` rows are like."""
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    scores = np.clip((rows - mean) / deviation, -CLIP, CLIP)
    usual = scores[: len(known)]
    return np.asarray((scores - usual.mean(axis=0)) / usual.std(axis=0))


def _fitted(features: FloatArray, excess: FloatArray) -> "JumpModel":
    """Fit two regimes; the first is the one of the higher cumulated return."""
    from jumpmodels.jump import JumpModel

    model = JumpModel(n_components=2, jump_penalty=JUMP_PENALTY, cont=False)
    return model.fit(features, ret_ser=excess, sort_by="cumret")
