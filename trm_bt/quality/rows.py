"""Whether bars stand on the sessions of the exchange, in order, with their columns."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market.bars import PRICE_COLUMNS, check_sessions
from trm_bt.quality.findings import Finding, Subject, on_rows
from trm_bt.text import shorten

_MISSING_SHARE: Final = 0.005
_MISSING_FREE: Final = 3
_MISSING_RUN: Final = 3
"""Errors begin above these: sessions missing in all, and one after another."""
_EXTRA_SHARE: Final = 0.002
_EXTRA_FREE: Final = 2


def find_index(bars: Subject) -> Iterator[Finding]:
    """Find dates that are no sessions, repeated, or out of order."""
    try:
        check_sessions(bars.frame.index, bars.name)
    except BarsError as error:
        rule, count = _broken_index_rule(bars.frame.index)
        yield Finding("error", rule, count, None, str(error))


def _broken_index_rule(index: pd.Index) -> tuple[str, int]:
    """Return the rule that the index breaks first, and on how many rows."""
    if not isinstance(index, pd.DatetimeIndex) or index.hasnans or not len(index):
        return "dates", max(1, int(np.count_nonzero(index.isna())))
    if index.tz is not None or (index != index.normalize()).all():
        return "time zone", len(index)
    if index.has_duplicates:
        return "duplicates", int(np.count_nonzero(index.duplicated()))
    if not index.is_monotonic_increasing:
        return "order", int(np.count_nonzero(index[1:] < index[:-1]))
    return "dates", int(np.count_nonzero(index != index.normalize()))


def find_columns(bars: Subject) -> Iterator[Finding]:
    """Look for columns that are missing; volume is needed of equity and bond."""
    needs_volume = bars.role in ("equity", "bond")
    needed = (*PRICE_COLUMNS, "volume") if needs_volume else PRICE_COLUMNS
    columns = list(bars.frame.columns)
    missing = [column for column in needed if column not in columns]
    if missing:
        words = (
            f"{bars.name}: column '{missing[0]}' is missing, got {shorten(columns)}."
        )
        yield Finding("error", "columns", len(missing), None, words)


def find_calendar(bars: Subject) -> Iterator[Finding]:
    """Look for sessions that are missing, and rows on none.

    Those of a series are no error: it is carried over holes, or not used. But a
    put/call ratio of many weekends stands on other days than its own.
    """
    index, sessions = pd.DatetimeIndex(bars.frame.index), bars.sessions
    missing, extra = sessions.difference(index), index.difference(sessions)
    if len(missing):
        place = sessions.get_indexer(missing)
        runs = np.split(place, np.flatnonzero(np.diff(place) > 1) + 1)
        longest = max(map(len, runs))
        allowed = max(_MISSING_FREE, _MISSING_SHARE * len(sessions))
        is_error = len(missing) > allowed or longest > _MISSING_RUN
        yield on_rows(
            "error" if is_error and bars.role != "series" else "warning",
            "missing sessions",
            missing,
            f"{bars.name}: every session of the exchange must be there, {len(missing)} "
            f"of {len(sessions)} are missing, {longest} in a row at most",
        )
    if len(extra):
        is_weekend = bool((extra.day_of_week >= 5).any())
        allowed = max(_EXTRA_FREE, _EXTRA_SHARE * len(index))
        # the exchange of the options computes the index on holidays of the other
        is_many = len(extra) > allowed and bars.role != "volatility"
        is_error = is_weekend or is_many
        if bars.role == "series":
            is_error = is_weekend and is_many and bars.symbol == "putcall"
        yield on_rows(
            "error" if is_error else "warning",
            "extra sessions",
            extra,
            f"{bars.name}: bars must lie on sessions of the exchange, {len(extra)} "
            "do not; with a warning they are left out",
        )
