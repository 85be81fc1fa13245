"""Bars of a folder: splice, calendar, optional inputs, every kind of bad file."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.errors import BarsError, BarsWarning
from trm_bt.feeds import load_bars
from trm_bt.feeds.tables import read_table
from trm_bt.market.bars import check_volatility


@pytest.fixture
def folder(tmp_path, bars):
    """A sound folder of random bars."""
    write(tmp_path, "SPY", bars.equity)
    write(tmp_path, "TLT", bars.bond)
    write(tmp_path, "VIX", bars.volatility)
    return tmp_path


def write(folder, symbol, frame):
    frame.rename_axis("date").to_csv(folder / f"{symbol}.csv")


def edit(folder, symbol, change):
    path = folder / f"{symbol}.csv"
    frame = pd.read_csv(path, parse_dates=["date"])
    change(frame)
    frame.to_csv(path, index=False)


def test_a_folder_gives_its_bars(folder, bars):
    loaded = load_bars(folder)
    for role in ("equity", "bond", "volatility"):
        np.testing.assert_allclose(
            getattr(loaded, role), getattr(bars, role), rtol=1e-12
        )
    assert loaded.cash_rate is None
    assert loaded.members is None


def test_parquet_files_serve_as_well(folder, bars):
    (folder / "SPY.csv").unlink()
    bars.equity.to_parquet(folder / "SPY.parquet")
    pd.testing.assert_frame_equal(
        load_bars(folder).equity, bars.equity, check_exact=True, check_freq=False
    )


def test_adjusted_close_adjusts_the_other_prices(folder, bars):
    write(folder, "SPY", bars.equity.assign(**{"Adj Close": bars.equity["close"] / 2}))
    loaded = load_bars(folder)
    np.testing.assert_allclose(loaded.equity["open"], bars.equity["open"] / 2)
    np.testing.assert_allclose(loaded.equity["volume"], bars.equity["volume"])


def test_an_older_fund_is_spliced_by_returns(folder, bars):
    first = bars.sessions[100]
    older = make_bars(400, seed=9).bond
    for name in ("open", "high", "low"):
        older[name] = older["close"]
    write(folder, "VUSTX", older)
    write(folder, "TLT", bars.bond.loc[first:])
    loaded = load_bars(folder)
    returns = loaded.bond["close"].pct_change().to_numpy()
    np.testing.assert_allclose(
        returns[1:101], older["close"].pct_change().to_numpy()[1:101], rtol=1e-9
    )
    np.testing.assert_allclose(
        returns[101:], bars.bond["close"].pct_change().to_numpy()[101:], rtol=1e-9
    )
    for leg in (loaded.equity, loaded.bond):
        assert (leg["open"] == leg["close"]).to_numpy()[:100].all()
        assert not (leg["open"] == leg["close"]).to_numpy()[100:].any()
    notes = " ".join(loaded.provenance["bond"].notes)
    assert f"before {first.date()} the returns of VUSTX" in notes
    assert "closes only" in " ".join(loaded.provenance["equity"].notes)


def test_a_cash_rate_with_a_long_hole_earns_nothing_there_and_says_so(folder, bars):
    rates = pd.DataFrame({"dgs3mo": 4.0}, index=bars.sessions)
    write(folder, "rates", rates.drop(index=bars.sessions[50:55]))
    loaded = load_bars(folder)
    assert (loaded.cash_rate == 0.04).all()
    assert loaded.provenance["cash_rate"].notes == ("carried forward on 5 sessions",)
    write(folder, "rates", rates.drop(index=bars.sessions[50:56]))
    where = f"on 1 sessions, first {bars.sessions[55].date()}"
    with pytest.warns(BarsWarning, match=f"a year: serves .*0 stands .*{where}"):
        loaded = load_bars(folder)
    assert loaded.cash_rate.tolist() == [0.04] * 55 + [0.0] + [0.04] * 344
    assert where in loaded.provenance["cash_rate"].notes[0]


def test_yields_in_decimals_are_refused(folder, bars):
    write(folder, "rates", pd.DataFrame({"dgs3mo": 0.05}, index=bars.sessions))
    with pytest.raises(BarsError, match=r"must be percent a year, got at most 0\.05"):
        load_bars(folder)


def test_an_insisted_input_shortens_the_span(folder, bars):
    ratio = pd.DataFrame({"total_pc": 0.9, "equity_pc": 0.6}, index=bars.sessions)
    write(folder, "putcall", ratio.iloc[70:])
    with pytest.warns(BarsWarning, match="not used: no value on 70 of 400"):
        assert load_bars(folder).put_call is None
    loaded = load_bars(folder, observed=["put_call"])
    assert loaded.sessions[0] == bars.sessions[70]
    assert (loaded.put_call == 0.9).all()


def test_an_odd_member_is_said(folder, bars):
    write(folder, "AAA", times(bars.equity, slice(200, None), 1.5))
    write(folder, "BBB", bars.equity.assign(volume=0.0))
    (folder / "members.txt").write_text("AAA\nBBB\n")
    with pytest.warns(BarsWarning, match="AAA.csv: prices move in a session") as caught:
        loaded = load_bars(folder)
    assert len(caught) == 1
    assert "AAA.csv: prices move" in " ".join(loaded.provenance["members"].notes)


def times(frame, rows, factor):
    frame = frame.copy()
    frame.iloc[rows, :4] *= factor
    return frame


def test_a_long_yield_does_not_pay_for_cash(folder, bars):
    write(folder, "rates", pd.DataFrame({"dgs30": 4.0}, index=bars.sessions))
    assert load_bars(folder).cash_rate is None


def test_listed_members_are_read(folder, bars):
    for name in ("AAA", "BBB"):
        write(folder, name, make_bars(400, seed=3).equity)
    (folder / "members.txt").write_text("AAA\nBBB\n")
    assert list(load_bars(folder).members.columns) == ["AAA", "BBB"]


@pytest.mark.slow
def test_the_real_history_is_spliced_and_covers_all_years(market_dir):
    with pytest.warns(BarsWarning) as said:
        loaded = load_bars(market_dir)
    unused = [str(warning.message) for warning in said]
    assert [": not used: no value on" in sentence for sentence in unused] == [True] * 2
    assert "XLB, XLE" in unused[0]
    assert "putcall.csv" in unused[1]
    assert loaded.sessions[0] == pd.Timestamp("1993-01-29")
    assert loaded.sessions[-1] == pd.Timestamp("2023-12-29")
    assert (
        "before 2002-07-30 the returns of VUSTX" in loaded.provenance["bond"].notes[0]
    )
    assert loaded.volatility.at[pd.Timestamp("2008-11-20"), "close"] == 80.86
    n_before = len(read_table(market_dir / "VIX.csv").loc[:"1993-01-28"])
    assert f"{n_before} earlier sessions are not used" in " ".join(
        loaded.provenance["volatility"].notes
    )


def set_cell(row, column, value):
    def change(frame):
        if isinstance(value, str):
            frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value

    return change


def swap_rows(frame):
    frame.iloc[[10, 11]] = frame.iloc[[11, 10]].to_numpy()


def repeat_row(frame):
    frame.loc[10, "date"] = frame.loc[9, "date"]


def with_zones(frame):
    dates = (frame["date"] + pd.Timedelta(hours=5)).dt.tz_localize("UTC")
    frame["date"] = dates.astype(str)


def scale_like_a_fund(frame):
    frame[["open", "high", "low", "close"]] *= 100


BAD = {
    "missing column": ("SPY", lambda f: f.pop("low"), "column 'low' is missing"),
    "missing volume": ("SPY", lambda f: f.pop("volume"), "column 'volume' is missing"),
    "unsorted": ("TLT", swap_rows, "must be in order, {10} comes after"),
    "duplicate": ("TLT", repeat_row, "must be unique, {9} is repeated"),
    "nan price": (
        "SPY",
        set_cell(7, "close", np.nan),
        "'close' must be above 0, got nan; first {7}",
    ),
    "negative price": (
        "VIX",
        set_cell(8, "open", -1.0),
        "'open' must be above 0, got -1.0; first {8}",
    ),
    "high below low": ("SPY", set_cell(9, "high", 1.0), "high must be the highest"),
    "text price": ("SPY", set_cell(5, "close", "n/a?"), "must be a number, on {5}"),
    "time zones": ("SPY", with_zones, "has '{0} 05:00:00+00:00'"),
    "no date": ("SPY", set_cell(5, "date", pd.NaT), "data row 6 has "),
    "a fund": ("VIX", scale_like_a_fund, "must stay below 200 points, on {0}"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_file_rule_and_session(folder, bars, case):
    symbol, change, message = BAD[case]
    edit(folder, symbol, change)
    with pytest.raises(BarsError) as caught:
        load_bars(folder)
    sentence = str(caught.value)
    for row in (0, 5, 7, 8, 9, 10, 20):
        message = message.replace(f"{{{row}}}", str(bars.sessions[row].date()))
    assert message in sentence
    assert symbol in sentence
    assert str(folder) in sentence
    assert "\n" not in sentence


def test_a_session_that_one_role_lacks_is_dropped_and_said(folder, bars):
    lines = (folder / "VIX.csv").read_text().splitlines(keepends=True)
    (folder / "VIX.csv").write_text("".join([*lines[:21], *lines[22:]]))
    gone = bars.sessions[20].date()
    with pytest.warns(BarsWarning) as caught:
        loaded = load_bars(folder)
    assert {Path(warning.filename).name for warning in caught} == {Path(__file__).name}
    said = " ".join(str(warning.message) for warning in caught)
    assert "VIX.csv: every session of the exchange must be there, 1 of 400" in said
    assert f"volatility lacks 1 sessions that other roles have, first {gone}" in said
    assert list(loaded.sessions) == [*bars.sessions[:20], *bars.sessions[21:]]
    notes = " ".join(loaded.provenance["volatility"].notes)
    assert f"lacks 1 sessions that other roles have, first {gone}: dropped" in notes
    assert loaded.provenance["equity"].notes == ()


@pytest.mark.slow
def test_breaks_of_the_put_call_ratio_are_listed(market_dir):
    loaded = load_bars(market_dir, start="2002-08-01", observed=["put_call"])
    notes = " ".join(loaded.provenance["put_call"].notes)
    for day in ("2012-06-11", "2019-10-07"):
        assert f"breaks on {day}" in notes
    later = load_bars(market_dir, start="2013-01-02", end="2015-01-02")
    assert not any("breaks" in note for note in later.provenance["put_call"].notes)


@pytest.mark.slow
def test_the_real_index_is_one_over_any_span(market_dir):
    close = read_table(market_dir / "VIX.csv")["close"]
    for n_sessions in (60, 504, 756, 1010, 1300, 2600):
        for first in range(0, len(close) - n_sessions, 7):
            check_volatility(close.iloc[first : first + n_sessions], "VIX")


def test_a_decaying_fund_is_no_volatility_index(tmp_path):
    bars = make_bars(1100)
    noise = np.random.default_rng(0).normal(0, 0.03, 1100)
    decay = 90 * 0.4 ** (np.arange(1100) / 252) * np.exp(noise)
    fund = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), decay))
    write(tmp_path, "SPY", bars.equity)
    write(tmp_path, "TLT", bars.bond)
    write(tmp_path, "VIX", fund.set_index(bars.sessions))
    with pytest.raises(BarsError, match="not a fund such as VIXY"):
        load_bars(tmp_path)


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ((), r"SPY\.csv: is needed and missing; there is nothing"),
        (("SPY",), r"TLT\.csv: is needed and missing; there is SPY"),
    ],
)
def test_missing_files_are_named(tmp_path, bars, symbols, message):
    for symbol in symbols:
        write(tmp_path, symbol, bars.equity)
    with pytest.raises(BarsError, match=message):
        load_bars(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BarsError, match="must be a folder with SPY, TLT and VIX"):
        load_bars(tmp_path / "none")


def test_a_file_that_is_no_table_is_named(folder):
    (folder / "SPY.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(BarsError, match=r"SPY\.csv: "):
        load_bars(folder)


def test_an_empty_span_is_refused(folder):
    with pytest.raises(
        BarsError, match="have no session between 2050-01-01 and the end"
    ):
        load_bars(folder, start="2050-01-01")


@pytest.mark.parametrize(
    "kind", [date.fromisoformat, pd.Timestamp, datetime.fromisoformat]
)
def test_dates_may_be_dates(kind):
    span = {"start": "2005-01-03", "end": "2005-06-30"}
    given = load_bars("sample", **{name: kind(day) for name, day in span.items()})
    assert given.sha256() == load_bars("sample", **span).sha256()


def test_a_number_is_no_date():
    with pytest.raises(BarsError, match="`start` must be a date as YYYY-MM-DD"):
        load_bars("sample", start=20050103)


def test_one_input_may_be_given_alone():
    with pytest.raises(BarsError, match="no observed 'members'"):
        load_bars("sample", observed="members")
    with pytest.raises(BarsError, match="got 'wicked'"):
        load_bars("sample", accept="wicked")
