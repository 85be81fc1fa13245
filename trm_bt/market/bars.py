"""Checked, aligned daily bars of every role, and where each of them came from.

Prices are adjusted for dividends and splits. Sessions are tz-naive New York trading
dates, strictly increasing, and one calendar is shared by every role.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.market._typing import FloatSessions
from trm_bt.text import shorten, shown, span_text

CORE_ROLES: Final = ("equity", "bond", "volatility")
"""Roles that all bars have, with open, high, low and close."""
ROLES: Final = (*CORE_ROLES, "members", "put_call", "cash_rate")
PRICE_COLUMNS: Final = ("open", "high", "low", "close")
MAX_CARRIED_SESSIONS: Final = 5
"""A rate or a put/call ratio is carried forward over at most this many sessions."""
SESSIONS_PER_YEAR: Final = 252
Status = Literal["observed", "proxy"]
"""Whether values are what their name says, or an estimate of it."""
RATE_RANGE: Final = (-0.02, 0.20)
LARGEST_RATE_CHANGE: Final = 0.03
"""Treasury yields since 1962 have stayed between 0 and .18, and moved by less than .02
in a session."""
HIGHEST_RATE_SINCE_1990: Final = 0.09
"""The 3-month yield has stayed below this, and in percent it has peaked above it in any
two years."""
VOLATILITY_LEVELS: Final = (5.0, 200.0)
"""Points that a volatility index stays between: VIX has closed at 8.5 to 83."""
_MIN_DECAY_YEARS: Final = 4
_YEARLY_DECAY: Final = -0.2
"""No four years of the index since 1990 fell by so much each."""
_ROUNDING: Final = 1e-4
"""Relative slack when high and low are held against open and close: files round."""


class Note(str):
    """A sentence about some sessions, which is cut with the bars.

    Parameters
    ----------
    sentence : str
        What is said while all of the sessions are there.
    sessions : DatetimeIndex of shape (n_sessions,)
        The sessions that it is about.
    what : str
        What is said of those that a cut leaves, their number and the first following;
        empty where nothing can be said without all of them.
    """

    sessions: pd.DatetimeIndex
    what: str

    def __new__(cls, sentence: str, sessions: pd.DatetimeIndex, what: str = "") -> Self:
        """Make a note; it is its sentence."""
        note = super().__new__(cls, sentence)
        note.sessions, note.what = sessions, what
        return note

    def __getnewargs__(self) -> tuple[str, pd.DatetimeIndex, str]:  # type: ignore[override]
        """Return what a copy is made from."""
        return str(self), self.sessions, self.what

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> str | None:
        """Return what may be said of bars that are cut to a span, None if nothing."""
        kept = self.sessions[(self.sessions >= first) & (self.sessions <= last)]
        if not self.what or not len(kept):
            return None
        if self.what == self:
            return self
        words = f"{self.what}, on {len(kept)} sessions, first {kept[0].date()}"
        return Note(words, kept, self.what)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where one role's values came from.

    Parameters
    ----------
    source : str
        What was read, in words a reader of a report understands.
    start, end : Timestamp
        First and last session served.
    status : {"observed", "proxy"}
        Whether the role is what its name says, or an estimate of it.
    notes : tuple of str
        What was spliced, estimated, carried forward or replaced; a `Note` is about
        some sessions only.
    """

    source: str
    start: pd.Timestamp
    end: pd.Timestamp
    status: Status = "observed"
    notes: tuple[str, ...] = ()

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> "Provenance":
        """Return what holds for bars cut to a span: nothing that is later."""
        if (first, last) == (self.start, self.end):
            return self
        cut = [n.between(first, last) if isinstance(n, Note) else n for n in self.notes]
        notes = tuple(note for note in cut if note is not None)
        return replace(self, start=first, end=last, notes=notes)


@dataclass(frozen=True)
class Bars:
    """Daily bars of all roles on one calendar; checked when made.

    The frames are kept, not copied: what is changed in them later is not checked.

    Parameters
    ----------
    equity, bond : DataFrame of shape (n_sessions, 5)
        Columns open, high, low, close, volume; adjusted prices in quote currency,
        volume in shares.
    volatility : DataFrame of shape (n_sessions, 4)
        Columns open, high, low, close of the volatility index, in index points.
    members : DataFrame of shape (n_sessions, n_members) or None
        Adjusted closes of the equity's constituents or sectors.
    put_call : Series of shape (n_sessions,) or None
        Put/call volume ratio, known at the close of its session.
    cash_rate : Series of shape (n_sessions,) or None
        Annual cash yield as a decimal, known at the close of its session.
    source : str
        One sentence naming the source, shown wherever the bars are used.
    is_derived : bool
        Whether the prices are derived from other series instead of quoted.
    provenance : dict of str to Provenance
        One entry per role present.

    Raises
    ------
    BarsError
        If a role breaks a rule; the sentence names role, rule and first session.
    """

    equity: pd.DataFrame
    bond: pd.DataFrame
    volatility: pd.DataFrame
    members: pd.DataFrame | None = None
    put_call: pd.Series | None = None
    cash_rate: pd.Series | None = None
    source: str = "bars given by the caller"
    is_derived: bool = False
    provenance: dict[str, Provenance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in CORE_ROLES:
            check_ohlc(getattr(self, role), role)
        if "volume" not in self.equity:
            raise BarsError(
                f"equity: column 'volume' is missing, got {shorten([*self.equity])}."
            )
        check_volatility(self.volatility["close"], "volatility")
        for role, values in self.by_role().items():
            _check_same_calendar(self.sessions, values.index, role)
        if self.members is not None:
            check_positive(self.members, "members")
        if self.put_call is not None:
            check_positive(self.put_call.to_frame(), "put_call")
        if self.cash_rate is not None:
            check_finite(self.cash_rate.to_frame(), "cash_rate")
            check_cash_rate(self.cash_rate.to_numpy(), self.sessions, "cash_rate")

    @property
    def sessions(self) -> pd.DatetimeIndex:
        """The shared calendar, oldest session first, shape (n_sessions,)."""
        index = self.equity.index
        assert isinstance(index, pd.DatetimeIndex)
        return index

    def by_role(self) -> dict[str, pd.DataFrame | pd.Series]:
        """Return the values of each role that is there, in the shapes of the class."""
        values = {role: getattr(self, role) for role in ROLES}
        return {role: held for role, held in values.items() if held is not None}

    def status(self, role: str) -> Status:
        """Return whether `role` is observed (the default) or an estimate."""
        entry = self.provenance.get(role)
        return entry.status if entry else "observed"

    def sha256(self) -> str:
        """Return the digest of all values and sessions: equal bars, equal digest."""
        digest = hashlib.sha256()
        for role, values in self.by_role().items():
            is_table = isinstance(values, pd.DataFrame)
            names = [role, *values.columns] if is_table else [role]
            digest.update("\0".join(map(str, names)).encode())
            digest.update(values.index.to_numpy("datetime64[D]").tobytes())
            digest.update(values.to_numpy(np.float64).tobytes(order="C"))
        return digest.hexdigest()

    def between(
        self,
        start: pd.Timestamp | str | None = None,
        end: pd.Timestamp | str | None = None,
    ) -> "Bars":
        """Return the bars from `start` to `end`, both inclusive.

        Raises
        ------
        BarsError
            If no session lies between the two, or one is no tz-naive date.
        """
        try:
            picked = self.sessions.slice_indexer(start, end)
        except (TypeError, ValueError) as error:
            given = " and ".join(shown(x) for x in (start, end) if x is not None)
            raise BarsError(
                f"Bars are cut at tz-naive dates, got {given}: {error}."
            ) from error
        if len(self.sessions[picked]) == 0:
            raise BarsError(
                f"No session lies {span_text(start, end)}; the bars run from "
                f"{self.sessions[0].date()} to {self.sessions[-1].date()}."
            )

        first, last = self.sessions[picked][0], self.sessions[picked][-1]
        cut: dict[str, Any] = {k: v.iloc[picked] for k, v in self.by_role().items()}
        provenance = {
            role: entry.between(first, last) for role, entry in self.provenance.items()
        }
        return replace(self, **cut, provenance=provenance)


def check_sessions(index: pd.Index, name: str) -> None:
    """Raise `BarsError` unless `index`, (n_rows,), holds naive dates in order."""
    if not isinstance(index, pd.DatetimeIndex):
        raise BarsError(f"{name}: the index must hold dates, got {index.dtype}.")
    if len(index) == 0:
        raise BarsError(f"{name}: there must be at least one session, got none.")
    if index.tz is not None:
        raise BarsError(f"{name}: sessions must be tz-naive, got zone {index.tz}.")
    if index.hasnans:
        raise BarsError(
            f"{name}: every row needs a date, row {index.isna().argmax()} has none."
        )
    if index.has_duplicates:
        first = index[index.duplicated()][0]
        raise BarsError(f"{name}: sessions must be unique, {first.date()} is repeated.")
    if not index.is_monotonic_increasing:
        late = index[1:][index[1:] < index[:-1]][0]
        raise BarsError(
            f"{name}: sessions must be in order, {late.date()} comes after a later one."
        )
    if (index != index.normalize()).any():
        first = index[index != index.normalize()][0]
        raise BarsError(f"{name}: sessions must be dates without a time, got {first}.")


def check_finite(values: pd.DataFrame, name: str) -> None:
    """Raise `BarsError` at the first NaN or infinity of a table of any shape."""
    _check_rule(values, np.isfinite(values.to_numpy()), name, "a finite number")


def check_positive(values: pd.DataFrame, name: str) -> None:
    """Raise `BarsError` at the first value of any table that is not above 0."""
    numbers = values.to_numpy()
    _check_rule(values, np.isfinite(numbers) & (numbers > 0), name, "above 0")


def check_cash_rate(
    rates: FloatSessions, sessions: pd.DatetimeIndex, name: str
) -> None:
    """Raise `BarsError` at the first rate that is no annual yield as a decimal."""
    lowest, highest = RATE_RANGE
    limits = np.where(sessions.year < 1990, highest, HIGHEST_RATE_SINCE_1990)
    is_wrong = (rates < lowest) | (rates > limits)
    is_known = (rates[1:] != 0) & (rates[:-1] != 0)  # 0 where there is no rate yet
    is_wrong[1:] |= is_known & (np.abs(np.diff(rates)) > LARGEST_RATE_CHANGE)
    if is_wrong.any():
        at = int(is_wrong.argmax())
        raise BarsError(
            f"{name}: an annual yield must be a decimal from {lowest:g} to "
            f"{HIGHEST_RATE_SINCE_1990:g} ({highest:g} before 1990), and change "
            f"by {LARGEST_RATE_CHANGE:g} at most in a session; on "
            f"{sessions[at].date()} got {rates[at]:g}. Is it in percent?"
        )


def is_outside_range(prices: pd.DataFrame) -> pd.Series:
    """Mark bars whose high or low lies inside open and close, shape (n_bars,)."""
    open_, high, low, close = (prices[name].to_numpy() for name in PRICE_COLUMNS)
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    is_outside = (
        (high < low) | (high < top * (1 - _ROUNDING)) | (low > bottom * (1 + _ROUNDING))
    )
    return pd.Series(is_outside, prices.index)


def check_ohlc(frame: pd.DataFrame, name: str) -> None:
    """Raise `BarsError` unless `frame`, (n_bars, n_columns), holds sound prices."""
    check_sessions(frame.index, name)
    missing = [column for column in PRICE_COLUMNS if column not in frame.columns]
    if missing:
        raise BarsError(
            f"{name}: column '{missing[0]}' is missing, got "
            f"{shorten(list(frame.columns))}."
        )
    prices = frame[list(PRICE_COLUMNS)]
    check_positive(prices, name)
    is_wrong = is_outside_range(prices)
    if is_wrong.any():
        first = prices.index[int(is_wrong.to_numpy().argmax())]
        raise BarsError(
            f"{name}: high must be the highest and low the lowest price of a bar, on "
            f"{first.date()} got {prices.loc[first].to_dict()}."
        )
    if "volume" in frame.columns:
        volume = frame[["volume"]]
        is_right = np.isfinite(volume.to_numpy()) & (volume.to_numpy() >= 0)
        _check_rule(volume, is_right, name, "at least 0")


def check_volatility(close: pd.Series, name: str) -> None:
    """Raise `BarsError` if closes, (n_sessions,), are those of no volatility index.

    The CBOE index has never closed above 83, and over years it comes back to where it
    was. A fund on volatility futures (VIXY and its kind) loses most of its value every
    year: its adjusted prices begin far above any index level, or each year of a long
    history ends far below the year before.
    """
    _, highest = VOLATILITY_LEVELS
    if close.max() > highest:
        first = close.index[int((close > highest).to_numpy().argmax())]
        raise BarsError(
            f"{name}: a volatility index must stay below {highest:g} "
            f"points, on {first.date()} got {close.loc[first]:g}. Give the index "
            "itself, not a fund such as VIXY."
        )
    yearly = close.iloc[::SESSIONS_PER_YEAR]
    moves = yearly.pct_change().iloc[1:]
    if len(moves) >= _MIN_DECAY_YEARS and (moves < _YEARLY_DECAY).all():
        raise BarsError(
            f"{name}: a volatility index returns to its mean, from "
            f"{close.index[0].date()} on this series falls by over 20 % in each of "
            f"{len(moves)} years. Give the index itself, not a fund such as VIXY."
        )


def _check_rule(
    values: pd.DataFrame, is_right: np.ndarray, name: str, rule: str
) -> None:
    if is_right.all():
        return
    row, column = np.argwhere(~is_right)[0]
    session = values.index[row]
    raise BarsError(
        f"{name}: '{values.columns[column]}' must be {rule}, on {session.date()} got "
        f"{values.iat[row, column]}."
    )


def _check_same_calendar(
    sessions: pd.DatetimeIndex, other: pd.Index, role: str
) -> None:
    if isinstance(other, pd.DatetimeIndex) and other.equals(sessions):
        return
    check_sessions(other, role)
    assert isinstance(other, pd.DatetimeIndex)
    differing = sessions.symmetric_difference(other)
    if len(differing):
        raise BarsError(
            f"{role}: must have the sessions of equity, but the two disagree on "
            f"{len(differing)} sessions, first {differing[0].date()}."
        )
