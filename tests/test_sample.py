"""The embedded sample: spot facts, calendar, formulas, agreement with real quotes."""

import dataclasses
import math
import pickle
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from trm_bt.feeds import load_bars
from trm_bt.feeds.sample import load_sample
from trm_bt.market.bars import Bars
from trm_bt.market.labels import forward_returns
from trm_bt.market.objectives import mix

FOLDER = Path(__file__).parents[1] / "feeds"


@pytest.fixture(scope="module")
def sample() -> Bars:
    return load_sample()


@pytest.mark.parametrize(
    ("session", "close"),
    [("2007-10-09", 1565.15), ("2008-10-10", 899.22), ("2009-03-09", 676.53)],
)
def test_index_closes_are_the_published_ones(
    sample: Bars, session: str, close: float
) -> None:
    assert sample.equity.at[pd.Timestamp(session), "index_close"] == close


@pytest.mark.parametrize(
    ("year", "total_return"),
    [(1991, 0.3047), (1995, 0.3758), (2002, -0.2210), (2008, -0.3700), (2013, 0.3239)],
)
def test_equity_earns_the_published_total_return_of_the_index(
    sample: Bars, year: int, total_return: float
) -> None:
    ends = sample.equity["close"].groupby(sample.sessions.year).last()
    assert ends[year] / ends[year - 1] - 1 == pytest.approx(total_return, abs=0.003)


# The calendar's own code meets a deprecation of newer pandas.
@pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")
def test_sessions_are_those_of_the_exchange_without_a_gap(sample: Bars) -> None:
    calendar = exchange_calendars.get_calendar(
        "XNYS", start="1990-01-01", end="2017-12-29"
    )
    expected = calendar.sessions_in_range("1990-01-02", "2017-03-29")
    assert len(sample.sessions) == 6865
    np.testing.assert_array_equal(sample.sessions, expected)


def test_every_bar_of_both_assets_opens_at_its_close(sample: Bars) -> None:
    for frame in (sample.equity, sample.bond):
        assert_series_equal(frame["open"], frame["close"], check_names=False)


def test_high_and_low_keep_the_published_reach_of_the_index(sample: Bars) -> None:
    bar = sample.equity.loc["2008-10-10"]
    assert bar["high"] / bar["low"] == pytest.approx(936.36 / 839.80, rel=1e-12)
    assert bar["low"] / bar["close"] == pytest.approx(839.80 / 899.22, rel=1e-12)


def test_the_sample_says_that_it_is_derived_and_how(sample: Bars) -> None:
    words = "derived from S&P 500 and treasury-yield history; not SPY/TLT/VIX quotes"
    assert words in sample.source
    assert sample.is_derived
    present = {"equity", "bond", "volatility", "members", "cash_rate"}
    assert set(sample.provenance) == present
    assert {role for role in present if sample.status(role) == "observed"} == {
        "cash_rate"
    }
    said = " ".join(" ".join(entry.notes) for entry in sample.provenance.values())
    for fact in (
        "spread evenly",
        "open set to the close",
        "spliced by returns",
        "59 sessions",
        "2014-2018",
        "survivors",
        "RRC left out",
    ):
        assert fact in said


def test_the_files_are_small_and_the_default_loads_at_once() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.parquet")) < 2e6
    load_sample()
    start = time.perf_counter()
    load_sample()
    assert time.perf_counter() - start < 1.0


def test_reading_the_sample_loads_no_framework() -> None:
    code = (
        "import sys; from trm_bt.feeds.sample import load_sample; load_sample(); "
        "print(*{'torch', 'backtrader', 'quantstats', 'yfinance'} & set(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == ""


def test_bond_returns_discount_every_coupon(sample: Bars) -> None:
    # The 20-year yield rose from 2.86 % on 2008-12-18 to 2.89 % the day after.
    coupon, level, aged = 0.0286, 0.0289, 1 / 365.25
    times = [k / 2 - aged for k in range(1, 49)]
    price = sum(coupon / 2 / (1 + level / 2) ** (2 * t) for t in times)
    price += 1 / (1 + level / 2) ** (2 * times[-1])
    returns = sample.bond["close"].pct_change()
    assert returns.loc["2008-12-19"] == pytest.approx(price - 1, abs=2e-6)


def test_sessions_without_a_yield_earn_the_accrued_coupon_alone(sample: Bars) -> None:
    # Columbus Day of 2008, a Monday, after a 20-year yield of 4.41 % on the Friday.
    returns = sample.bond["close"].pct_change()
    assert returns.loc["2008-10-13"] == pytest.approx(0.0441 * 3 / 365.25, abs=2e-7)


def test_volatility_follows_its_formula(sample: Bars) -> None:
    bars = sample.equity["high"] / sample.equity["close"]
    highs = (bars * sample.equity["index_close"]).tolist()
    lows = (
        sample.equity["low"] / sample.equity["close"] * sample.equity["index_close"]
    ).tolist()
    closes = sample.equity["index_close"].tolist()
    fast = slow = drift = 0.0
    levels = []
    for i in range(1, len(closes)):
        reach = math.log(max(highs[i], closes[i - 1]) / min(lows[i], closes[i - 1]))
        variance = 252 * reach**2 / (4 * math.log(2))
        move = math.sqrt(252) * math.log(closes[i] / closes[i - 1])
        fast += (1 - 0.5 ** (1 / 4)) * (variance - fast)
        slow += (1 - 0.5 ** (1 / 200)) * (variance - slow)
        drift += (1 - 0.5 ** (1 / 2)) * (move - drift)
        levels.append(62.64 * math.sqrt(fast) + 75.16 * math.sqrt(slow) - 25.71 * drift)
    late = sample.sessions[1:] >= "2006-01-01"
    given = sample.volatility["close"].to_numpy()[1:]
    np.testing.assert_allclose(given[late], np.array(levels)[late], atol=0.0075)


def _closes(folder: Path, symbol: str) -> pd.Series:
    table = pd.read_csv(folder / f"{symbol}.csv", index_col="date", parse_dates=True)
    return table["close"]


@pytest.mark.parametrize(
    ("role", "symbol", "start", "end", "floor"),
    [
        ("equity", "SPY", "1993-01-29", "2017-03-29", 0.975),
        ("bond", "TLT", "2002-07-30", "2017-03-29", 0.95),
        ("bond", "VUSTX", "1993-01-01", "2002-12-31", 0.90),
    ],
)
def test_daily_returns_agree_with_real_funds(
    sample: Bars,
    market_dir: Path,
    role: str,
    symbol: str,
    start: str,
    end: str,
    floor: float,
) -> None:
    mine = getattr(sample, role)["close"].pct_change().loc[start:end]
    real = _closes(market_dir, symbol).pct_change().reindex(mine.index)
    assert real.count() > 2400
    assert mine.corr(real) >= floor


def test_volatility_agrees_with_the_real_index(sample: Bars, market_dir: Path) -> None:
    both = pd.concat(
        [sample.volatility["close"], _closes(market_dir, "VIX")],
        axis=1,
        keys=["mine", "real"],
    ).loc["1990-01-02":"2013-12-31"]
    assert not both.isna().any(axis=None)
    assert both.corr().iloc[0, 1] > 0.915
    assert both.diff().corr().iloc[0, 1] > 0.785
    assert (both["mine"] - both["real"]).abs().mean() < 2.65


def test_labels_agree_with_real_funds_at_matching_fills(
    sample: Bars, market_dir: Path
) -> None:
    real = load_bars(market_dir, start="2002-07-30", end="2017-03-29")
    real = dataclasses.replace(
        real,
        equity=real.equity.assign(open=real.equity["close"]),
        bond=real.bond.assign(open=real.bond["close"]),
    )

    def winners(bars: Bars) -> np.ndarray:
        return mix(forward_returns(bars).to_numpy()).argmax(axis=0)

    share = (winners(sample.between("2002-07-30")) == winners(real)).mean()
    assert share > 0.925


@pytest.mark.parametrize(
    ("name", "build"),
    [("sample.parquet", "build_sample"), ("sample_1962.parquet", "build_older")],
)
def test_the_script_rebuilds_the_files(
    sample_script: ModuleType, sample_sources: Path, name: str, build: str
) -> None:
    """Every value is equal, not merely close: the script rounds what it derives."""
    assert_frame_equal(
        getattr(sample_script, build)(sample_sources),
        pd.read_parquet(FOLDER / name),
        check_exact=True,
        check_freq=False,
    )


class _Touch:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("sample_script")
def test_reading_a_pickled_frame_runs_nothing_of_it(tmp_path: Path) -> None:
    reader = sys.modules["sample_sources"]._ArrayUnpickler
    trap, path = tmp_path / "trap", tmp_path / "frame.pkl"
    path.write_bytes(pickle.dumps(_Touch(trap)))
    with path.open("rb") as file:
        reader(file).load()
    assert not trap.exists()
