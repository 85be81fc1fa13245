"""The embedded sample from 1962: dates of yields, published figures, formulas."""

import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from trm_bt.feeds import load_bars
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.validate import validate_source
from trm_bt.market.bars import Bars
from trm_bt.market.features import compute_features

AS_IT_WAS = "65a62e045e76"
"""Begins the digest of the sample of before, whose figures stay."""


@pytest.fixture(scope="module")
def older() -> Bars:
    return load_bars("sample", start="1962-01-02", end="1990-01-02")


def test_without_an_early_start_the_sample_is_what_it_was() -> None:
    for start in (None, "1990-01-02"):
        assert load_bars("sample", start=start).sha256().startswith(AS_IT_WAS)


def test_sessions_are_those_of_the_exchange_without_a_gap(older: Bars) -> None:
    first, last = older.sessions[[0, -1]]
    assert len(older.sessions) == 7042
    np.testing.assert_array_equal(older.sessions, nyse_sessions(first, last))


def test_one_calendar_and_the_younger_values_from_1990_on() -> None:
    whole = load_bars("sample", start="1962-01-02")
    younger = load_bars("sample", inputs="core")
    assert len(whole.sessions) == 7041 + 6865
    assert whole.between("1990-01-01").sha256() == younger.sha256()


@pytest.mark.parametrize(
    ("session", "close"),
    [("1962-06-26", 52.32), ("1974-10-03", 62.28), ("1987-10-19", 224.84)],
)
def test_index_closes_are_the_published_ones(
    older: Bars, session: str, close: float
) -> None:
    assert older.equity.at[pd.Timestamp(session), "index_close"] == close


PUBLISHED = {
    1963: 0.2280, 1966: -0.1006, 1970: 0.0401, 1973: -0.1466, 1974: -0.2647,
    1975: 0.3720, 1980: 0.3242, 1985: 0.3173, 1987: 0.0525, 1989: 0.3169,
}  # fmt: skip


@pytest.mark.parametrize(("year", "total_return"), PUBLISHED.items())
def test_equity_earns_the_published_total_return_of_the_index(
    older: Bars, year: int, total_return: float
) -> None:
    ends = older.equity["close"].groupby(older.sessions.year).last()
    assert ends[year] / ends[year - 1] - 1 == pytest.approx(total_return, abs=0.002)


@pytest.mark.parametrize(
    ("before", "session", "coupon", "level"),
    [
        ("1987-10-19", "1987-10-20", 0.1015, 0.0940),
        ("1979-10-08", "1979-10-09", 0.0960, 0.0993),
        ("1989-12-29", "1990-01-02", 0.0793, 0.0794),  # into the younger span
    ],
)
def test_bond_returns_discount_every_coupon_at_the_ten_year_yield(
    older: Bars, before: str, session: str, coupon: float, level: float
) -> None:
    aged = (pd.Timestamp(session) - pd.Timestamp(before)).days / 365.25
    times = [k / 2 - aged for k in range(1, 37)]
    price = sum(coupon / 2 / (1 + level / 2) ** (2 * t) for t in times)
    price += 1 / (1 + level / 2) ** (2 * times[-1])
    growth = older.bond["close"][session] / older.bond["close"][before]
    assert growth == pytest.approx(price, abs=3e-5)


def test_a_session_without_a_yield_earns_the_accrued_coupon_alone(older: Bars) -> None:
    # Columbus Day of 1979, a Monday, after a yield of 9.60 % on the Friday.
    growth = older.bond["close"]["1979-10-08"] / older.bond["close"]["1979-10-05"]
    assert growth == pytest.approx(1 + 0.0960 * 3 / 365.25, abs=2e-7)


def test_cash_earns_the_one_year_yield_less_the_gap_of_the_month_before(
    older: Bars,
) -> None:
    assert older.cash_rate is not None
    # At the end of July 1981 the curve stood at 15.406 and 15.748, continuous rates.
    gap = 2 * math.expm1(0.15748 / 2) - 2 * math.expm1(0.15406 / 2)
    for session, one_year in (("1981-08-03", 0.1658), ("1981-08-05", 0.1651)):
        expected = pytest.approx(one_year - gap, abs=5.1e-5)
        assert older.cash_rate[session] == expected


def test_volatility_is_of_closes_before_ranges_were_traded(older: Bars) -> None:
    reach = older.equity["high"] / older.equity["close"]
    highs = (reach * older.equity["index_close"]).tolist()
    reach = older.equity["low"] / older.equity["close"]
    lows = (reach * older.equity["index_close"]).tolist()
    closes = older.equity["index_close"].tolist()
    is_traded = (older.sessions >= "1982-04-21").tolist()
    fast = slow = drift = 0.0
    levels = []
    for i in range(1, len(closes)):
        move = math.log(closes[i] / closes[i - 1])
        variance = 252 * 0.75 * move**2
        if is_traded[i]:
            high, low = max(highs[i], closes[i - 1]), min(lows[i], closes[i - 1])
            variance = 252 * math.log(high / low) ** 2 / (4 * math.log(2))
        fast += (1 - 0.5 ** (1 / 4)) * (variance - fast)
        slow += (1 - 0.5 ** (1 / 200)) * (variance - slow)
        drift += (1 - 0.5 ** (1 / 2)) * (math.sqrt(252) * move - drift)
        levels.append(62.64 * math.sqrt(fast) + 75.16 * math.sqrt(slow) - 25.71 * drift)
    is_late = older.sessions[1:] >= "1972-01-01"  # this loop has nothing before 1962
    given = older.volatility["close"].to_numpy()[1:]
    np.testing.assert_allclose(
        given[is_late][:-1], np.array(levels)[is_late][:-1], atol=0.0125
    )


def test_volatility_is_warm_on_the_first_session(older: Bars) -> None:
    """A series begun in 1962 would know of one session, and none of its moves."""
    level = older.volatility["close"]
    assert 8 < level.iloc[0] < 16
    assert level.loc["1962-05-29"] > 2 * level.iloc[0]


def test_estimates_of_the_quiet_sixties_lie_above_what_came(older: Bars) -> None:
    """By a few points; ranges that were no traded ones would add eight to twelve."""
    move = np.log(older.equity["index_close"]).diff()
    for year in range(1962, 1982):
        came = 100 * math.sqrt(252) * move.loc[str(year)].std()
        above = older.volatility["close"].loc[str(year)].mean() - came
        assert -1 < above < 5


def test_what_is_weaker_before_1990_is_said(older: Bars) -> None:
    assert older.source.endswith("before 1990 with weaker estimates")
    assert {older.status(role) for role in older.provenance} == {"proxy"}
    assert older.members is None
    said = " ".join(
        " ".join((entry.source, *entry.notes)) for entry in older.provenance.values()
    )
    for fact in (
        "18-year par bond, repriced from the 10-year yield",
        "the bond market's calendar",
        "90 sessions before 1990 without a yield",
        "before 1982-04-21 from closes alone",
        "before 1982-04-21 high and low are sums over the index's stocks",
        "the 1-year yield (tseries) minus",
        "not used: no value before 1990-01-02",
    ):
        assert fact in said


def test_what_is_said_of_the_older_years_goes_with_them() -> None:
    later = load_bars("sample", start="1962-01-02").between("1995-01-03")
    assert not any("1982-04-21" in n for n in later.provenance["volatility"].notes)


def test_proxies_serve_throughout_for_members() -> None:
    bars = load_bars("sample", start="1989-01-03", end="1991-12-31")
    features = compute_features(bars)
    assert features.schema.members == ()
    assert features.frame.index[-1] == bars.sessions[-1]


def test_sixty_years_are_sound_and_their_quiet_bars_no_bad_ticks() -> None:
    """Bonds rose with stocks, then fell with them: no session that is out of step."""
    reports = validate_source("sample", start="1962-01-02")
    assert {report.verdict for report in reports} == {"suspect", "sound"}
    rules = {f.rule for report in reports for f in report.findings}
    assert rules == {"one-day moves", "wicks", "jumps"}


def test_bond_holidays_are_those_of_the_published_yields(
    sample_script: ModuleType, long_dir: Path
) -> None:
    published = _ten_year_yields(long_dir).loc[:"1989-12-31"].index
    days = sample_script.bond_calendar.bond_days()
    np.testing.assert_array_equal(days, published)


def test_dated_yields_are_the_published_ones(
    sample_script: ModuleType, sample_sources: Path, long_dir: Path
) -> None:
    """Each of 9,574; one was revised since, and both packages have the older value."""
    dated = sample_script.date_older_yields(sample_sources)["10year"]
    published = _ten_year_yields(long_dir).loc[: dated.index[-1]] / 100
    assert published.index.equals(dated.index)
    differs = ~np.isclose(dated, published, rtol=0, atol=1e-9)
    assert dated.index[differs].strftime("%Y-%m-%d").tolist() == ["1991-01-29"]


def _ten_year_yields(folder: Path) -> pd.Series:
    table = pd.read_csv(
        folder / "DGS10.csv", index_col="date", parse_dates=True, na_values="."
    )
    return table["dgs10"].dropna()


def test_the_count_of_values_fixes_the_calendar(sample_script: ModuleType) -> None:
    """9,574 values end 2,595 days into the younger source, which begins with 1990."""
    days = sample_script.bond_calendar.bond_days()
    assert len(days) == 9574 - 2595
    for holiday in ("1963-11-25", "1968-02-12", "1977-07-14", "1984-11-06"):
        assert pd.Timestamp(holiday) not in days
    for kept in ("1968-06-12", "1973-01-25", "1986-02-12"):  # the exchange was closed
        assert pd.Timestamp(kept) in days


def test_bonds_of_both_spans_move_alike_where_both_are_known(
    sample_script: ModuleType, sample_sources: Path
) -> None:
    yields = sample_script.date_older_yields(sample_sources)["10year"].loc["1990":]
    younger = load_bars("sample", end=str(yields.index[-1].date())).bond["close"]
    made = sample_script.par_bond_closes(
        yields.reindex(younger.index), years=sample_script.TEN_YEAR_BOND_YEARS
    )
    moves = pd.concat([younger, made], axis=1).pct_change()
    assert moves.std().iloc[1] / moves.std().iloc[0] == pytest.approx(1, abs=0.01)
    assert moves.corr().iloc[0, 1] > 0.93


def test_the_table_of_spans_is_the_one_in_the_docs(sample_script: ModuleType) -> None:
    folder = Path(sample_script.__file__).parent
    done = subprocess.run(
        [sys.executable, folder / "describe_sample.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    docs = folder.parent / "docs" / "sample.md"
    assert done.stdout in docs.read_text(encoding="utf-8")
