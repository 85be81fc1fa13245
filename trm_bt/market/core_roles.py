"""Equity, bond and volatility held against each other: swapped, shifted, or foreign."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.market.findings import Finding, Severity, on_whole

TOGETHER_RULES: Final = (
    "shifted",
    "volatility is no index",
    "swapped roles",
    "bond above equity",
)
_MIN_SESSIONS: Final = 120
"""Correlations of fewer sessions tell nothing."""
_EQUITY_TO_VOLATILITY: Final = -0.2
"""Correlation of daily changes: any 120 sessions of SPY and VIX gave -.26 or less."""
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
        Nothing where they share fewer than 120 sessions.
    """
    closes = pd.DataFrame({role: frames[role]["close"] for role in frames}).dropna()
    moves = pd.DataFrame(np.log(closes)).diff().iloc[1:]
    if len(moves) < _MIN_SESSIONS:
        return ()
    equity, bond, volatility = moves["equity"], moves["bond"], moves["volatility"]
    together = equity.corr(volatility)
    found = _index_findings(equity, volatility, together)
    if bond.corr(volatility) < together:
        found.append(
            on_whole(
                "swapped roles",
                f"equity must fall when volatility rises more than bond does, got "
                f"correlations of {together:.2f} and {bond.corr(volatility):.2f}. Are "
                "the two swapped?",
            )
        )
    ratio = bond.std() / equity.std()
    warning, error = _BOND_TO_EQUITY_VOL
    if ratio > warning:
        sentence = f"bond moves {ratio:.2f} times as much as equity"
        severity: Severity = "error" if ratio > error else "warning"
        found.append(on_whole("bond above equity", sentence, severity))
    return tuple(found)


def _index_findings(
    equity: pd.Series, volatility: pd.Series, together: float
) -> list[Finding]:
    """Look whether volatility answers equity, and on the same session."""
    lags = {lag: equity.corr(volatility.shift(lag)) for lag in (-1, 1)}
    strongest = min(lags, key=lambda lag: lags[lag])
    if lags[strongest] < together:
        side = "late" if strongest < 0 else "early"
        return [
            on_whole(
                "shifted",
                "volatility must fall when equity rises on the same session, but it "
                f"stands a session {side}: moved back, their correlation is "
                f"{lags[strongest]:.2f} instead of {together:.2f}. Look at the time "
                "zones of both",
            )
        ]
    if together > _EQUITY_TO_VOLATILITY:
        return [
            on_whole(
                "volatility is no index",
                "volatility must fall when equity rises, their daily changes have a "
                f"correlation of {together:.2f}, where SPY and VIX have -0.7. Is one "
                "of them a fund, or another market?",
            )
        ]
    return []
