"""Files as vendors, libraries and spreadsheets write them: one table comes of all."""

import gzip

import pandas as pd
import pytest

from trm_bt.errors import BarsError
from trm_bt.feeds.tables import files_holding, read_file, read_table, symbols_of

DAYS = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-16"], name="session")
DAYS = DAYS.as_unit("ns")
BARS = pd.DataFrame(
    {
        "open": [24.13, 24.5, 25.0],
        "high": [24.9, 24.75, 25.25],
        "low": [24.0, 24.25, 24.5],
        "close": [24.5, 24.3, 24.75],
        "volume": [38_660_000.0, 1_234_567.0, 500_000.0],
    },
    DAYS,
)


def written(form, sep=",", header="Date,Open,High,Low,Close,Volume", text=str):
    """Write the bars by hand: a form of dates, a separator and a form of numbers."""
    lines = [header.replace(",", sep)]
    for day, row in BARS.iterrows():
        cells = [day.strftime(form), *map(text, row)]
        quoted = [f'"{cell}"' if sep in cell else cell for cell in cells]
        lines.append(sep.join(quoted))
    return "\n".join(lines) + "\n"


def point(value):
    return f"{value:g}" if value < 1000 else f"{value:.0f}"


def comma(value):
    return f"{value:.2f}".replace(".", ",") if value < 1000 else f"{value:.0f}"


def german(value):
    return comma(value) if value < 1000 else f"{value:,.0f}".replace(",", ".")


def dollars(value):
    return f"${value:g}" if value < 1000 else f"{value:,.0f}"


def investing(value):
    return f"{value:g}" if value < 1000 else f"{value / 1e6:.6f}M"


NASDAQ = "Date,Open,High,Low,Close/Last,Volume"
STOOQ_PL = "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen"
ARIVA = "Datum,Erster,Hoch,Tief,Schlusskurs,Stuecke"
FINANZEN = "Datum,Eröffnung,Hoch,Tief,Schluss,Volumen"
SOUND = {
    "slashes, year first": written("%Y/%m/%d"),
    "26-Feb-21": written("%d-%b-%y"),
    "26-Feb-2021": written("%d-%b-%Y"),
    "Feb 19, 2021": written("%b %d, %Y"),
    "day first": written("%d/%m/%Y"),
    "zulu": written("%Y-%m-%dT00:00:00Z"),
    "zulu, milliseconds": written("%Y-%m-%dT00:00:00.000Z"),
    "midnight in Greenwich": written("%Y-%m-%d 00:00:00+00:00"),
    "stamped at the close": written("%m/%d/%Y 16:00:00"),
    "semicolons": written("%Y-%m-%d", ";"),
    "tabs": written("%Y-%m-%d", "\t"),
    "German, semicolons": written("%d.%m.%Y", ";", FINANZEN, german),
    "German, quoted": written("%d.%m.%Y", ",", FINANZEN, comma),
    "German, of shares": written("%Y-%m-%d", ";", ARIVA, comma),
    "tabs and decimal commas": written("%Y-%m-%d", "\t", text=comma),
    "Polish": written("%Y-%m-%d", ",", STOOQ_PL),
    "Polish, accents": written(
        "%Y-%m-%d", ",", "Data,Otwarcie,Najwyższy,Najniższy,Zamknięcie,Wolumen"
    ),
    "Nasdaq": written("%m/%d/%Y", ",", NASDAQ, dollars),
    "Investing": written(
        "%m/%d/%Y", text=investing, header="Date,Open,High,Low,Price,Vol."
    ),
    "quantmod": written(
        "%Y-%m-%d", header=",SPY.Open,SPY.High,SPY.Low,SPY.Close,SPY.Volume"
    ),
    "Alpha Vantage": written("%Y-%m-%d", header="timestamp,open,high,low,close,volume"),
    "Polygon": written("%Y-%m-%d", header="t,o,h,l,c,v"),
    "prose before it": "Source: somebody\nAll in dollars, adjusted\n\n"
    + written("%Y-%m-%d"),
    "a byte order mark": "\ufeff" + written("%Y-%m-%d"),
    "text beside it": written("%Y-%m-%d")
    .replace("\n", ",fine\n")
    .replace("Volume,fine", "Volume,Remark"),
    "rows without values": written("%Y-%m-%d")
    + "2024-01-17,.,.,.,.,.\n2024-01-18,,,,,\n",
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_file_is_read_whole(tmp_path, case):
    path = tmp_path / "SPY.csv"
    path.write_text(SOUND[case], encoding="utf-8")
    read = read_file(path)
    table = read.frame[list(BARS)]
    pd.testing.assert_frame_equal(table, BARS, check_exact=True)
    assert read.findings == ()


MONTHS = {
    "Polish": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "Polish, whole": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia "
    "września października listopada grudnia",
    "German": "Jan. Feb. Mär. Apr. Mai Jun. Jul. Aug. Sep. Okt. Nov. Dez.",
    "German, whole": "Januar Februar März April Mai Juni Juli August September Oktober "
    "November Dezember",
    "French": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "Spanish": "ene feb mar abr may jun jul ago sep oct nov dic",
}


@pytest.mark.parametrize("form", ["2. {} 2024", "2 {} 2024", "2-{}-24", "{} 2, 2024"])
@pytest.mark.parametrize("language", MONTHS)
def test_months_have_names_in_other_languages(tmp_path, language, form):
    names = MONTHS[language].split()
    rows = [f'"{form.format(name)}",1,1,1,1,5' for name in names]
    path = tmp_path / "SPY.csv"
    path.write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows]), "utf-8")
    assert [(d.year, d.month, d.day) for d in read_table(path).index] == [
        (2024, month, 2) for month in range(1, 13)
    ]


def test_a_month_of_no_language_we_know_is_named(tmp_path):
    (tmp_path / "SPY.csv").write_text("Date,Close\n2 tammi 2024,1\n")
    with pytest.raises(BarsError, match="YYYY-MM-DD, data row 1 has '2 tammi 2024'"):
        read_table(tmp_path / "SPY.csv")


@pytest.mark.parametrize("is_repeated", [False, True])
def test_rows_of_distributions_between_prices_are_read(tmp_path, is_repeated):
    """Yahoo's site has them among its rows; read by pandas they fill every cell."""
    paid, split = "0.5 Dividend", "2:1 Stock Split"
    lines = ["Date,Open,High,Low,Close,Adj Close,Volume", '"Jan 4, 2024",6,6,6,6,6,5']
    for day, cell in (("Jan 4, 2024", split), ("Jan 3, 2024", paid)):
        cells = [cell] * 6 if is_repeated else [cell, *[""] * 5]
        lines.append(",".join([f'"{day}"', *cells]))
    lines += ['"Jan 3, 2024",6,6,6,6,6,5', '"Jan 2, 2024",6.5,6.5,6.5,6.5,6,5']
    (tmp_path / "SPY.csv").write_text("\n".join(lines) + "\n")
    table = read_table(tmp_path / "SPY.csv")
    assert table["open"].tolist() == [6.5, 6.0, 6.0]
    assert table["dividends"].tolist() == [0.0, 0.5, 0.0]
    assert table["stock splits"].tolist() == [0.0, 0.0, 2.0]


@pytest.mark.parametrize("name", ["SPY.CSV", "SPY.txt", "SPY.csv.gz", "SPY.Csv"])
def test_every_suffix_of_a_table_is_one(tmp_path, name):
    text = written("%Y-%m-%d").encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert files_holding(tmp_path, "SPY") == [path]
    pd.testing.assert_frame_equal(read_table(path), BARS)


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_moments_since_1970_are_dates(tmp_path, unit, zone):
    frame = BARS.copy()
    moments = frame.index.tz_localize(zone).as_unit(unit)
    frame.index = pd.Index(moments.astype("int64"), name="timestamp")
    frame.to_csv(tmp_path / "SPY.csv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "SPY.csv"), BARS)


def test_moments_at_no_time_of_a_daily_bar_are_refused(tmp_path):
    text = "timestamp,close\n1704240000000,1\n1704243600000,2\n"
    (tmp_path / "SPY.csv").write_text(text)
    with pytest.raises(BarsError, match="must be stamped with midnight, 9:30 or 16:00"):
        read_table(tmp_path / "SPY.csv")


def test_the_newest_row_first_is_turned_round_and_said(tmp_path):
    BARS[::-1].to_csv(tmp_path / "SPY.csv")
    read = read_file(tmp_path / "SPY.csv")
    pd.testing.assert_frame_equal(read.frame, BARS)
    (finding,) = read.findings
    assert (finding.rule, finding.severity) == ("newest first", "warning")


def downloaded(*, by_ticker=False, unnamed=False):
    """Return two symbols as yfinance.download gives them."""
    names = [None, None] if unnamed else ["Price", "Ticker"]
    wide = pd.concat({"SPY": BARS, "TLT": BARS * 2}, axis=1).swaplevel(axis=1)
    wide.columns = wide.columns.map(lambda pair: (pair[0].capitalize(), pair[1]))
    wide.columns.names = names
    wide.index.name = "Date"
    return wide.swaplevel(axis=1).sort_index(axis=1) if by_ticker else wide


@pytest.mark.parametrize("by_ticker", [False, True])
@pytest.mark.parametrize("unnamed", [False, True])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_download_of_several_symbols_serves_each(
    tmp_path, by_ticker, unnamed, reset, suffix
):
    wide = downloaded(by_ticker=by_ticker, unnamed=unnamed)
    wide = wide.reset_index() if reset else wide
    path = tmp_path / f"prices.{suffix}"
    wide.to_parquet(path) if suffix == "parquet" else wide.to_csv(path)
    assert symbols_of(path) == ("spy", "tlt")
    assert files_holding(tmp_path, "TLT") == [path]
    for symbol, factor in (("SPY", 1), ("TLT", 2)):
        table = read_file(path, symbol).frame[list(BARS)]
        pd.testing.assert_frame_equal(table, BARS * factor)


def test_one_symbol_of_a_download_is_a_file_of_its_own(tmp_path):
    wide = downloaded().xs("SPY", axis=1, level=1, drop_level=False)
    wide.to_parquet(tmp_path / "SPY.parquet")
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "SPY.parquet")[list(BARS)], BARS
    )


def test_rows_of_several_tickers_serve_each(tmp_path):
    long = pd.concat([BARS.assign(Ticker="SPY"), BARS.mul(2).assign(Ticker="TLT")])
    long.sort_index().to_csv(tmp_path / "all.csv")
    assert files_holding(tmp_path, "TLT") == [tmp_path / "all.csv"]
    pd.testing.assert_frame_equal(
        read_file(tmp_path / "all.csv", "TLT").frame, BARS * 2
    )


def test_another_ticker_than_the_name_is_said(tmp_path):
    text = written(
        "%Y-%m-%d", header="Date,IVV.Open,IVV.High,IVV.Low,IVV.Close,IVV.Volume"
    )
    (tmp_path / "SPY.csv").write_text(text)
    (finding,) = read_file(tmp_path / "SPY.csv").findings
    assert "was read as SPY, but its ticker is ivv" in finding.sentence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Date,Close\n2024-01-02,24,13\n", "Are its commas decimal commas"),
        ('Date,Close\n2024-01-02,"24,13"\n2024-01-03,24.14\n', "decimal comma"),
        ('Date,Close\n2024-01-02,"24,131"\n', "decimal comma, and not group thousands"),
        ("", "but is empty"),
        (
            "<!DOCTYPE html><html>\n<body>Too, many</body>\n",
            "a saved page or a message",
        ),
        ("Exceeded the daily hits limit", "message: 'Exceeded the daily hits limit'"),
        (
            '{"Note": "Thank you for using Alpha Vantage!, 25"}',
            "saved page or a message",
        ),
        ("Edge: Too Many Requests, try later\n", "message: 'Edge: Too Many Requests"),
        ("2024-01-02,1,2,1,2,5\n2024-01-03,1,2,1,2,5\n", "must begin with a header"),
        (
            "Date,Close\n2024-01-02,one\n2024-01-03,two\n",
            "got 'one' \\(and 1 more cells",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_name(tmp_path, text, message):
    (tmp_path / "SPY.csv").write_text(text)
    with pytest.raises(BarsError, match=message):
        read_table(tmp_path / "SPY.csv")


@pytest.mark.parametrize(
    ("text", "value"),
    [('"24,13"', 24.13), ('"1,234.56"', 1234.56), ('"$24.13"', 24.13)],
)
def test_a_comma_in_a_price_is_never_a_hundredfold(tmp_path, text, value):
    (tmp_path / "SPY.csv").write_text(f"Date,Close\n2024-01-02,{text}\n")
    assert read_table(tmp_path / "SPY.csv")["close"].tolist() == [value]


@pytest.mark.parametrize(
    "name", ["dividend", "Dividend", "div", "Dividends", "divCash", "Ex-Dividend"]
)
def test_every_name_of_a_dividend_is_one(tmp_path, name):
    (tmp_path / "SPY.csv").write_text(f"Date,Close,{name}\n2024-01-02,24.1,0.5\n")
    assert read_table(tmp_path / "SPY.csv")["dividends"].tolist() == [0.5]


@pytest.mark.parametrize(
    "name", ["split", "Split", "split_ratio", "splitFactor", "Stock Splits"]
)
def test_every_name_of_a_split_is_one(tmp_path, name):
    text = f"Date,Close,{name}\n2024-01-02,24.1,1.0\n2024-01-03,12.1,2.0\n"
    (tmp_path / "SPY.csv").write_text(text)
    assert read_table(tmp_path / "SPY.csv")["stock splits"].tolist() == [0.0, 2.0]


def test_a_number_that_nobody_reads_is_said(tmp_path):
    (tmp_path / "SPY.csv").write_text("Date,Close,beta\n2024-01-02,24.1,0.5\n")
    (finding,) = read_file(tmp_path / "SPY.csv").findings
    assert "column 'beta' is not known and not read" in finding.sentence


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        *(("spy_us_d.csv", "SPY"), ("spy.us.txt", "SPY"), ("VIX_History.csv", "VIX")),
        *(("VIXCLS.csv", "VIX"), ("DGS3MO.csv", "rates"), ("^IRX.csv", "rates")),
        *(("daily-treasury-rates.csv", "rates"), ("SPY (1).csv", "SPY")),
        *(("SPY Historical Data.csv", "SPY"), ("daily_adjusted_SPY.csv", "SPY")),
    ],
)
def test_a_vendors_name_of_a_file_is_known(tmp_path, name, symbol):
    (tmp_path / name).write_text(written("%Y-%m-%d"))
    assert files_holding(tmp_path, symbol) == [tmp_path / name]


def test_a_graph_of_fred_is_known_by_its_column(tmp_path):
    text = "observation_date,VIXCLS\n2024-01-01,.\n2024-01-02,13.2\n2024-01-03,\n"
    (tmp_path / "fredgraph.csv").write_text(text)
    assert files_holding(tmp_path, "VIX") == [tmp_path / "fredgraph.csv"]
    read = read_table(tmp_path / "fredgraph.csv")
    assert read["close"].to_dict() == {pd.Timestamp("2024-01-02"): 13.2}
