"""Names of columns and of files as vendors give them, and what we call them."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

DATE_COLUMNS: Final = (
    *("date", "datetime", "date/time", "trade date", "exchange date", "timestamp"),
    *("observation date", "window start", "dates", "data", "datum", "dtyyyymmdd"),
    *("session", "day", "t"),
)
"""Of several in a file the first of these is the one."""
_NAMES: Final = {
    "open": "otwarcie, kurs otwarcia, eroffnung, eroffn, erster, open price, 1 open",
    "high": "najwyzszy, max, hoch, hochst, hochstkurs, tageshoch, high price, 2 high",
    "low": "najnizszy, min, tief, tiefst, tiefstkurs, tagestief, low price, 3 low",
    "close": (
        "zamkniecie, kurs zamkniecia, ostatnio, schluss, schlusskurs, zuletzt, "
        "letzter, close/last, close price, last, price, nav, vixcls, 4 close"
    ),
    "volume": (
        "vol, wolumen, wol, stuck, stucke, stuecke, volumen, share volume, 5 volume, "
        "6 volume"
    ),
    "adj close": (
        "adjclose, adjusted close, adjustedclose, adjusted, adj price, 5 adjusted close"
    ),
    "dividends": (
        "dividend, div, divs, dividend amount, divcash, div cash, cash dividend, "
        "ex-dividend, dividende, dywidenda, distribution, distributions, "
        "7 dividend amount"
    ),
    "stock splits": (
        "stock split, split, split ratio, splitratio, split factor, splitfactor, "
        "split coefficient, 8 split coefficient"
    ),
    "capital gains": "capital gain, capital gains, capgains, cap gains, capitalgains",
    **{f"dgs{n}mo": f"{n} mo, {n} month, {n}-month" for n in (1, 2, 3, 4, 6)},
    **{f"dgs{n}": f"{n} yr, {n} year, {n}-year" for n in (1, 2, 3, 5, 7, 10, 20, 30)},
}
_OURS: Final = {
    name: ours for ours, names in _NAMES.items() for name in names.split(", ")
}
_LETTERS: Final = dict(zip("ohlcv", _NAMES, strict=False))
"""As the interface of Polygon sends them."""
_KEPT: Final = ("capital_gains",)
"""Names of raw bars alone, which say of a file that it holds them."""
PRICES: Final = ("open", "high", "low", "close")
_UNREAD: Final = re.compile(
    r"adj(usted)? ?(open|high|low|vol(ume)?)|open ?int(erest)?|per|ticker|symbol|time"
    r"|vwap|vw|wap|average|barcount|n|trades|transactions|count|number of trades"
    r"|(change|chg|zmiana|% ?chg|\+/-)( ?%)?|turnover|umsatz|index close|currency"
    r"|unnamed.*|level 0|index|"
)
_SYMBOLS: Final = {
    "VIX": "vixcls, cboe volatility index, cboe vix",
    "putcall": "totalpc, equitypc, put call, put call ratio, pcratio",
    "rates": (
        "irx, tnx, tyx, dgs3mo, dgs20, dgs30, dgs10, dgs2, dtb3, tb3ms, "
        "treasury rates, treasury rates all, "
        "daily treasury rates, daily treasury rates all"
    ),
}
_SYMBOL_OF_NAME: Final = {
    name: symbol for symbol, names in _SYMBOLS.items() for name in names.split(", ")
}
_SYMBOL_OF_COLUMN: Final = {"vixcls": "VIX", "dgs3mo": "rates", "3 mo": "rates"}
_DECORATIONS: Final = (
    re.compile(r"^(daily adjusted|daily|table|quotes|wiki|eod) "),
    re.compile(
        r" (us|us d|d|1d|day|daily|daily adjusted|history|historical data|historical"
        r"|data|max|\(\d+\))$"
    ),
)
TABLE_SUFFIXES: Final = (".csv", ".csv.gz", ".parquet", ".txt", ".txt.gz")
_NO_TABLES: Final = ("members", "readme", "license", "licence", "notes")


def fold(text: str) -> str:
    """Return a name in lower case, without accents, dots, underscores and stars.

    Nor has it the PX of Bloomberg, or a currency in brackets.

    Examples
    --------
    >>> fold(" <Adj. Close*> "), fold("Eröffn."), fold("Zamknięcie")
    ('adj close', 'eroffn', 'zamkniecie')
    >>> fold("PX_OPEN"), fold("Open (USD)")
    ('open', 'open')
    """
    plain = unicodedata.normalize("NFKD", text.lower().replace("ł", "l"))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"[\s._*]+", " ", plain.strip(" <>'\"*")).strip()
    return re.sub(r"^px |(?<=.) ?[(\[][a-z]{3}[)\]]$", "", plain)


def our_names(columns: list[str]) -> list[str]:
    """Return what we call columns; those that we do not know are lower-cased.

    A second column of one meaning keeps its name.

    Examples
    --------
    >>> our_names(["Datum", "Schluss", "Stücke", "Volumen", "dgs2"])
    ['datum', 'close', 'volume', 'volumen', 'dgs2']
    """
    plain = [column.strip(" <>").lower() for column in columns]
    folded = [fold(column) for column in columns]
    table = {**_OURS, **{name: name for name in _NAMES}}
    if set("ohlc") <= {*folded}:
        table |= _LETTERS
    names: list[str] = []
    for name, key in zip(plain, folded, strict=True):
        ours = table.get(key, name)
        is_taken = ours in names or (ours != key and ours in folded)
        names.append(name if is_taken or name in _KEPT else ours)
    return names


def is_date(column: str) -> bool:
    """Tell whether a column is one of dates by its name."""
    return fold(column) in DATE_COLUMNS


def date_column(columns: Sequence[str]) -> str:
    """Return the column of dates by its name, else `time` or the first.

    Examples
    --------
    >>> date_column(["day", "date", "open"]), date_column(["ticker", "time", "open"])
    ('date', 'time')
    """
    dates = sorted(filter(is_date, columns), key=lambda c: DATE_COLUMNS.index(fold(c)))
    return dates[0] if dates else "time" if "time" in columns else columns[0]


def is_known(column: str) -> bool:
    """Tell whether a column is one that we know by its name, with a ticker or not."""
    key = split_ticker(column)[1]
    return key in DATE_COLUMNS or key in _NAMES or key in _OURS or key in _LETTERS


def is_read(column: str) -> bool:
    """Tell whether one of our names means something to a reader of bars."""
    return column in _NAMES or column in _KEPT or column == "splits"


def is_unread(column: str) -> bool:
    """Tell whether we know what a column is, and need it nowhere."""
    return _UNREAD.fullmatch(fold(column)) is not None


def table_suffix(path: Path) -> str:
    """Return the suffix in lower case if a file may be a table, else nothing."""
    name = path.name.lower()
    if name.startswith((".", "~")) or name.split(".")[0] in _NO_TABLES:
        return ""
    return max(filter(name.endswith, TABLE_SUFFIXES), key=len, default="")


def symbol_of(path: Path) -> str:
    """Return the symbol that a file is named for, in lower case.

    Examples
    --------
    >>> [symbol_of(Path(name)) for name in ("SPY.csv", "^vix.csv", "spy.us.parquet")]
    ['spy', 'vix', 'spy']
    >>> names = ("spy_us_d.csv", "VIX_History.csv", "DGS3MO.csv", "SPY (1).CSV.gz")
    >>> [symbol_of(Path(name)) for name in names]
    ['spy', 'vix', 'rates', 'spy']
    """
    stem = path.name.lower().removesuffix(table_suffix(path)).removeprefix("^")
    words = re.sub(r"[\s._-]+", " ", stem).strip()
    shorter, name = words, ""
    while shorter != name and shorter not in _SYMBOL_OF_NAME:
        name = shorter
        for pattern in _DECORATIONS:
            shorter = pattern.sub("", shorter)
    if shorter in _SYMBOL_OF_NAME:
        return _SYMBOL_OF_NAME[shorter].lower()
    return stem if shorter == words else shorter


def symbols_in(columns: Collection[str]) -> tuple[str, ...]:
    """Return the symbols that a header's columns are series of, as FRED names them."""
    found = (_SYMBOL_OF_COLUMN.get(fold(column)) for column in columns)
    return tuple(dict.fromkeys(filter(None, found)))


def split_ticker(column: str) -> tuple[str, str]:
    """Return the ticker in a column's name and the rest, such as SPY and open.

    Examples
    --------
    >>> split_ticker("SPY.Open"), split_ticker("('Adj Close', 'SPY')")
    (('spy', 'open'), ('spy', 'adj close'))
    >>> split_ticker("adj close")
    ('', 'adj close')
    """
    known = {*_NAMES, *_OURS}
    key = fold(column)
    if key in known:
        return "", key
    parts = re.findall(r"'([^']*)'", column) if column.startswith("(") else []
    if len(parts) != 2:
        parts = re.split(r"[ ._]", column.strip(" <>"), maxsplit=1)
        tail = re.split(r"[ ._]", column.strip(" <>"))
        if fold(parts[-1]) not in known and len(tail) > 1:
            parts = [" ".join(tail[:-1]), tail[-1]]
    if len(parts) == 2:
        for ticker, rest in (parts, parts[::-1]):
            if ticker and fold(rest) in known and fold(ticker) not in known:
                return ticker.lower().removeprefix("^"), fold(rest)
    return "", key
