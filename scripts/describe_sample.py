"""Print how the spans of the embedded sample differ, the table of docs/sample.md."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.feeds import load_bars
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels

SPANS: Final = ((1962, 1969), (1970, 1979), (1980, 1989), (1990, 1999), (2000, 2017))
_WEEK: Final = 5


def describe(bars: Bars, winners: pd.Series) -> Iterator[tuple[str, str]]:
    """Yield each figure of a span by name.

    `winners`, shape (n_labels,), are the best allocations of its sessions.
    """
    assert bars.cash_rate is not None
    closes = pd.DataFrame({"equity": bars.equity["close"], "bond": bars.bond["close"]})
    daily = closes.pct_change().dropna()
    years = len(daily) / SESSIONS_PER_YEAR
    yield "sessions", f"{len(closes):,}"
    for asset in closes:
        growth = (closes[asset].iloc[-1] / closes[asset].iloc[0]) ** (1 / years) - 1
        vol = daily[asset].std() * np.sqrt(SESSIONS_PER_YEAR)
        yield f"{asset}: annual return, volatility", f"{growth:.1%}, {vol:.1%}"
    yield "cash rate", f"{bars.cash_rate.mean():.1%}"
    weekly = closes.pct_change(_WEEK).iloc[_WEEK::_WEEK]
    both = (daily["equity"].corr(daily["bond"]), weekly["equity"].corr(weekly["bond"]))
    yield "correlation of both, 1 and 5 sessions", "{:+.2f}, {:+.2f}".format(*both)
    yield (
        "correlation of equity with the session before",
        (f"{daily['equity'].autocorr():+.2f}"),
    )
    yield "estimated volatility", f"{bars.volatility['close'].mean():.1f}"
    for winner in (0, 5):
        yield f"wins of {ALLOCATION_NAMES[winner]}", f"{(winners == winner).mean():.0%}"


def table() -> str:
    """Return the table, a column a span."""
    bars = load_bars("sample", start="1962-01-02")
    winners = compute_labels(bars, compute_features(bars))["winner"]
    columns = {
        f"{first}-{last}": dict(
            describe(
                bars.between(f"{first}-01-01", f"{last}-12-31"),
                winners.loc[f"{first}-01-01" : f"{last}-12-31"],
            )
        )
        for first, last in SPANS
    }
    names = next(iter(columns.values()))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(span[name] for span in columns.values())] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table())
