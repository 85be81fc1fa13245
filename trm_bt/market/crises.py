"""The twelve crisis windows, first and last day inclusive."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True)
class Crisis:
    """A named span of calendar dates; its ends need not be trading sessions."""

    name: str
    start: pd.Timestamp
    end: pd.Timestamp

    def mask(self, sessions: pd.DatetimeIndex) -> np.ndarray:
        """Tell which sessions fall inside the window, bool, shape (n_sessions,)."""
        return np.asarray((sessions >= self.start) & (sessions <= self.end))

    def is_covered(self, sessions: pd.DatetimeIndex) -> bool:
        """Tell whether `sessions` begin before the window and reach its last weekday.

        A window may end on a weekend; no crisis ends on a weekday without a session.
        """
        last = pd.offsets.BDay().rollback(self.end)
        return bool(len(sessions) and sessions[0] < self.start and sessions[-1] >= last)


CRISES: Final = tuple(
    Crisis(name, pd.Timestamp(start), pd.Timestamp(end))
    for name, start, end in (
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
)


def crises_on(sessions: pd.DatetimeIndex) -> list[list[str]]:
    """Return for each session the names of the crises it falls in (often none)."""
    names: list[list[str]] = [[] for _ in range(len(sessions))]
    for crisis in CRISES:
        for row in np.flatnonzero(crisis.mask(sessions)):
            names[row].append(crisis.name)
    return names
