"""The look-ahead audit of trainings: repeated, because a used model shows nothing."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.audit.checks import AuditResult, AuditSettings, Evaluation, RunningCheck
from trm_bt.audit.counterfactual import Counterfactual, counterfactuals_at, whole_bars
from trm_bt.audit.differences import DatedTable, Difference, dates_of
from trm_bt.errors import ConfigError, LookAheadError
from trm_bt.market.bars import Bars

FREEZES: Final = (0.5, 0.75)
"""Shares of the sessions after which a training is frozen."""
Learned = object
"""What a training learned under one name.

Numbers, text, dates, arrays or tensors of any shape, tables, or mappings and sequences
of these; anything else is refused.
"""
_SCALARS: Final = (int, float, complex, str, bytes, np.generic, dt.date, dt.timedelta)
_ALIKE: Final = ({bool}, {int}, {float}, {str})
"""Lists of these are arrays already; others are taken apart."""


def audit_training(
    function: Callable[[Bars, pd.Timestamp], Mapping[str, Learned]],
    bars: Bars,
    settings: AuditSettings | None = None,
    *,
    freezes: pd.DatetimeIndex | None = None,
) -> AuditResult:
    """Audit what a training learns: it must not change with what it may not know.

    The training is repeated on all counterfactual bars; a model that is only used again
    would look the same whatever it had seen.

    Parameters
    ----------
    function : callable
        From `Bars` and the session of the freeze to everything that was learned, by
        name (scaler, parameters, chosen settings). It may use what is known at the
        close of the freeze, and nothing else.
    bars : Bars
        Bars that continue after the freeze.
    settings : AuditSettings, optional
        Seed and tolerance.
    freezes : DatetimeIndex of shape (n_freezes,), optional
        Sessions to freeze after, which are the cuts; few, for each costs three
        trainings (the first one five). By default after `FREEZES` of the sessions.

    Returns
    -------
    AuditResult
        Of the check "training"; `n_runs` is the number of trainings.

    Raises
    ------
    ConfigError
        If the training fails on all bars, gives another result a second time, returns
        an object that cannot be compared, or does not depend on the bars.
    """
    return audit_counterfactual_training(
        lambda given: function(given.bars, given.cut), bars, settings, freezes=freezes
    )


def audit_counterfactual_training(
    function: Callable[[Counterfactual], Mapping[str, Learned]],
    bars: Bars,
    settings: AuditSettings | None = None,
    *,
    freezes: pd.DatetimeIndex | None = None,
) -> AuditResult:
    """Audit what a training learns that reads more than the given bars.

    Parameters
    ----------
    function : callable
        As in `audit_training`, but from a `Counterfactual`, whose `cut` is the freeze,
        so that it can change whatever else it reads in the same way.
    bars, settings, freezes
        As in `audit_training`.
    """
    settings = settings or AuditSettings()

    def evaluate(given: Counterfactual) -> Evaluation:
        learned = function(given)
        if not isinstance(learned, Mapping):
            raise ConfigError(
                "training: must return a mapping of names to what was learned, got "
                f"{type(learned).__name__}."
            )
        tables = {name: _table(flat, given.cut) for name, flat in _flat("", learned)}
        return Evaluation(tables)

    check = RunningCheck("training", evaluate, bars.sessions, settings)
    generator = np.random.default_rng(settings.seed)
    freezes = freezes_of(bars) if freezes is None else dates_of(freezes, "freezes")
    if not len(freezes) or not freezes.isin(bars.sessions[:-1]).all():
        raise ConfigError(
            "freezes: must be sessions of the bars, and not the last one."
        )
    detail = f"retrained, frozen on {', '.join(str(f.date()) for f in freezes)}"
    for n_seen, freeze in enumerate(freezes):
        check.report(n_seen, len(freezes))
        given = whole_bars(bars, freeze)
        try:
            whole = check.whole(given, is_repeated=n_seen == 0)
        except LookAheadError as error:
            found = Difference(freeze, "(error)", "", str(error), "whole")
            return check.result(detail, n_seen + 1, found)
        others = counterfactuals_at(bars, freeze, generator)
        difference = check.first_difference(whole, others)
        if difference is not None:
            return check.result(detail, n_seen + 1, difference)
    check.require_dependence(whole, given)
    check.report(1, 1)
    return check.result(detail, len(freezes), None)


def audit_split(
    known_on: pd.DatetimeIndex, validation_start: pd.Timestamp
) -> AuditResult:
    """Check that the labels of training rows are known before validation begins.

    Parameters
    ----------
    known_on : DatetimeIndex of shape (n_rows,)
        The session on which the label of each training row became known.
    validation_start : Timestamp
        The first session on which the model is judged.

    Returns
    -------
    AuditResult
        Of the check "split"; its difference names the first training row whose label
        was not known when validation began, and so overlaps a validation label.

    Raises
    ------
    ConfigError
        If a date is missing or has a time zone.

    Examples
    --------
    >>> known_on = pd.DatetimeIndex(["2024-01-09", "2024-01-10", "2024-01-11"])
    >>> audit_split(known_on, pd.Timestamp("2024-01-12")).difference is None
    True
    >>> print(audit_split(known_on, pd.Timestamp("2024-01-10")).difference)
    2024-01-10 known_on: known by 2024-01-10 against validation starts 2024-01-10
    """
    known_on = dates_of(known_on, "known_on")
    (start,) = dates_of([validation_start], "validation_start")
    late = known_on[known_on >= start]
    found = None
    if len(late):
        found = Difference(
            late.min(),
            "known_on",
            f"known by {late.min().date()}",
            f"validation starts {start.date()}",
        )
    detail = f"{len(late)} of {len(known_on)} training labels are known too late"
    return AuditResult("split", detail, n_values=len(known_on), difference=found)


def freezes_of(bars: Bars) -> pd.DatetimeIndex:
    """Return the sessions after whose close trainings are frozen, shape (2,)."""
    return bars.sessions[[int(len(bars.sessions) * share) for share in FREEZES]]


def _table(values: np.ndarray, frozen_on: pd.Timestamp) -> DatedTable:
    """Return values of any size as a table known at the freeze."""
    known_on = pd.DatetimeIndex([frozen_on]).repeat(len(values))
    return DatedTable(pd.DataFrame({"value": values}), known_on, has_scale=False)


def _flat(name: str, value: Learned) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what was learned as named arrays of shape (n_values,), however it nests."""
    value = _plain(value)
    if isinstance(value, Mapping):
        for key, held in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), held)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield name, value.ravel()
    elif isinstance(value, np.ndarray | list | tuple):
        held = list(value.ravel()) if isinstance(value, np.ndarray) else value
        yield f"{name} (length)", np.array([len(held)])
        for place, item in enumerate(held):
            yield from _flat(f"{name}[{place}]", item)
    elif value is None or isinstance(value, _SCALARS):
        yield name, np.array([value])
    else:
        raise ConfigError(
            f"training: '{name}' must be numbers, text, dates, arrays, or mappings and "
            f"sequences of them, got {type(value).__name__}. Return what it holds."
        )


def _plain(value: Learned) -> Learned:
    """Return tables, tensors and lists of numbers as arrays or mappings of arrays."""
    if isinstance(value, pd.DataFrame):
        return {"index": value.index, **{c: value[c] for c in value.columns}}
    if isinstance(value, pd.Series):
        return {"index": value.index, "values": value.to_numpy()}
    if hasattr(value, "detach"):  # a tensor, wherever it lives
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple) and {type(v) for v in value} in _ALIKE:
        return np.array(value)
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        return np.asarray(value)
    return value
