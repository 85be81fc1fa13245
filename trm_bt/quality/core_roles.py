"""Equity, bond and volatility held against each other: swapped, shifted, or foreign."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.market._typing import FloatSessions
from trm_bt.market.bars import CORE_ROLES
from trm_bt.quality.findings import Finding, Severity, on_whole, refuse
from trm_bt.quality.moves import find_foreign_closes

TOGETHER_RULES: Final = (
    "ends early",
    "shifted",
    "volatility is no index",
    "swapped roles",
    "bond above equity",
)
_MIN_SESSIONS: Final = 120
"""Correlations of fewer sessions tell nothing."""
_BLOCK: Final = 252
"""Correlations are looked at in blocks of a year, so that no part is out of step."""
_EQUITY_TO_VOLATILITY: Final = -0.2
"""Correlation of daily changes: any 252 sessions of SPY and VIX gave -.42 or less, any
120 -.26."""
_EQUITY_TO_BOND: Final = 0.8
_BOND_LAG_SESSIONS: Final = 1260
"""Over fewer sessions SPY and TLT have had their largest correlation at a lag."""
_BOND_TO_EQUITY_VOL: Final = (1.25, 2.0)
"""Over 120 sessions TLT has had up to 1.8 times the deviation of SPY."""


def examine_together(frames: Mapping[str, pd.DataFrame]) -> tuple[Finding, ...]:
    """Hold the core roles against each other.

    Parameters
    ----------
    frames : mapping of str to DataFrame of shape (n_sessions, n_columns)
        Adjusted bars of equity, bond and volatility, each sound by itself.

    Returns
    -------
    tuple of Finding
        Correlations are left out where they share fewer than 120 sessions.
    """
    ends = [frame.index[k] for frame in frames.values() for k in (0, -1)]
    span = (pd.Timestamp(min(ends)).date(), pd.Timestamp(max(ends)).date())
    return tuple(replace(finding, rows=span) for finding in _find(frames))


def _find(frames: Mapping[str, pd.DataFrame]) -> list[Finding]:
    found = _end_findings(frames)
    closes = pd.DataFrame({role: frames[role]["close"] for role in CORE_ROLES}).dropna()
    moves = pd.DataFrame(np.log(closes)).diff().iloc[1:]
    if len(moves) < _MIN_SESSIONS:
        return found
    equity, bond = moves["equity"], moves["bond"]
    found += [*_volatility_findings(moves), *_swap_findings(moves)]
    if equity.corr(bond) > _EQUITY_TO_BOND:
        found.append(
            on_whole(
                "swapped roles",
                "bond must not be a second equity, their daily changes have a "
                f"correlation of {equity.corr(bond):.2f}, where SPY and TLT have had "
                "0.4 at most",
            )
        )
    if len(moves) >= _BOND_LAG_SESSIONS:
        found += _bond_lag_findings(equity, bond)
    ratio = bond.std() / equity.std()
    warning, error = _BOND_TO_EQUITY_VOL
    if ratio > warning:
        sentence = f"bond moves {ratio:.2f} times as much as equity"
        severity: Severity = "error" if ratio > error else "warning"
        found.append(on_whole("bond above equity", sentence, severity))
    return found


def check_volatility_role(closes: pd.DataFrame, name: str) -> None:
    """Refuse a volatility feed that is no volatility index, or belongs elsewhere.

    Parameters
    ----------
    closes : DataFrame of shape (n_sessions, 3)
        Closes of equity, bond and volatility, each above 0, indexed by session.
    name : str
        Name of the volatility feed.

    Raises
    ------
    BarsError
        As `trm-bt validate` refuses it; with fewer than 120 sessions for its levels
        alone.
    """
    found = list(find_foreign_closes(closes["volatility"], "volatility", name))
    if not found and len(closes) > _MIN_SESSIONS:
        moves = pd.DataFrame(np.log(closes)).diff().iloc[1:]
        found = [*_volatility_findings(moves), *_swap_findings(moves)]
    refuse(found, name)


def _end_findings(frames: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """Look whether all roles end on one session; what is later is dropped."""
    ends = {role: pd.Timestamp(frame.index[-1]) for role, frame in frames.items()}
    last = max(ends.values())
    longest = next(role for role, end in ends.items() if end == last)
    return [
        on_whole(
            "ends early",
            f"{role} ends on {end:%Y-%m-%d} and {longest} on {last:%Y-%m-%d}, "
            f"{(frames[longest].index > end).sum()} sessions later: these are dropped",
            "warning",
        )
        for role, end in ends.items()
        if end < last
    ]


def _volatility_findings(moves: pd.DataFrame) -> list[Finding]:
    """Look in every year whether volatility answers equity, and on the same session."""
    equities, volatilities = moves["equity"].to_numpy(), moves["volatility"].to_numpy()
    for first in range(0, max(len(moves) - _BLOCK, 0) + _BLOCK // 2, _BLOCK // 2):
        begin = max(min(first, len(moves) - _BLOCK), 0)
        block = slice(begin, begin + _BLOCK)
        equity, volatility = equities[block], volatilities[block]
        sessions = moves.index[block]
        span = f"{sessions[0]:%Y-%m-%d} to {sessions[-1]:%Y-%m-%d}"
        together = _correlation(equity, volatility)
        lags = {
            -1: _correlation(equity[:-1], volatility[1:]),
            1: _correlation(equity[1:], volatility[:-1]),
        }
        nearest = min(lags, key=lambda lag: lags[lag])
        if lags[nearest] < min(together, _EQUITY_TO_VOLATILITY):
            side = "late" if nearest < 0 else "early"
            words = (
                "volatility must fall when equity rises on the same session, but from "
                f"{span} it stands a session {side}: moved back, their correlation is "
                f"{lags[nearest]:.2f} instead of {together:.2f}. Check the time "
                "zones of both"
            )
            return [on_whole("shifted", words)]
        if together > _EQUITY_TO_VOLATILITY:
            words = (
                "volatility must fall when equity rises, from "
                f"{span} their daily changes have a correlation of {together:.2f}, "
                "where SPY and VIX have -0.7. Is one of them a fund, or another market?"
            )
            return [on_whole("volatility is no index", words)]
    return []


def _swap_findings(moves: pd.DataFrame) -> list[Finding]:
    """Look whether volatility answers bond more than equity."""
    equity, bond, volatility = moves.to_numpy().T
    of_equity = _correlation(equity, volatility)
    of_bond = _correlation(bond, volatility)
    if not of_bond < of_equity:
        return []
    words = (
        "equity must fall when volatility rises more than bond does, got correlations "
        f"of {of_equity:.2f} and {of_bond:.2f}. Are the two swapped?"
    )
    return [on_whole("swapped roles", words)]


def _correlation(left: FloatSessions, right: FloatSessions) -> float:
    """Return the correlation of two series, NaN if one of them stands still."""
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return np.nan
    return float(np.corrcoef(left, right)[0, 1])


def _bond_lag_findings(equity: pd.Series, bond: pd.Series) -> list[Finding]:
    """Look whether bond answers equity more on another session than on the same.

    By parts of five years: bonds rose with stocks before 2000, and against them since,
    which adds up to nothing.
    """
    parts = np.array_split(np.arange(len(equity)), len(equity) // _BOND_LAG_SESSIONS)

    def together(lag: int) -> float:
        moved = bond.shift(lag)
        return float(
            np.mean([abs(equity.iloc[part].corr(moved.iloc[part])) for part in parts])
        )

    nearest = max((-1, 1), key=together)
    if together(nearest) <= together(0):
        return []
    side = "late" if nearest < 0 else "early"
    words = (
        f"bond may stand a session {side}: moved back, its correlation with equity is "
        f"{together(nearest):.2f} instead of {together(0):.2f} in size"
    )
    return [on_whole("shifted", words, "warning")]
