"""The crisis windows, first and last date inclusive, and windows of the user."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.config import CrisisSet
from trm_bt.errors import ConfigError
from trm_bt.market._typing import BoolSessions, Json, JsonObject
from trm_bt.reading import check_json, read_text
from trm_bt.text import iso_date, shown

MAX_NAME: Final = 80
"""Characters that the name of a window may have."""
_MAX_WINDOWS: Final = 100
_COLUMNS: Final = ("name", "start", "end")


@dataclass(frozen=True, slots=True)
class Crisis:
    """A named span of calendar dates; its ends need not be trading sessions."""

    name: str
    start: pd.Timestamp
    end: pd.Timestamp

    def mask(self, sessions: pd.DatetimeIndex) -> BoolSessions:
        """Return which sessions fall inside the window, bool, shape (n_sessions,)."""
        return np.asarray((sessions >= self.start) & (sessions <= self.end))

    def is_covered(self, sessions: pd.DatetimeIndex) -> bool:
        """Return whether sessions, (n_sessions,), begin before it and reach its end.

        A window may end on a weekend; no crisis ends on a weekday without a session.
        """
        last = pd.offsets.BDay().rollback(self.end)
        return bool(len(sessions) and sessions[0] < self.start and sessions[-1] >= last)

    def missing(self, sessions: pd.DatetimeIndex, whose: str = "the bars'") -> str:
        """Say which part `sessions`, (n_sessions,), lack; empty where they cover it."""
        if self.is_covered(sessions):
            return ""
        if not self.mask(sessions).any():
            return f"not within {whose} span"
        if sessions[0] >= self.start:
            return f"only in part: {whose} span begins {sessions[0].date()}"
        return f"only in part: {whose} span ends {sessions[-1].date()}"


def _windows(*named: tuple[str, str, str]) -> tuple[Crisis, ...]:
    return tuple(
        Crisis(name, pd.Timestamp(start), pd.Timestamp(end))
        for name, start, end in named
    )


CRISES: Final = _windows(
    ("asian_financial_crisis", "1997-07-02", "1997-10-27"),
    ("dot_com_crash", "2000-03-10", "2002-10-09"),
    ("september_11", "2001-09-11", "2001-09-21"),
    ("financial_crisis", "2008-09-15", "2009-03-09"),
    ("flash_crash", "2010-05-06", "2010-05-07"),
    ("european_debt_crisis", "2011-08-01", "2012-06-30"),
    ("china_selloff", "2015-08-18", "2015-09-30"),
    ("brexit", "2016-06-23", "2016-07-15"),
    ("covid_19_crash", "2020-02-19", "2020-03-23"),
    ("gamestop_squeeze", "2021-01-27", "2021-02-05"),
    ("russia_ukraine", "2022-02-24", "2022-03-31"),
    ("svb_banking_crisis", "2023-03-08", "2023-03-17"),
)
HISTORIC: Final = _windows(
    ("kennedy_slide", "1961-12-12", "1962-06-26"),
    ("credit_crunch_1966", "1966-02-09", "1966-10-07"),
    ("bear_market_1970", "1968-11-29", "1970-05-26"),
    ("oil_crisis_1973", "1973-01-11", "1974-10-03"),
    ("volcker_shock_1980", "1980-02-13", "1980-03-27"),
    ("black_monday_1987", "1987-08-25", "1987-12-04"),
    ("gulf_war_1990", "1990-07-16", "1990-10-11"),
)
"""Falls before the twelve, from the highest close of the S&P 500 to the lowest."""


def crises_of(name: CrisisSet) -> tuple[Crisis, ...]:
    """Return the windows of a set, in date order.

    Examples
    --------
    >>> [len(crises_of(name)) for name in ("twelve", "historic")]
    [12, 19]
    """
    return CRISES if name == "twelve" else (*HISTORIC, *CRISES)


def crises_on(sessions: pd.DatetimeIndex) -> list[str]:
    """Return the names of the crises of each session, (n_sessions,), joined by ";"."""
    names = [""] * len(sessions)
    for crisis in CRISES:
        for row in np.flatnonzero(crisis.mask(sessions)):
            names[row] += f";{crisis.name}" if names[row] else crisis.name
    return names


def read_crises(path: str | Path) -> tuple[Crisis, ...]:
    """Read your own windows from a JSON or CSV file.

    Parameters
    ----------
    path : str or Path
        A ``.json`` file holds a list of objects with the keys `name`, `start` and
        `end`; a ``.csv`` file has these three columns. Dates are written YYYY-MM-DD,
        both inclusive.

    Returns
    -------
    tuple of Crisis
        In the order of the file. A name is any text and must be escaped where it is
        shown.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a window lacks something, ends before it begins,
        or bears a name that is taken; the sentence says which.
    """
    path = Path(path)
    try:
        rows = _rows_of(read_text(path), path)
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: cannot be read as windows: {error}.") from error
    crises = tuple(
        _window(row, f"{path}, window {number}") for number, row in enumerate(rows, 1)
    )
    check_names(crises, f"{path}: ")
    return crises


def _rows_of(text: str, path: Path) -> list[JsonObject]:
    """Return what the file lists, unchecked."""
    if path.suffix.lower() == ".json":
        check_json(text)
        listed: list[dict[str, Json]] = json.loads(text)
    elif path.suffix.lower() == ".csv":
        listed = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    else:
        raise ConfigError(
            f"{path}: must end in .json or .csv, got {shown(path.suffix)}."
        )
    n_windows = len(listed) if isinstance(listed, list) else 0
    if not 1 <= n_windows <= _MAX_WINDOWS:
        raise ConfigError(
            f"{path}: must list at least one window, at most {_MAX_WINDOWS}, got "
            f"{n_windows or 'none'}."
        )
    return list(listed)


def _window(row: Json, where: str) -> Crisis:
    """Turn a row into a window; complain about what breaks a rule."""
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: must be an object, got {type(row).__name__}.")
    values = [row.get(column) for column in _COLUMNS]
    for column, value in zip(_COLUMNS, values, strict=True):
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(
                f"{where}: must have the text `{column}`, got {shown(value)}."
            )
    name, start, end = (str(value).strip() for value in values)
    if len(name) > MAX_NAME or not name.isprintable():
        raise ConfigError(
            f"{where}: `name` must be one line of at most {MAX_NAME} characters, got "
            f"{len(name)}: {shown(name)}."
        )
    try:
        first, last = (pd.Timestamp(iso_date(day)) for day in (start, end))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from error
    if last < first:
        raise ConfigError(f"{where}: must not end before it begins, {end} < {start}.")
    return Crisis(name, first, last)


def check_names(crises: Iterable[Crisis], where: str = "") -> None:
    """Raise `ConfigError` if two windows, or one and a crisis of ours, share a name.

    Parameters
    ----------
    crises : iterable of Crisis
        Windows of the reader's own.
    where : str
        What the sentence begins with.
    """
    taken = {crisis.name for crisis in (*HISTORIC, *CRISES)}
    for crisis in crises:
        if crisis.name in taken:
            raise ConfigError(
                f"{where}the name {shown(crisis.name)} is taken. Choose another."
            )
        taken.add(crisis.name)
