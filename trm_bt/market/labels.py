"""What each allocation earned after a decision, and which one won."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.config import LabelConfig, TRMConfig
from trm_bt.errors import BarsError
from trm_bt.market._typing import (
    BoolSessions,
    FloatAllocationsBySession,
    FloatSessions,
    FloatSessionsByAsset,
    IntSessions,
)
from trm_bt.market.allocations import ALLOCATION_NAMES, Allocations
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.crises import crises_on
from trm_bt.market.features import FEATURE_NAMES, Features, compute_features
from trm_bt.market.objectives import ROUND_OFF, mix, realised_variances, score

RETURN_COLUMNS: Final = tuple(f"return_{name}" for name in ALLOCATION_NAMES)
VARIANCE_COLUMNS: Final = tuple(f"variance_{name}" for name in ALLOCATION_NAMES)
SCORE_COLUMNS: Final = tuple(f"score_{name}" for name in ALLOCATION_NAMES)
"""Columns of a value by allocation in tables of the eight."""


def cash_returns(bars: Bars) -> pd.Series:
    """Return what cash earned in each session, 0 throughout without a `cash_rate`.

    The yield of session t - 1, the last one known while the cash is held, accrues over
    session t: element t is rate[t - 1] / 252.

    Parameters
    ----------
    bars : Bars
        Checked bars.

    Returns
    -------
    Series of shape (n_sessions,)
        Decimals, known at the close of the session before; the first is 0.
    """
    growth = np.ones(len(bars.sessions))
    if bars.cash_rate is not None:
        growth[1:] += bars.cash_rate.to_numpy(np.float64)[:-1] / SESSIONS_PER_YEAR
    return pd.Series(growth - 1.0, bars.sessions)


def fill_prices(bars: Bars, config: LabelConfig) -> FloatSessionsByAsset:
    """Return the prices that decisions are filled and valued at.

    Parameters
    ----------
    bars : Bars
        Checked bars; without a `cash_rate`, cash earns nothing.
    config : LabelConfig
        The fill: opens, or closes.

    Returns
    -------
    ndarray of shape (n_sessions, 3), or (n_sessions - 1, 3) for the next open
        Prices of equity and bond, and what one unit of cash has grown to; row t is
        where the decision of session t is filled.
    """
    column = "open" if config.fill == "next_open" else "close"
    cash = np.cumprod(1.0 + cash_returns(bars).to_numpy())
    assets = [asset[column].to_numpy(np.float64) for asset in (bars.equity, bars.bond)]
    return np.stack([*assets, cash], axis=-1)[config.n_ahead - config.horizon :]


def forward_returns(bars: Bars, config: LabelConfig | None = None) -> pd.DataFrame:
    r"""Return what equity, bond and cash earn over the next `horizon` sessions.

    A decision taken after the close of session t is filled at the open of t + 1 and
    valued at the open of t + 1 + `horizon`; with ``fill="close"`` it is filled at the
    close of t and valued at the close of t + `horizon`. Never use it as a feature.

    Parameters
    ----------
    bars : Bars
        Checked bars; without a `cash_rate`, cash earns nothing.
    config : LabelConfig, optional
        Horizon and fill.

    Returns
    -------
    DataFrame of shape (n_sessions - n_ahead, 3)
        Columns equity, bond, cash; simple returns as decimals, stamped with the
        deciding session. `n_ahead` is `horizon` + 1 (`horizon` for "close"): the
        outcome of later sessions is not known and their rows are absent.

    Notes
    -----
    .. math:: r_t = o_{t+1+h} / o_{t+1} - 1
    """
    config = config or LabelConfig()
    earned = _earned(fill_prices(bars, config), config.horizon)
    sessions = bars.sessions[: len(earned)]
    return pd.DataFrame(earned, sessions, ["equity", "bond", "cash"])


def _earned(prices: FloatSessionsByAsset, horizon: int) -> FloatSessionsByAsset:
    """Return what each asset earned from each fill on, shape (n_rows, 3)."""
    return np.asarray(prices[horizon:] / prices[: len(prices[horizon:])] - 1.0)


def pick_winners(
    scores: FloatAllocationsBySession,
) -> tuple[IntSessions, FloatSessions, BoolSessions]:
    """Find the best score of each row.

    Parameters
    ----------
    scores : ndarray of shape (n_allocations, n_rows)
        What `trm_bt.market.objectives.score` returns.

    Returns
    -------
    winner : ndarray of shape (n_rows,), int64
        Class index of the best score; of tied ones, the lowest; `n_allocations`,
        which is no class, where a score is NaN.
    margin : ndarray of shape (n_rows,)
        Best score minus the best of the others; 0 in a tie.
    is_tie : ndarray of shape (n_rows,), bool
        Whether two scores or more are the best, round-off aside.
    """
    best = scores.max(axis=0)
    is_best = scores >= best - ROUND_OFF
    others = np.where(is_best, -np.inf, scores).max(axis=0)
    ranks, n = is_best.view(np.uint8), len(scores)
    # of tied classes the lowest ranks highest; `argmax` along a short axis is slower
    heights = np.arange(n, 0, -1, dtype=np.uint8)[:, np.newaxis]
    is_tie = ranks.sum(axis=0, dtype=np.uint8) > 1
    margin = np.where(is_tie, 0.0, best - others)
    winner = n - (ranks * heights).max(axis=0).astype(np.int64)
    return winner, margin, is_tie


def compute_labels(
    bars: Bars, features: Features, config: LabelConfig | None = None
) -> pd.DataFrame:
    """Label every session that has features and a known outcome.

    Parameters
    ----------
    bars : Bars
        The bars that `features` were computed from.
    features : Features
        Features of the deciding sessions.
    config : LabelConfig, optional
        Horizon, fill, objective and allocations.

    Returns
    -------
    DataFrame of shape (n_labels, 16 + 2 n_allocations)
        One row per deciding session: the features, ``return_<allocation>`` for each,
        ``variance_<allocation>`` over the horizon (where it has two sessions or
        more), `winner` (class index of the best score; ties go to the lower),
        `winner_return` (what the winner earned), `margin` (its score minus that of the
        runner-up), `is_tie`, `known_on` (the session whose open or close decides the
        outcome) and `crises` (names joined by ";", often empty). Another objective
        than "pnl" adds ``score_<allocation>`` for each.

    Raises
    ------
    BarsError
        If the bars are too short for a single label, or a Sharpe ratio has no meaning
        because an allocation earned the same in each session of a horizon.
    """
    config = config or LabelConfig()
    n_known = max(len(bars.sessions) - config.n_ahead, 0)
    sessions = pd.DatetimeIndex(
        features.frame.index.intersection(bars.sessions[:n_known])
    )
    if sessions.empty:
        raise BarsError(
            f"Labels need {features.schema.n_lookback + config.n_ahead} sessions of "
            f"bars, got {len(bars.sessions)}. Give more history."
        )
    rows = bars.sessions.get_indexer(sessions)
    prices, table = fill_prices(bars, config), Allocations.of(config.allocations)
    earned = mix(_earned(prices, config.horizon), table)
    returns, scores = earned[:, rows], score(prices, earned, config)[:, rows]
    winner, margin, is_tie = pick_winners(scores)
    _check_scores(scores, sessions, table.names)
    risks = {}
    if config.horizon > 1:
        variances = realised_variances(prices, config)[:, rows]
        risks = dict(zip(table.columns("variance"), variances, strict=True))
    columns = {
        **dict(zip(table.columns("return"), returns, strict=True)),
        **risks,
        "winner": winner,
        "winner_return": returns[winner, np.arange(len(rows))],
        "margin": margin,
        "is_tie": is_tie,
        "known_on": bars.sessions[rows + config.n_ahead],
        "crises": crises_on(sessions),
    }
    if config.objective != "pnl":
        columns |= dict(zip(table.columns("score"), scores, strict=True))
    known = features.frame.loc[sessions, list(FEATURE_NAMES)]
    outcomes = pd.DataFrame(columns, index=sessions)
    return pd.concat([known, outcomes], axis=1).rename_axis("session")


def features_and_labels(bars: Bars, config: TRMConfig) -> tuple[Features, pd.DataFrame]:
    """Compute features and labels of bars, as the functions of these names do."""
    features = compute_features(bars, config.features)
    return features, compute_labels(bars, features, config.labels)


def labelled_allocations(labels: pd.DataFrame) -> tuple[str, ...]:
    """Return the allocations of a label table, in the order of the class indices."""
    prefix = "return_"
    columns = map(str, labels.columns)
    return tuple(c.removeprefix(prefix) for c in columns if c.startswith(prefix))


def _check_scores(
    scores: FloatAllocationsBySession, sessions: pd.DatetimeIndex, names: Sequence[str]
) -> None:
    """Raise `BarsError` at the first session with an allocation that has no score."""
    is_missing = np.isnan(scores)
    if not is_missing.any():
        return
    at = int(is_missing.any(axis=0).argmax())
    name = names[int(is_missing[:, at].argmax())]
    raise BarsError(
        f"The objective sharpe needs returns that vary, but {name}, decided on "
        f"{sessions[at].date()}, earns the same in excess of cash in each session of "
        "the horizon. Check the prices, or choose another objective."
    )
