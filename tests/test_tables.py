"""Files in the spellings of Yahoo, Stooq, Backtrader and the CBOE."""

import pandas as pd
import pytest

from trm_bt.errors import BarsError
from trm_bt.feeds.tables import files_holding, read_table

SPELLINGS = {
    "Yahoo": (
        "Date,Open,High,Low,Close,Adj Close,Volume\n"
        "2020-01-02,1,4,0.5,2,1.8,100\n2020-01-03,2,5,1,3,2.7,200\n"
    ),
    "yfinance": (
        "Date,Open,High,Low,Close,Adj Close,Volume\n"
        "2020-01-02 00:00:00-05:00,1,4,0.5,2,1.8,100\n"
        "2020-01-03 00:00:00-05:00,2,5,1,3,2.7,200\n"
    ),
    "Stooq": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "SPY.US,D,20200102,000000,1,4,0.5,2,100,0\n"
        "SPY.US,D,20200103,000000,2,5,1,3,200,0\n"
    ),
    "yfinance.download": (
        "Price,Adj Close,Close,High,Low,Open,Volume\nTicker,SPY,SPY,SPY,SPY,SPY,SPY\n"
        "Date,,,,,,\n2020-01-02,1.8,2,4,0.5,1,100\n2020-01-03,2.7,3,5,1,2,200\n"
    ),
    "Chicago": (
        "Date,Open,High,Low,Close,Adjusted_close,Volume\n"
        "2020-01-02 00:00:00-06:00,1,4,0.5,2,1.8,100\n"
        '2020-01-03 00:00:00-06:00,2,5,1,3,2.7,"200"\n'
    ),
    "Backtrader": (
        "datetime,open,high,low,close,volume,openinterest\n"
        "2020-01-02 00:00:00,1,4,0.5,2,100,0\n2020-01-03 00:00:00,2,5,1,3,200,0\n"
    ),
}


@pytest.mark.parametrize("vendor", SPELLINGS)
def test_every_vendors_spelling_gives_the_same_bars(tmp_path, vendor):
    (tmp_path / "SPY.csv").write_text(SPELLINGS[vendor])
    table = read_table(tmp_path / "SPY.csv")
    assert list(table.index) == [pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-03")]
    bars = table[["open", "high", "low", "close", "volume"]]
    assert bars.to_numpy().tolist() == [[1, 4, 0.5, 2, 100], [2, 5, 1, 3, 200]]


@pytest.mark.parametrize(
    "name", ["Adj Close", "Adj. Close", "adj_close", "Adjusted Close", "AdjClose"]
)
def test_every_spelling_of_the_adjusted_close_is_known(tmp_path, name):
    (tmp_path / "SPY.csv").write_text(f"Date,Close,{name}\n2020-01-02,2,1.8\n")
    assert read_table(tmp_path / "SPY.csv")["adj close"].tolist() == [1.8]


def test_thousands_are_read(tmp_path):
    (tmp_path / "SPY.csv").write_text('Date,Volume\n2020-01-02,"1,234,567"\n')
    assert read_table(tmp_path / "SPY.csv")["volume"].tolist() == [1234567]


@pytest.mark.parametrize("name", ["SPY.csv", "spy.us.csv", "^spy.parquet"])
def test_a_file_is_found_by_its_symbol(tmp_path, name):
    (tmp_path / name).touch()
    assert files_holding(tmp_path, "SPY") == [tmp_path / name]


def test_two_files_of_one_symbol_are_refused(tmp_path):
    for name in ("SPY.csv", "spy.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(BarsError, match=r"must hold SPY once, has SPY\.csv and spy"):
        files_holding(tmp_path, "SPY")


def test_the_header_of_a_cboe_file_follows_prose(tmp_path):
    path = tmp_path / "putcall.csv"
    path.write_text(
        "Cboe Equity Volume and Put/Call Ratios,,,,\n,PRODUCT: EQUITY,,,\n"
        "DATE,CALLS,PUTS,TOTAL,P/C Ratio\n11/1/2006,976510,623929,1600439,0.64\n"
        "11/2/2006,972347,617427,1589774,0.63\n"
    )
    table = read_table(path)
    assert table["p/c ratio"].tolist() == [0.64, 0.63]
    assert table.index[0] == pd.Timestamp("2006-11-01")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Date,Close\n2020-01-02 05:00:00+00:00,1\n", "data row 1 has '2020-01-02 05"),
        ("Date,Close\n2020-01-02,1\n01/03/2020,2\n", "data row 2 has '01/03/2020'"),
        (
            "Price,Close,Close\nTicker,QQQ,TLT\nDate,,\n2020-01-02,1,2\n",
            "must hold SPY, has QQQ, TLT",
        ),
        ("Date,Close\n2020-01-02,one\n", "'close' must be a number, on 2020-01-02"),
        ("Date,Close,close\n2020-01-02,1,2\n", "'close' must be there only once"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, message):
    (tmp_path / "SPY.csv").write_text(text)
    with pytest.raises(BarsError, match=message.replace("+", r"\+")) as caught:
        read_table(tmp_path / "SPY.csv")
    assert "SPY.csv" in str(caught.value)
