"""Dates and numbers in the spellings that vendors use; what is in doubt is refused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.spellings import fold
from trm_bt.text import shown

_DATE_FORMATS: Final = (
    *("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y", "%Y.%m.%d"),
    *("%d-%b-%y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y", "%m/%d/%y"),
    *("%m-%d-%Y",),
)
_MONTHS: Final = (
    *("jan sty ene gen", "feb lut fev", "mar mrz", "apr kwi avr abr"),
    *("may maj mai mag", "jun cze juin giu", "jul lip juil lug", "aug sie aou ago"),
    *("sep wrz set", "oct paz okt ott out", "nov lis", "dec gru dez dic"),
)
"""Months by their first letters in English, Polish, German, French, Spanish, Italian
and Portuguese, without accents."""
_MONTH_OF: Final = {
    word: months.split()[0] for months in _MONTHS for word in months.split()
}
_MONTH: Final = re.compile(r"([^\W\d_]{3,})\.?")
_MIDNIGHT: Final = re.compile(
    r"([ T]\s?(00:00:00(\.0+)?|000000|00:00|16:00:00|16:00)(Z|[+-]00:?00|-0[456]:?00)?"
    r"| UTC)$"
)
"""What stands after the date of a daily bar: midnight in New York, in Chicago for the
indexes of the CBOE, or of the date itself; or the close without a zone."""
_COMPACT: Final = re.compile(
    r"^((?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
    r"(?:00|0000|000000|0930|093000|16|1600|160000)(?:\.0)?$"
)
"""A date and the time of a daily bar in one row of digits; as seconds after 2029."""
_YEARS: Final = (1900, 2100)
_EPOCH_UNITS: Final[dict[Literal["ns", "us", "ms", "s"], float]] = {
    **{"ns": 1e17, "us": 1e14, "ms": 1e11, "s": 1e8}
}
"""With the least size of the largest, which is later than 1973; YYYYMMDD is smaller."""
_DAILY_TIMES: Final = ("00:00:00", "09:30:00", "16:00:00")
_OUTSIDE: Final = re.compile(r"[\s\u00a0\u202f$€£%']")
_SUFFIXES: Final[Mapping[str, float]] = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_MISSING: Final = ("", ".", "-", "nan", "None", "null", "N/A", "NA", "<NA>", "NaN")


def parse_dates(written: pd.Series, path: Path) -> pd.DatetimeIndex:
    """Return the sessions; all of them must be written in one of the formats.

    Raises
    ------
    BarsError
        If a row has no date, or one in another format than the first.
    """
    is_plain = isinstance(written.dtype, np.dtype) and written.dtype.kind not in "iuf"
    dates = (
        pd.to_datetime(written, errors="coerce", format="%Y-%m-%d")
        if is_plain
        else None
    )
    if dates is None or dates.isna().any():
        if written.dtype.kind == "f" and (written == written.round()).all():
            written = written.astype("int64")
        dates = _parse_others(written.astype(str).str.strip(), path)
    elif (dates.dt.strftime("%H:%M") == "16:00").all():
        dates = dates.dt.normalize()
    return pd.DatetimeIndex(dates, name="session").as_unit("ns")


def _parse_others(text: pd.Series, path: Path) -> pd.Series:
    text = text.str.replace(_COMPACT, r"\1", regex=True)
    if text.str.fullmatch(r"-?\d{9,19}(\.0)?").any():
        stamps = pd.to_numeric(text.str.removesuffix(".0"), errors="coerce")
        if stamps.notna().all():
            return _of_moments(stamps.astype("int64"), path)
    days = text.str.replace(_MIDNIGHT, "", regex=True)
    if days.str.contains(r"[^\W\d_]{3}", regex=True).any():
        days = days.str.replace(_MONTH, _in_english, regex=True)
        days = days.str.replace(r"^(\d\d?)\. ", r"\1 ", regex=True)  # 26. Feb 2021
    best, fewest = None, len(days) + 1
    for date_format in _DATE_FORMATS:
        dates = pd.to_datetime(days, errors="coerce", format=date_format)
        n_missing = int(dates.isna().sum())
        if n_missing < fewest:
            best, fewest = dates, n_missing
        if not n_missing:
            break
    assert best is not None
    if fewest:
        row = int(best.isna().to_numpy().argmax())
        raise BarsError(
            f"{path}: every row needs a New York trading date as YYYY-MM-DD, data row "
            f"{row + 1} has {shown(text.iloc[row])}."
        )
    return best


def _in_english(found: re.Match[str]) -> str:
    """Return the first letters of a month in English; of another word the word."""
    word = fold(found[1])
    month = _MONTH_OF.get(word[:4]) or _MONTH_OF.get(word[:3])
    return found[0] if month is None else month


def _of_moments(stamps: pd.Series, path: Path) -> pd.Series:
    """Return the dates of seconds since 1970, or of finer units."""
    unit = next(u for u, least in _EPOCH_UNITS.items() if stamps.max() >= least)
    moments = pd.Series(pd.to_datetime(stamps, unit=unit, errors="coerce"))
    is_date = moments.dt.year.between(*_YEARS)
    if not is_date.all():
        row = int((~is_date).to_numpy().argmax())
        raise BarsError(
            f"{path}: every row needs a New York trading date as YYYY-MM-DD, data row "
            f"{row + 1} has {stamps.iloc[row]}."
        )
    if (moments == moments.dt.normalize()).all():
        return moments
    local = moments.dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    is_odd = ~local.dt.strftime("%H:%M:%S").isin(_DAILY_TIMES)
    if is_odd.any():
        row = int(is_odd.to_numpy().argmax())
        raise BarsError(
            f"{path}: a daily bar must be stamped with midnight, 9:30 or 16:00 in New "
            f"York, data row {row + 1} has {stamps.iloc[row]}, {local.iloc[row]}."
        )
    days: pd.Series = local.dt.tz_localize(None).dt.normalize()
    return days


def parse_numbers(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return numbers for the cells of a table that are text.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        By sessions; columns of text have cells such as $24.13, 38.66M and 24,13.
    path : Path
        Begins the sentence of an error.

    Raises
    ------
    BarsError
        If a cell is no number, or its comma may mean two things.
    """
    texts = frame.select_dtypes(exclude="number").astype(str)
    if texts.empty:
        return frame.astype(np.float64)
    texts = texts.apply(lambda column: column.str.replace(_OUTSIDE, "", regex=True))
    texts = texts.mask(texts.isin(_MISSING))
    prices = texts.drop(columns="volume", errors="ignore")
    comma = _decimal_comma(prices, path)
    parsed = frame.copy()
    for name in texts:
        parsed[name] = _numbers(texts[name], comma=comma, is_volume=name == "volume")
    is_text = (parsed[texts.columns].isna() & texts.notna()).to_numpy()
    if is_text.any():
        row, column = np.argwhere(is_text)[0]
        name = texts.columns[column]
        n_more = int(is_text.sum()) - 1
        raise BarsError(
            f"{path}: '{name}' must be a number, on {frame.index[row].date()} got "
            f"{shown(frame[name].iloc[row])}"
            f"{f' (and {n_more} more cells)' * bool(n_more)}."
        )
    return parsed.astype(np.float64)


def _decimal_comma(prices: pd.DataFrame, path: Path) -> bool:
    """Tell whether the commas in prices are decimal signs.

    Raises
    ------
    BarsError
        If they may group thousands as well, or some prices have decimal points.
    """
    cells = prices.melt(ignore_index=False).dropna(subset="value")
    if cells.empty:
        return False
    has_comma = cells["value"].str.contains(",", regex=False)
    if not has_comma.any():
        return False
    values = cells["value"][has_comma]
    is_point = values.str.fullmatch(r"[+-]?\d{1,3}(,\d{3})+\.\d*")
    is_grouped = values.str.fullmatch(r"[+-]?\d{1,3}(,\d{3})+")
    is_decimal = values.str.fullmatch(r"[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+")
    has_points = cells["value"][~has_comma].str.contains(".", regex=False).any()
    if is_point.any() and (is_point | is_grouped).all():
        return False
    if is_decimal.all() and not is_grouped.all() and not has_points:
        return True
    first = cells[has_comma].iloc[0]
    mixed = "some prices have decimal points" if has_points else "both are possible"
    raise BarsError(
        f"{path}: a comma in a price must be a decimal comma, and not group thousands; "
        f"'{first['variable']}' on {values.index[0].date()} is "
        f"{shown(first['value'])}, and {mixed}. Write decimal points."
    )


def _numbers(text: pd.Series, *, comma: bool, is_volume: bool) -> pd.Series:
    factor: pd.Series | float = 1.0
    if is_volume:
        suffix = text.str.extract(r"(?i)([KMBT])$")[0].str.upper()
        factor = suffix.map(_SUFFIXES).fillna(1.0)
        text = text.str.replace(r"(?i)[KMBT]$", "", regex=True)
        is_grouped = text.str.fullmatch(r"\d{1,3}([.,]\d{3})+") & suffix.isna()
        plain = text.str.replace(r"[.,]", "", regex=True)
        text = text.where(~is_grouped.fillna(value=False).astype(bool), plain)
    if comma:
        text = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    else:
        text = text.str.replace(r",(?=\d{3})", "", regex=True)
    return pd.to_numeric(text, errors="coerce") * factor
