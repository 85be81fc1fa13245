"""Tables whose rows are known on a session, and the first difference of two."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import ConfigError

_NUMBER: Final = "number"
_HOLES: Final = "holes"
_SLOW: Final = 0.1
"""Share of its rows below which the changes of a column are events."""


@dataclass(frozen=True)
class DatedTable:
    """Rows that each become known on a session.

    Parameters
    ----------
    values : DataFrame of shape (n_rows, n_columns)
        What was computed; index and columns name each row and column once.
    known_on : DatetimeIndex of shape (n_rows,)
        The session at whose close (open) each row is known, in order.
    is_at_open : bool
        Whether rows are known at the open already, so that nothing else of their
        session may count.
    has_scale : bool
        Whether the numbers of a column are of one kind, so that their median is a scale
        for numbers near zero.
    """

    values: pd.DataFrame
    known_on: pd.DatetimeIndex
    is_at_open: bool = False
    has_scale: bool = True

    def between(self, first: pd.Timestamp | None, last: pd.Timestamp) -> "DatedTable":
        """Return the rows known from `first` (None: from the start) to `last`."""
        is_in = np.asarray(self.known_on <= last)
        if first is not None:
            is_in &= np.asarray(self.known_on >= first)
        return self._picked(is_in)

    def sharing(self, last: pd.Timestamp, other: "DatedTable") -> "DatedTable":
        """Return the table without rows after `last` that another table lacks."""
        is_in = np.asarray(self.known_on <= last)
        if is_in.all():
            return self
        return self._picked(is_in | self.values.index.isin(other.values.index))

    def _picked(self, is_in: np.ndarray) -> "DatedTable":
        return replace(self, values=self.values[is_in], known_on=self.known_on[is_in])

    def events(self) -> pd.DatetimeIndex:
        """Return sessions on which slow columns change, shape (n_events,)."""
        earlier = self.values.shift()
        changes = self.values.ne(earlier) & ~(self.values.isna() & earlier.isna())
        slow = changes.loc[:, changes.mean() < _SLOW]
        return self.known_on[slow.any(axis=1).to_numpy()].unique()


def table_by_session(values: object, name: str) -> DatedTable:
    """Return values by session as a table, each row known in its own session.

    Parameters
    ----------
    values : DataFrame or Series
        By session: an index of tz-naive dates, each once, in any order. A time of day
        says nothing.
    name : str
        Name of the values in errors.

    Raises
    ------
    ConfigError
        If they are anything else.
    """
    if isinstance(values, pd.Series):
        values = values.to_frame(values.name or "value")
    if not isinstance(values, pd.DataFrame):
        raise ConfigError(
            f"{name}: must be a DataFrame or Series by session, got "
            f"{type(values).__name__}."
        )
    if values.empty:
        return DatedTable(values, pd.DatetimeIndex([]))
    index = values.index
    is_sound = isinstance(index, pd.DatetimeIndex) and index.tz is None
    if not is_sound or index.hasnans or index.has_duplicates:
        raise ConfigError(
            f"{name}: the index must hold tz-naive sessions, each once, got "
            f"{index.dtype} from {index[0]} on."
        )
    if values.columns.has_duplicates:
        twice = values.columns[values.columns.duplicated()][0]
        raise ConfigError(f"{name}: columns must be unique, '{twice}' is repeated.")
    ordered = values.sort_index()
    return DatedTable(ordered, pd.DatetimeIndex(ordered.index).normalize())


def dates_of(values: object, name: str) -> pd.DatetimeIndex:
    """Return dates without their time of day, shape (n_dates,).

    Raises
    ------
    ConfigError
        If one is missing, has a time zone, or is no date.
    """
    try:
        dates = pd.DatetimeIndex(values)  # type: ignore[arg-type] # whatever was given
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: must hold dates, but {error}.") from error
    if dates.tz is not None or dates.hasnans:
        kind = "one is missing" if dates.hasnans else f"they are {dates.dtype}"
        raise ConfigError(f"{name}: must hold tz-naive dates, but {kind}.")
    return dates.normalize()


@dataclass(frozen=True)
class Difference:
    """The first place where two tables differ.

    Parameters
    ----------
    session : Timestamp
        Session on which the row was known.
    column : str
        Its column; in brackets what else differs: a row, a dtype, an error.
    whole, other : str
        The value on all bars, and on the counterfactual bars.
    counterfactual : str
        Kind of the counterfactual bars; empty where none were needed.
    """

    session: pd.Timestamp
    column: str
    whole: str
    other: str
    counterfactual: str = ""

    def __str__(self) -> str:
        kind = f" ({self.counterfactual})" if self.counterfactual else ""
        place = f"{self.session.date()} {self.column}"
        return f"{place}: {self.whole} against {self.other}{kind}"


@dataclass(frozen=True)
class Agreement:
    """How far two tables agree.

    Parameters
    ----------
    n_values : int
        Values compared.
    largest : float
        Largest difference of two numbers, relative as in `compare_tables`.
    difference : Difference or None
        The first one that counts.
    """

    n_values: int
    largest: float
    difference: Difference | None


def compare_tables(whole: DatedTable, other: DatedTable, rtol: float) -> Agreement:
    """Compare two tables that should be the same.

    Parameters
    ----------
    whole, other : DatedTable
        Results on two sets of bars, cut to what both must know.
    rtol : float
        Tolerated difference of two numbers, relative to the larger of the two plus the
        median of the column in `whole`, all without their signs; 0 takes equal values
        of equal dtype alone.

    Returns
    -------
    Agreement
        Its difference is the one known first; a column, row or NaN that only one of
        the two has counts as much as a value.

    Notes
    -----
    Each value is compared with its own counterpart, so that a large one elsewhere hides
    nothing. The median makes rounding near zero no difference; it is taken as zero
    where the table has no scale.
    """
    missing = _lonely_row(whole, other) or _lonely_column(whole, other)
    if missing is not None:
        return Agreement(0, 0.0, missing)
    left, right = whole.values, other.values
    if not len(left) or left.equals(right):
        return Agreement(left.size, 0.0, None)
    found: list[Difference] = []
    largest = 0.0
    for name in left.columns:
        ours, theirs = left[name], right[name].loc[left.index]
        kinds = {_kind(ours), _kind(theirs)} - {_HOLES}
        if len(kinds) > 1 or (rtol == 0 and ours.dtype != theirs.dtype):
            dtypes = str(ours.dtype), str(theirs.dtype)
            found.append(Difference(whole.known_on[0], f"{name} (dtype)", *dtypes))
            continue
        if _NUMBER in kinds:
            is_off, gap = _numbers_differ(ours, theirs, rtol, whole.has_scale)
        else:
            is_off, gap = _values_differ(ours, theirs), 0.0
        largest = max(largest, gap)
        if is_off.any():
            row = int(is_off.argmax())
            shown = _shown(ours.iloc[row], theirs.iloc[row])
            found.append(Difference(whole.known_on[row], str(name), *shown))
    return Agreement(left.size, largest, earliest(found))


def earliest(found: Iterable[Difference]) -> Difference | None:
    """Return the difference that was known first, if there is any."""
    return min(found, key=lambda difference: difference.session, default=None)


def _lonely_row(whole: DatedTable, other: DatedTable) -> Difference | None:
    """Find the first row that only one of the tables has."""
    if whole.values.index.equals(other.values.index):
        return None
    pairs = ((whole, other, "present", "absent"), (other, whole, "absent", "present"))
    found = []
    for table, without, here, there in pairs:
        is_lonely = ~table.values.index.isin(without.values.index)
        if is_lonely.any():
            session = table.known_on[is_lonely].min()
            found.append(Difference(session, "(row)", here, there))
    return earliest(found)


def _lonely_column(whole: DatedTable, other: DatedTable) -> Difference | None:
    """Find the first column that only one of two tables of the same rows has."""
    if not len(whole.values):  # nothing is known yet: the columns may come later
        return None
    for name in whole.values.columns.symmetric_difference(other.values.columns):
        is_ours = name in whole.values
        shown = ("present", "absent") if is_ours else ("absent", "present")
        return Difference(whole.known_on[0], f"{name} (column)", *shown)
    return None


def _kind(values: pd.Series) -> str:
    """Return what a column holds, whatever its dtype.

    Holes alone turn whole numbers into floats, and truths into objects.
    """
    known = values.dropna().infer_objects()
    if known.empty:
        return _HOLES
    return _NUMBER if pd.api.types.is_numeric_dtype(known) else str(known.dtype)


def _numbers_differ(
    ours: pd.Series, theirs: pd.Series, rtol: float, has_scale: bool
) -> tuple[np.ndarray, float]:
    """Mark the rows that differ, shape (n_rows,), and say by how much at most."""
    is_missing = ours.isna().to_numpy(), theirs.isna().to_numpy()
    left, right = (
        values.to_numpy(dtype=np.float64, na_value=np.nan) for values in (ours, theirs)
    )
    is_finite = np.isfinite(left) & np.isfinite(right)
    sizes = np.abs(left[np.isfinite(left)])
    floor = float(np.median(sizes)) if has_scale and len(sizes) else 0.0
    gaps, scales = np.zeros(len(left)), np.ones(len(left))
    gaps[is_finite] = np.abs(left - right)[is_finite]
    scales[is_finite] = np.maximum(np.abs(left), np.abs(right))[is_finite] + floor
    is_wild = ~is_finite & ~is_missing[0] & (left != right)
    is_off = (is_missing[0] != is_missing[1]) | is_wild | (gaps > rtol * scales)
    is_gap = gaps > 0
    return is_off, float((gaps[is_gap] / scales[is_gap]).max(initial=0.0))


def _values_differ(ours: pd.Series, theirs: pd.Series) -> np.ndarray:
    """Mark the rows that differ, shape (n_rows,), in a column of anything else."""
    is_missing = ours.isna().to_numpy(), theirs.isna().to_numpy()
    is_off = is_missing[0] != is_missing[1]
    is_known = ~(is_missing[0] | is_missing[1])
    left, right = (values.to_numpy(object)[is_known] for values in (ours, theirs))
    is_off[is_known] = ~np.asarray(left == right, dtype=bool)
    return np.asarray(is_off)


def _shown(ours: object, theirs: object) -> tuple[str, str]:
    """Format two values so that their difference can be seen."""
    if not (isinstance(ours, float) and isinstance(theirs, float)):
        return str(ours), str(theirs)
    for digits in (8, 17):
        shown = f"{ours:.{digits}g}", f"{theirs:.{digits}g}"
        if shown[0] != shown[1]:
            break
    return shown
