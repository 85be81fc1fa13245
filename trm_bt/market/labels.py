"""What each of the eight allocations earned after a decision, and which one won."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.config import LabelConfig
from trm_bt.errors import BarsError
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.crises import crises_on
from trm_bt.market.features import FEATURE_NAMES, Features

RETURN_COLUMNS: Final = tuple(f"return_{name}" for name in ALLOCATION_NAMES)


def cash_growth(cash_rate: pd.Series) -> np.ndarray:
    """Return what one unit of cash grows to from each session to the next.

    The yield of session t - 1, the last one known while the cash is held, accrues over
    session t: element t is 1 + rate[t - 1] / 252, and the first element is 1.

    Parameters
    ----------
    cash_rate : Series of shape (n_sessions,)
        Annual yield as a decimal, known at the close of its session.

    Returns
    -------
    ndarray of shape (n_sessions,)
        Growth factors.

    Examples
    --------
    >>> cash_growth(pd.Series([0.0252, 0.0504])).round(6).tolist()
    [1.0, 1.0001]
    """
    growth = np.ones(len(cash_rate))
    growth[1:] += cash_rate.to_numpy(np.float64)[:-1] / SESSIONS_PER_YEAR
    return growth


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
    column, delay = ("open", 1) if config.fill == "next_open" else ("close", 0)
    horizon, n = config.horizon, len(bars.sessions)
    n_rows = max(n - delay - horizon, 0)

    def held(prices: np.ndarray) -> np.ndarray:
        filled = prices[delay : delay + n_rows]
        return np.asarray(prices[delay + horizon :][:n_rows] / filled - 1.0)

    cash = np.zeros(n_rows)
    if bars.cash_rate is not None:
        cash = held(np.cumprod(cash_growth(bars.cash_rate)))
    return pd.DataFrame(
        {
            "equity": held(bars.equity[column].to_numpy(np.float64)),
            "bond": held(bars.bond[column].to_numpy(np.float64)),
            "cash": cash,
        },
        index=bars.sessions[:n_rows],
    )


def allocation_returns(assets: pd.DataFrame) -> np.ndarray:
    """Return what each allocation earned, bought once and held.

    Parameters
    ----------
    assets : DataFrame of shape (n_rows, 3)
        Returns of equity, bond and cash, as `forward_returns` gives them.

    Returns
    -------
    ndarray of shape (n_rows, 8)
        Returns as decimals, class index along the columns.
    """
    # A matrix product rounds one row otherwise than many; this gives each row alone.
    return np.asarray((assets.to_numpy()[:, None, :] * ALLOCATION_WEIGHTS).sum(axis=-1))


def compute_labels(
    bars: Bars, features: Features, config: LabelConfig | None = None
) -> pd.DataFrame:
    """Label every session that has features and a known outcome.

    Parameters
    ----------
    bars : Bars
        The bars that `features` were computed from.
    features : Features
        The ten features of the deciding sessions.
    config : LabelConfig, optional
        Horizon and fill.

    Returns
    -------
    DataFrame of shape (n_labels, 24)
        One row per deciding session: the ten features, ``return_<allocation>`` for all
        eight, `winner` (class index; ties go to the lower), `winner_return`, `margin`
        over the runner-up, `is_tie`, `known_on` (the session whose open or close
        decides the outcome) and `crises` (names joined by ";", often empty).

    Raises
    ------
    BarsError
        If the bars are too short for a single label.
    """
    config = config or LabelConfig()
    assets = forward_returns(bars, config)
    sessions = pd.DatetimeIndex(features.frame.index.intersection(assets.index))
    n_ahead = len(bars.sessions) - len(assets)
    if sessions.empty:
        raise BarsError(
            f"Labels need {features.schema.n_lookback + n_ahead} sessions of bars, got "
            f"{len(bars.sessions)}. Give more history."
        )
    returns = allocation_returns(assets.loc[sessions])
    ordered = np.sort(returns, axis=1)
    winner = returns.argmax(axis=1)
    positions = bars.sessions.get_indexer(sessions)
    labels = features.frame.loc[sessions, list(FEATURE_NAMES)].copy()
    labels[list(RETURN_COLUMNS)] = returns
    labels["winner"] = winner
    labels["winner_return"] = ordered[:, -1]
    labels["margin"] = ordered[:, -1] - ordered[:, -2]
    labels["is_tie"] = ordered[:, -1] == ordered[:, -2]
    labels["known_on"] = bars.sessions[positions + n_ahead]
    names = [";".join(crises) for crises in crises_on(sessions)]
    labels["crises"] = names
    labels.index.name = "session"
    return labels


@dataclass(frozen=True)
class LabelSummary:
    """Counts and mean returns of a label table.

    Parameters
    ----------
    by_class : DataFrame of shape (8, 3)
        Index: allocation name; columns `n_wins`, `win_share`, `mean_return`.
    by_crisis : DataFrame of shape (n_crises, 10)
        Index: crisis name; columns `n_labels`, `most_frequent_winner`, and the mean
        return of each allocation.
    n_ties : int
        Sessions on which two allocations earned exactly the same best return.
    """

    by_class: pd.DataFrame
    by_crisis: pd.DataFrame
    n_ties: int


def summarize_labels(labels: pd.DataFrame) -> LabelSummary:
    """Count winners and average returns, over all sessions and inside each crisis."""
    names = list(ALLOCATION_NAMES)
    counts = np.bincount(labels["winner"], minlength=len(names))
    means = labels[list(RETURN_COLUMNS)].mean().to_numpy()
    by_class = pd.DataFrame(
        {
            "n_wins": counts,
            "win_share": counts / max(len(labels), 1),
            "mean_return": means,
        },
        index=pd.Index(names, name="allocation"),
    )
    exploded = labels.assign(crisis=labels["crises"].str.split(";")).explode("crisis")
    exploded = exploded[exploded["crisis"] != ""]
    groups = exploded.groupby("crisis", sort=False)
    by_crisis = groups[list(RETURN_COLUMNS)].mean().set_axis(names, axis=1)
    by_crisis.insert(0, "n_labels", groups.size())
    winners = groups["winner"].agg(lambda column: names[column.mode().iloc[0]])
    by_crisis.insert(1, "most_frequent_winner", winners)
    return LabelSummary(by_class, by_crisis, int(labels["is_tie"].sum()))
