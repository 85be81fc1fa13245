"""Folders as people have them: parts of a symbol, other units, damaged neighbours."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest

from trm_bt.errors import BarsError, BarsWarning
from trm_bt.feeds import load_bars
from trm_bt.feeds.tables import read_file
from trm_bt.feeds.validate import validate_source

ROLES = {"SPY": "equity", "TLT": "bond", "VIX": "volatility"}


def text_of(frame, **options) -> str:
    return frame.rename_axis("Date").to_csv(**options)


def long_form(bars) -> pd.DataFrame:
    """All three symbols below each other, with a column of tickers."""
    parts = [
        getattr(bars, role).assign(Ticker=symbol) for symbol, role in ROLES.items()
    ]
    return pd.concat(parts).sort_index(kind="stable")


@pytest.fixture
def folder(tmp_path, bars):
    """A sound folder of random bars."""
    for symbol, role in ROLES.items():
        (tmp_path / f"{symbol}.csv").write_text(text_of(getattr(bars, role)))
    return tmp_path


def same(loaded, bars) -> bool:
    return all(
        np.allclose(getattr(loaded, role)["close"], getattr(bars, role)["close"])
        and getattr(loaded, role).index.equals(getattr(bars, role).index)
        for role in ROLES.values()
    )


def test_files_of_a_year_each_are_read_one_after_another(tmp_path, bars):
    whole = long_form(bars)
    for year, part in whole.groupby(whole.index.year):
        (tmp_path / f"bars_{year}.csv").write_text(text_of(part))
    assert len(list(tmp_path.iterdir())) > 1
    assert same(load_bars(tmp_path), bars)


def test_two_downloads_of_the_same_sessions_are_refused(tmp_path, bars):
    (tmp_path / "backup.csv").write_text(text_of(long_form(bars).iloc[:600]))
    (tmp_path / "prices.csv").write_text(text_of(long_form(bars)))
    match = r"must hold SPY once, backup\.csv and prices\.csv have"
    with pytest.raises(BarsError, match=match):
        load_bars(tmp_path)


@pytest.mark.parametrize("column", ["Ticker", "Symbol"])
def test_rows_without_a_ticker_are_not_left_out(folder, bars, column):
    named = bars.equity.assign(**{column: "SPY"})
    named.loc[named.index[250:], column] = None
    (folder / "SPY.csv").write_text(text_of(named))
    match = rf"'{column}' must name a ticker on every row, it is empty on 150, first "
    with pytest.raises(BarsError, match=match + "data row 251"):
        load_bars(folder)


def test_one_file_named_for_a_symbol_may_hold_all(tmp_path, bars):
    (tmp_path / "SPY.csv").write_text(text_of(long_form(bars)))
    assert same(load_bars(tmp_path), bars)
    assert [report.verdict for report in validate_source(tmp_path)[:3]] == ["sound"] * 3


def test_a_ratio_on_other_days_than_its_own_is_refused_by_both(folder, bars):
    ratio = pd.DataFrame({"total_pc": 0.9}, bars.sessions - pd.Timedelta("1D"))
    (folder / "putcall.csv").write_text(text_of(ratio))
    with pytest.raises(BarsError, match="must lie on sessions of the exchange"):
        load_bars(folder)
    assert {r.symbol: r.verdict for r in validate_source(folder)}[
        "putcall"
    ] == "refused"


def test_yields_on_other_days_are_said_in_a_run_too(folder, bars):
    yields = pd.DataFrame({"dgs3mo": 4.0}, bars.sessions - pd.Timedelta("1D"))
    (folder / "rates.csv").write_text(text_of(yields))
    with pytest.warns(BarsWarning, match="must lie on sessions of the exchange"):
        load_bars(folder)


@pytest.mark.parametrize(
    ("ratio", "match"),
    [
        (np.r_[np.full(200, 0.9), np.full(200, 90.0)], "median from 0.1 to 5 of 60"),
        (np.full(400, 600_000.0), "it is 600000. Give the ratio"),
    ],
    ids=["percent later", "counts"],
)
def test_a_put_call_series_of_another_unit_is_refused(folder, bars, ratio, match):
    (folder / "putcall.csv").write_text(
        text_of(pd.DataFrame({"puts": ratio}, bars.sessions))
    )
    with pytest.raises(BarsError, match=match):
        load_bars(folder)


def yields_of(tmp_path, values) -> pd.Series:
    """Read yields, given by year, through a folder of nothing else."""
    from trm_bt.feeds.series import load_cash_yield
    from trm_bt.feeds.sources import FolderSource

    days = [pd.bdate_range(f"{year}-01-02", periods=100) for year in values]
    series = pd.Series(np.repeat([*values.values()], 100), days[0].append(days[1:]))
    (tmp_path / "rates.csv").write_text(text_of(series.to_frame("dgs3mo")))
    return load_cash_yield(FolderSource(tmp_path))


@pytest.mark.parametrize(
    ("values", "at_most"),
    [
        ({1981: 0.155, 1990: 0.078, 2012: 0.0007}, "0.155 on 300 sessions"),
        ({2017: 0.01, 2018: 0.02, 2019: 2.2}, "0.02 on 200 sessions from 2017-01-02"),
        ({2014: 0.0008}, "0.0008 on 100 sessions"),
    ],
    ids=["from 1981", "percent later", "years near zero"],
)
def test_decimal_yields_are_refused(tmp_path, values, at_most):
    with pytest.raises(BarsError, match="these look like decimals") as caught:
        yields_of(tmp_path, values)
    assert at_most in str(caught.value)


@pytest.mark.parametrize("values", [{2014: 0.04}, {2010: 0.1, 2011: 0.02, 2018: 2.0}])
def test_yields_near_zero_are_percent(tmp_path, values):
    read = yields_of(tmp_path, values)
    assert sorted(set(read)) == sorted(values.values())


def test_treasury_files_as_a_browser_names_them_are_all_read(folder, bars):
    names = ("daily-treasury-rates.csv", "daily-treasury-rates (1).csv")
    yields = pd.DataFrame({"3 Mo": 4.0, "10 Yr": 5.0}, bars.sessions)
    for name, part in zip(names, (yields[:200], yields[200:]), strict=True):
        (folder / name).write_text(text_of(part))
    assert load_bars(folder).cash_rate.eq(0.04).all()


def test_members_are_listed_in_any_case_and_with_remarks(folder, bars):
    traded = bars.equity.copy()
    traded[["open", "high", "low", "close"]] = traded[
        ["open", "high", "low", "close"]
    ].round(2)
    (folder / "XLE.csv").write_text(text_of(traded))
    (folder / "XLF.csv").write_text(text_of(bars.equity))
    (folder / "members.txt").write_text("# sectors\nxle, XLF  # two\n")
    with pytest.warns(BarsWarning, match="XLE.csv: prices must be adjusted"):
        loaded = load_bars(folder)
    assert [*loaded.members] == ["XLE", "XLF"]


def test_traded_prices_of_single_precision_are_noticed(folder, bars):
    traded = bars.equity[["open", "high", "low", "close"]].round(2).astype("float32")
    traded.rename_axis("date").reset_index().to_parquet(folder / "XLE.parquet")
    (folder / "members.txt").write_text("XLE\n")
    with pytest.warns(BarsWarning, match="XLE.parquet: prices must be adjusted"):
        load_bars(folder)


def test_a_time_that_is_no_close_is_said(folder, bars):
    frame = bars.equity.assign(Time="10:00")
    (folder / "SPY.csv").write_text(text_of(frame))
    with pytest.warns(BarsWarning, match="column 'time' has '10:00'"):
        load_bars(folder)
    for time in ("00:00:00", "16:00", "000000", "09:30"):
        path = folder / "SPY.csv"
        path.write_text(text_of(frame.assign(Time=time)))
        assert not read_file(path).findings


def test_a_download_that_broke_off_is_said(folder):
    path = folder / "SPY.csv"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    (folder / "SPY.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(BarsError, match="damaged, or was not received whole"):
        load_bars(folder)


@pytest.mark.parametrize("name", ["log.txt", "log.csv"])
def test_a_neighbour_with_an_endless_line_is_no_obstacle(folder, bars, name):
    (folder / name).write_text("x" * 200_000)
    assert same(load_bars(folder), bars)
    validate_source(folder)


@pytest.mark.parametrize("form", ["%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H"])
@pytest.mark.parametrize("hour", [0, 16])
def test_dates_with_a_time_in_one_row_of_digits(folder, bars, form, hour):
    stamps = (bars.sessions + pd.Timedelta(hours=hour)).strftime(form)
    (folder / "SPY.csv").write_text(text_of(bars.equity.set_axis(stamps)))
    assert same(load_bars(folder), bars)


def test_a_time_within_the_session_in_one_row_of_digits_is_refused(folder, bars):
    stamps = bars.sessions.strftime("%Y%m%d143000")
    (folder / "SPY.csv").write_text(text_of(bars.equity.set_axis(stamps)))
    with pytest.raises(BarsError, match="needs a New York trading date"):
        load_bars(folder)


@pytest.mark.parametrize(
    "others",
    [
        {"Adj. Open": 1.0, "Adj. High": 1.0, "Adj. Low": 1.0, "Adj. Volume": 1.0},
        {"adj_open": 1.0, "adj_high": 1.0, "adj_low": 1.0},
        {"Open Interest": 0.0, "Prev Close": 1.0, "52 Week High": 1.0},
        {"hasGaps": False, "retrieved": "2024-01-01"},
    ],
    ids=["Quandl", "snake", "quotes", "flags"],
)
def test_columns_beside_the_prices_are_no_tickers(folder, bars, others):
    (folder / "SPY.csv").write_text(text_of(bars.equity.assign(**others)))
    with_warnings = pytest.warns(BarsWarning) if "Prev Close" in others else None
    if with_warnings is None:
        assert same(load_bars(folder), bars)
    else:
        with with_warnings:
            assert same(load_bars(folder), bars)


@pytest.mark.parametrize("pattern", ["PX_{}", "{} (USD)", "{} [EUR]"])
def test_a_vendor_and_a_currency_in_names_are_no_tickers(folder, bars, pattern):
    named = bars.equity.rename(columns=lambda name: pattern.format(name.title()))
    (folder / "SPY.csv").write_text(text_of(named))
    assert same(load_bars(folder), bars)


def test_a_tail_of_empty_rows_is_left_out(folder, bars):
    dated = bars.equity.set_axis(bars.sessions.strftime("%Y%m%d"))
    (folder / "SPY.csv").write_text(text_of(dated) + ",,,,,\n" * 3)
    assert same(load_bars(folder), bars)


@pytest.mark.parametrize(
    "pack",
    [
        lambda text: text.encode("utf-16"),
        lambda text: gzip.compress(text.encode()),
        lambda text: ("A line of a vendor\n" * 30 + text).encode(),
    ],
    ids=["UTF-16", "gzip without its suffix", "long preamble"],
)
def test_texts_of_other_forms_are_read(folder, bars, pack):
    path = folder / "SPY.csv"
    path.write_bytes(pack(path.read_text()))
    assert same(load_bars(folder), bars)


def test_a_workbook_is_named_and_what_to_do_with_it(folder, bars):
    path = folder / "SPY.csv"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(BarsError, match="workbook or a zip archive; save its table"):
        load_bars(folder)
    path.rename(folder / "SPY.xlsx")
    match = r"there is TLT, VIX \(files not read: SPY\.xlsx: save them as CSV\)"
    with pytest.raises(BarsError, match=match):
        load_bars(folder)
    assert "SPY.xlsx" in validate_source(folder)[0].findings[0].sentence


def test_closes_in_parquet_are_dates_as_in_text(folder, bars):
    (folder / "SPY.csv").unlink()
    stamped = bars.equity.set_axis(bars.sessions + pd.Timedelta(hours=16))
    stamped.rename_axis("date").to_parquet(folder / "SPY.parquet")
    assert same(load_bars(folder), bars)


@pytest.mark.parametrize(
    "header", ["<TICKER>,<DTYYYYMMDD>", "Symbol,Date/Time", "Day,Date"]
)
def test_the_column_of_dates_is_the_one_named_for_them(tmp_path, bars, header):
    first, second = header.split(",")
    frame = bars.equity.reset_index(names=second)
    frame[second] = frame[second].dt.strftime("%Y%m%d")
    frame.insert(0, first, "Mon" if first == "Day" else "SPY")
    text = io.StringIO()
    frame.to_csv(text, index=False)
    (tmp_path / "SPY.csv").write_text(text.getvalue())
    assert read_file(tmp_path / "SPY.csv").frame.index.equals(bars.equity.index)


def test_swapped_feeds_are_not_taken_for_a_shift(tmp_path, market_dir):
    for name, other in (("SPY", "TLT"), ("TLT", "SPY"), ("VIX", "VIX")):
        frame = pd.read_csv(market_dir / f"{other}.csv", index_col="date")
        frame.loc["2016-01-04":"2021-12-31"].to_csv(tmp_path / f"{name}.csv")
    with pytest.raises(BarsError, match="volatility must fall when equity") as caught:
        load_bars(tmp_path)
    assert "a session late" not in str(caught.value)
