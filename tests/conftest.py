"""Shared bars and folders; no test reaches the network."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trm_bt.market.bars import Bars


@pytest.fixture(scope="session")
def market_dir() -> Path:
    """Folder of real SPY, TLT and VIX history that may lie beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "market"
    if not folder.is_dir():
        pytest.skip("the real market history is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def real_bars(market_dir: Path) -> Bars:
    """SPY, TLT and VIX from TLT's first session on, with the 3-month yield."""
    from trm_bt.feeds import load_bars

    return load_bars(market_dir, start="2002-07-30")


def make_bars(n_sessions: int, seed: int = 0, *, has_options: bool = False) -> Bars:
    """Draw bars from a random walk with gaps, an estimate of nothing real."""
    rng = np.random.default_rng(seed)
    sessions = pd.bdate_range("2001-01-01", periods=n_sessions, name="session")

    def ohlcv(start: float, vol: float) -> pd.DataFrame:
        close = start * np.exp(np.cumsum(rng.normal(2e-4, vol, n_sessions)))
        open_ = np.r_[start, close[:-1]] * np.exp(rng.normal(0, vol / 3, n_sessions))
        high = np.maximum(open_, close) * (1 + rng.uniform(0, vol, n_sessions))
        low = np.minimum(open_, close) * (1 - rng.uniform(0, vol, n_sessions))
        volume = rng.uniform(1e6, 5e6, n_sessions)
        return pd.DataFrame(
            {"open": open_, "high": high, "low": low, "close": close, "volume": volume},
            index=sessions,
        )

    level = 18 * np.exp(np.cumsum(rng.normal(0, 0.05, n_sessions)) * 0.2)
    level = np.clip(level, 9, 80)
    volatility = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), level), index=sessions
    )
    members = pd.DataFrame(
        {f"M{i}": ohlcv(50.0, 0.015)["close"] for i in range(5)}, index=sessions
    )
    put_call = pd.Series(rng.uniform(0.5, 1.3, n_sessions), sessions)
    return Bars(
        equity=ohlcv(100.0, 0.01),
        bond=ohlcv(80.0, 0.006),
        volatility=volatility,
        members=members if has_options else None,
        put_call=put_call if has_options else None,
        cash_rate=pd.Series(rng.uniform(0.0, 0.06, n_sessions), sessions),
    )


@pytest.fixture(scope="session")
def bars() -> Bars:
    """400 sessions of random bars without optional inputs."""
    return make_bars(400)


@pytest.fixture(scope="session")
def full_bars() -> Bars:
    """400 sessions of random bars with members and put/call."""
    return make_bars(400, seed=1, has_options=True)
