"""A long bond's total return, derived from constant-maturity Treasury yields."""

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError

BOND_YEARS: Final = 24.0
"""About the mean maturity of what TLT holds: bonds of 20 years and more."""
TEN_YEAR_BOND_YEARS: Final = 18.0
"""Repriced at the 10-year yield a bond of 18 years moves as much as one of 24 years at
the long yields, 1990 to 2000: shorter yields move more."""
_DAYS_PER_YEAR: Final = 365.25


def par_bond_closes(
    thirty: pd.Series, twenty: pd.Series | None = None, *, years: float = BOND_YEARS
) -> pd.Series:
    """Return the value of 100 held in a par bond that is renewed each session.

    The bond bought at the close of session t - 1 pays that close's yield as its coupon,
    twice a year. At the close of t it has aged by the days between, has accrued its
    coupon over them and is priced at the new yield. A session without a yield earns
    the accrued coupon alone.

    Parameters
    ----------
    thirty, twenty : Series of shape (n_sessions,)
        Yields as decimals a year, known at the close of their sessions. The 30-year
        one serves up to the first session that has a 20-year one, the latter from then
        on, so that every return is one yield's own.
    years : float
        Maturity of the bond; `TEN_YEAR_BOND_YEARS` with the 10-year yield alone.

    Returns
    -------
    Series of shape (n_sessions,)
        Closes, 100 on the first session; a close is known on its session.

    Raises
    ------
    BarsError
        If the first session has no yield.
    """
    sessions = thirty.index
    has_twenty = np.zeros(len(sessions), dtype=bool)
    later = thirty.to_numpy() if twenty is None else twenty.to_numpy()
    if twenty is not None and not np.isnan(later).all():
        has_twenty[int((~np.isnan(later)).argmax()) :] = True
    renewed = np.where(has_twenty, later, thirty.to_numpy())
    is_switch = has_twenty & ~np.append(False, has_twenty[:-1])
    is_switch[0] = False
    levels = np.where(is_switch, thirty.to_numpy(), renewed)
    if np.isnan(levels[0]):
        raise BarsError(
            f"A bond's first session needs a yield, {sessions[0].date()} has none."
        )

    values, coupon = [100.0], levels[0]
    for i, (before, session) in enumerate(pairwise(sessions), start=1):
        aged = (session - before).days / _DAYS_PER_YEAR
        growth = 1 + coupon * aged
        if not np.isnan(levels[i]):
            discount = (1 + levels[i] / 2) ** (-2 * (years - aged))
            growth += coupon / levels[i] * (1 - discount) + discount - 1
            coupon = renewed[i]
        values.append(values[-1] * growth)
    return pd.Series(values, sessions)
