"""Hold the proxies, and other candidates, against the features they stand in for.

    python -m tests.evidence.compare_proxies FOLDER > tables.md

FOLDER holds SPY, TLT, VIX, the nine sector funds and putcall, and perhaps breadth.csv
with the column spx_pct_above_ma50. No label is read. A candidate is judged on the first
half of the sessions and confirmed on the second; `docs/proxies.md` states the rule.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from trm_bt import load_bars
from trm_bt.config import FeatureConfig
from trm_bt.market import formulas, proxies
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.windows import Column

CONFIG = FeatureConfig()
CHANGE = 5
IN_USE = "**in use**"
Candidates = Mapping[str, pd.Series]


class Core:
    """The series that a proxy may read, and how candidates are made of them."""

    def __init__(self, bars: Bars) -> None:
        self.sessions = bars.sessions
        self.close, self.bond = bars.equity["close"], bars.bond["close"]
        self.volume = bars.equity["volume"]
        self.daily_range = np.log(bars.equity["high"] / bars.equity["low"])
        self.vix = bars.volatility["close"]
        self.r, self.b = self.close.pct_change(), self.bond.pct_change()
        self.up, self.down = self.r.clip(lower=0.0), -self.r.clip(upper=0.0)
        self.arrays = [x.to_numpy() for x in (self.close, self.vix)]

    def dated(self, column: Column) -> pd.Series:
        """Put the sessions to a column that ends on the last of them."""
        return pd.Series(column.values, self.sessions[-len(column.values) :])

    def range_position(self, k: int) -> pd.Series:
        """Return where the close lies between the lowest and highest of k closes."""
        windows = self.close.rolling(k)
        return (self.close - windows.min()) / (windows.max() - windows.min())


def breadth_candidates(core: Core) -> Candidates:
    """Return candidates for the share of members above their 50-session mean."""
    close, r, k = core.close, core.r, CONFIG.breadth_lookback
    gap = close / close.rolling(k).mean() - 1
    walk = np.sqrt(k / 3)
    implied = core.vix / 100 / np.sqrt(SESSIONS_PER_YEAR)
    is_above = (gap > 0).astype(float)
    z_of_closes = (close - close.rolling(k).mean()) / close.rolling(k).std(ddof=0)
    normal = NormalDist().cdf
    return {
        IN_USE: core.dated(proxies.market_breadth_proxy(*core.arrays, k)),
        "share of 20 returns above 0 (version 1)": (r > 0).rolling(20).mean(),
        "share of 50 returns above 0": (r > 0).rolling(50).mean(),
        "close above its 50-mean, 0 or 1": is_above,
        **{
            f"share of {n} closes above their 50-mean": is_above.rolling(n).mean()
            for n in (5, 10, 20)
        },
        **{
            f"position in the range of {n} closes": core.range_position(n)
            for n in (20, 50)
        },
        **{
            f"rank among {n} closes": close.rolling(n).rank(pct=True)
            for n in (20, 50, 60)
        },
        "normal of gap / std of closes": z_of_closes.map(normal),
        "curve of gap / std of closes": _curve(z_of_closes),
        **{
            f"normal of gap / realised volatility, {n}": (
                gap / (r.rolling(n).std() * walk)
            ).map(normal)
            for n in (20, 50)
        },
        "normal of gap / implied volatility": (gap / (implied * walk)).map(normal),
        **{
            f"share of upward moves, {n}": core.up.rolling(n).sum()
            / r.abs().rolling(n).sum()
            for n in (14, 20, 50)
        },
    }


def put_call_candidates(core: Core) -> Candidates:
    """Return candidates for the put/call ratio over its trailing mean."""
    vix, close, r = core.vix, core.close, core.r
    short = vix.rolling(5).mean()
    used = CONFIG.put_call_short_lookback, CONFIG.put_call_proxy_lookback
    fall = close.rolling(60).mean() / close.rolling(5).mean()
    rank = vix.rolling(60).rank(pct=True)
    down = core.down
    return {
        f"{IN_USE}: vix, 5 over 60": core.dated(
            formulas.put_call_ratio(core.arrays[1], *used)
        ),
        **{f"vix, 5 over {n}": short / vix.rolling(n).mean() for n in (20, 40, 252)},
        "vix, 1 over 60": vix / vix.rolling(60).mean(),
        "vix, 5 over highest of 60": short / vix.rolling(60).max(),
        "rank of vix among 60": rank,
        "rank of vix among 60, mean of 5": rank.rolling(5).mean(),
        "vix over realised volatility, 20": vix / r.rolling(20).std(),
        "close, 60 over 5": fall,
        "close, 20 over 5": close.rolling(20).mean() / close.rolling(5).mean(),
        "vix, 5 over 60, times close, 60 over 5": short / vix.rolling(60).mean() * fall,
        **{f"minus return over {n}": -close.pct_change(n) for n in (5, 10, 20)},
        **{
            f"share of downward moves, {n}": down.rolling(n).sum()
            / r.abs().rolling(n).sum()
            for n in (5, 10, 20)
        },
        "share of volume on falls, 20": (core.volume * (r < 0)).rolling(20).sum()
        / core.volume.rolling(20).sum(),
        "volume, 5 over 60": core.volume.rolling(5).mean()
        / core.volume.rolling(60).mean(),
        "highest close of 60 over mean of 5": close.rolling(60).max()
        / close.rolling(5).mean(),
        "minus rank among 60 closes": -close.rolling(60).rank(pct=True),
        "minus position in the range of 60": -core.range_position(60),
        "minus position in the range of 60, mean of 5": -core.range_position(60)
        .rolling(5)
        .mean(),
    }


def gini_candidates(core: Core) -> Candidates:
    """Return candidates for the inequality of the members' moves."""
    vix, r, b = core.vix, core.r, core.b
    close = core.arrays[0]
    moves, bond_moves = r.abs().rolling(20).sum(), b.abs().rolling(20).sum()
    correlation = r.rolling(20).corr(b)
    return {
        f"{IN_USE}: Gini of 20 absolute returns": core.dated(
            proxies.gini_coefficient_proxy(close, CONFIG.gini_lookback)
        ),
        **{
            f"Gini of {n} absolute returns": core.dated(
                proxies.gini_coefficient_proxy(close, n)
            )
            for n in (50, 59)
        },
        "Gini of equity's and bond's moves": (moves - bond_moves).abs()
        / (2 * (moves + bond_moves)),
        "vix": vix,
        "vix, mean of 20": vix.rolling(20).mean(),
        "volatility of vix, 20": vix.pct_change().rolling(20).std(),
        "realised volatility, 20": r.rolling(20).std(),
        "vix over realised volatility, 20": vix / r.rolling(20).std(),
        "correlation of equity and bond": correlation,
        "its absolute value": correlation.abs(),
        "efficiency ratio, 20": r.rolling(20).sum().abs() / moves,
        "volatility of bond over equity, 20": b.rolling(20).std() / r.rolling(20).std(),
    }


def dispersion_candidates(core: Core) -> Candidates:
    """Return candidates for the spread of the members' 20-session returns."""
    k = CONFIG.dispersion_lookback
    r, b, vix = core.r, core.b, core.vix
    move, bond_move = core.close.pct_change(k), core.bond.pct_change(k)
    gap = move - bond_move
    implied = vix / 100 * np.sqrt(k / SESSIONS_PER_YEAR)
    implied_5 = vix.rolling(5).mean() / 100 * np.sqrt(k / SESSIONS_PER_YEAR)
    realised = np.sqrt((r * r).rolling(k).sum())
    with_cash = pd.concat([move, bond_move, 0 * move], axis=1)
    return {
        f"{IN_USE}: implied volatility and move": core.dated(
            proxies.sector_dispersion_proxy(*core.arrays, k)
        ),
        "std of equity's and bond's returns (version 1)": gap.abs() / 2,
        "std of equity's, bond's and cash's returns": with_cash.std(axis=1, ddof=0),
        "move of the equity": move.abs(),
        "implied volatility": vix,
        **{f"implied volatility, mean of {n}": vix.rolling(n).mean() for n in (5, 20)},
        "highest implied volatility of 20": vix.rolling(20).max(),
        "realised volatility, std of 20": r.rolling(20).std(ddof=0),
        "realised volatility, std of 59": r.rolling(59).std(),
        "realised volatility, root of squares": realised,
        "mean absolute return, 20": r.abs().rolling(20).mean(),
        "mean daily range, 20": core.daily_range.rolling(20).mean(),
        "range of 20 closes": core.close.rolling(20).max()
        / core.close.rolling(20).min(),
        "volatility of bond, 20": b.rolling(20).std(),
        "volatility of equity minus bond": ((r - b) ** 2).rolling(k).sum() ** 0.5,
        "volatility of equity and bond": (r * r + b * b).rolling(k).sum() ** 0.5,
        "implied volatility, mean of 5, and move": np.hypot(implied_5, move),
        "half the implied volatility and move": np.hypot(implied / 2, move),
        "realised volatility and move": np.hypot(realised, move),
        "implied volatility and equity minus bond": np.hypot(implied, gap),
        "realised volatility and equity minus bond": np.hypot(realised, gap),
        "implied volatility and both moves": np.hypot(
            np.hypot(implied, move), bond_move
        ),
    }


def _curve(z: pd.Series) -> pd.Series:
    """Map numbers to (0, 1) as the breadth proxy does."""
    return 0.5 * (1 + z / np.sqrt(1 + z * z))


def correlations(observed: pd.Series, candidate: pd.Series) -> list[float]:
    """Return the correlation of levels, of their ranks, and of 5-session changes."""
    both = pd.concat([observed, candidate], axis=1, keys=["observed", "candidate"])
    both = both.dropna()
    changes = both.diff(CHANGE).dropna()
    return [
        both.corr().iloc[0, 1],
        both.corr("spearman").iloc[0, 1],
        changes.corr().iloc[0, 1],
    ]


def print_table(title: str, observed: pd.Series, candidates: Candidates) -> None:
    """Print a row a candidate: its correlations in both halves of the sessions."""
    observed = observed.dropna()
    middle = observed.index[len(observed) // 2]
    halves = observed[observed.index < middle], observed[observed.index >= middle]
    print(f"### {title}\n")
    spans = [
        f"{half.index[0]:%Y-%m-%d} to {half.index[-1]:%Y-%m-%d}" for half in halves
    ]
    print(f"First four figures {spans[0]}, last four {spans[1]}.\n")
    print(
        "| candidate | level | rank | change | score | level | rank | change | score |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, candidate in candidates.items():
        cells = [name]
        for half in halves:
            level, rank, change = correlations(half, candidate)
            cells += [f"{x:.2f}" for x in (level, rank, change)]
            cells.append(f"{(level + change) / 2:.3f}")
        print(f"| {' | '.join(cells)} |")
    print()


def main() -> None:
    """Print one table a feature."""
    folder = Path(sys.argv[1])
    bars = load_bars(folder, observed=("members",))
    core, members = Core(bars), bars.members.to_numpy()
    breadth = formulas.market_breadth(members, CONFIG.breadth_lookback)
    gini = formulas.gini_coefficient(members, CONFIG.gini_lookback)
    dispersion = formulas.sector_dispersion(members, CONFIG.dispersion_lookback)
    print_table(
        "market_breadth, nine sector funds",
        core.dated(breadth),
        breadth_candidates(core),
    )
    table = folder / "breadth.csv"
    if table.is_file():
        whole = pd.read_csv(table, index_col=0, parse_dates=True)
        print_table(
            "market_breadth, stocks of the S&P 500",
            whole["spx_pct_above_ma50"],
            breadth_candidates(core),
        )
    print_table(
        "sector_dispersion", core.dated(dispersion), dispersion_candidates(core)
    )
    print_table("gini_coefficient", core.dated(gini), gini_candidates(core))
    bars = load_bars(folder, observed=("put_call",))
    core = Core(bars)
    ratio = formulas.put_call_ratio(
        bars.put_call.to_numpy(),
        CONFIG.put_call_short_lookback,
        CONFIG.put_call_long_lookback,
    )
    print_table("put_call_ratio", core.dated(ratio), put_call_candidates(core))


if __name__ == "__main__":
    main()
