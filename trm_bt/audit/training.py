"""The look-ahead audit of trainings: done anew, because a used model tells nothing."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.audit.checks import AuditResult, AuditSettings, Evaluation, Watch
from trm_bt.audit.counterfactual import World, worlds_at
from trm_bt.audit.differences import Difference, Table
from trm_bt.errors import ConfigError, LookAheadError
from trm_bt.market.bars import Bars

FREEZES: Final = (0.5, 0.75)
"""Shares of the sessions after which a training is frozen."""
_SCALARS: Final = (int, float, complex, str, bytes, np.generic, dt.date, dt.timedelta)
_ALIKE: Final = ({bool}, {int}, {float}, {str})
"""Lists of these are arrays already; others are taken apart."""


def audit_training(
    function: Callable[[Bars, pd.Timestamp], Mapping[str, object]],
    bars: Bars,
    settings: AuditSettings | None = None,
    *,
    freezes: pd.DatetimeIndex | None = None,
) -> AuditResult:
    """Audit what a training learns: it must not change with what it may not know.

    The training is done anew in every world; a model that is only used again would
    look the same whatever it had seen.

    Parameters
    ----------
    function : callable
        From `Bars` and the session of the freeze to everything that was learnt: names
        (scaler, parameters, chosen settings) with numbers, text, dates, arrays and
        tensors of any shape, tables, or mappings and sequences of them. It may use what
        is known at the close of the freeze, and nothing else.
    bars : Bars
        Bars that go on after the freeze.
    settings : AuditSettings, optional
        Seed and tolerance.
    freezes : DatetimeIndex, optional
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
    settings = settings or AuditSettings()

    def evaluate(world: World) -> Evaluation:
        learnt = function(world.bars, world.cut)
        if not isinstance(learnt, Mapping):
            raise ConfigError(
                "training: must return a mapping of names to what was learnt, got "
                f"{type(learnt).__name__}."
            )
        tables = {name: _learnt(flat, world.cut) for name, flat in _flat("", learnt)}
        return Evaluation(tables)

    watch = Watch("training", evaluate, settings)
    generator = np.random.default_rng(settings.seed)
    freezes = freezes_of(bars) if freezes is None else freezes
    detail = f"retrained, frozen on {', '.join(str(f.date()) for f in freezes)}"
    for n_seen, freeze in enumerate(freezes):
        watch.tell(n_seen, len(freezes))
        world = World("whole", bars, freeze, freeze)
        try:
            whole = watch.whole(world, is_repeated=n_seen == 0)
        except LookAheadError as error:
            told = Difference(freeze, "(error)", "", str(error), "whole")
            return watch.result(detail, n_seen + 1, told)
        found = watch.first_difference(whole, worlds_at(bars, freeze, generator))
        if found is not None:
            return watch.result(detail, n_seen + 1, found)
    watch.check_depends_on_bars(whole, world)
    watch.tell(1, 1)
    return watch.result(detail, len(freezes), None)


def audit_split(
    known_on: pd.DatetimeIndex, validation_start: pd.Timestamp
) -> AuditResult:
    """Hold the labels of training rows against the first session of validation.

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
        was still open when validation began, and so overlaps a validation label.

    Examples
    --------
    >>> known_on = pd.DatetimeIndex(["2024-01-09", "2024-01-10", "2024-01-11"])
    >>> audit_split(known_on, pd.Timestamp("2024-01-12")).difference is None
    True
    >>> print(audit_split(known_on, pd.Timestamp("2024-01-10")).difference)
    2024-01-10 known_on: known by 2024-01-10 against validation starts 2024-01-10
    """
    late = known_on[known_on >= validation_start]
    found = None
    if len(late):
        found = Difference(
            late.min(),
            "known_on",
            f"known by {late.min().date()}",
            f"validation starts {validation_start.date()}",
        )
    detail = f"{len(late)} of {len(known_on)} training labels known too late"
    return AuditResult("split", detail, 1, 1, len(known_on), 0.0, found, 0.0)


def freezes_of(bars: Bars) -> pd.DatetimeIndex:
    """Return the sessions after whose close the trainings of an audit are frozen."""
    return bars.sessions[[int(len(bars.sessions) * share) for share in FREEZES]]


def _learnt(values: np.ndarray, frozen_on: pd.Timestamp) -> Table:
    """Return values of any size as a table known at the freeze."""
    known_on = pd.DatetimeIndex([frozen_on]).repeat(len(values))
    return Table(pd.DataFrame({"value": values}), known_on, has_scale=False)


def _flat(name: str, value: object) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what was learnt as named arrays of shape (n_values,), however it nests."""
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


def _plain(value: object) -> object:
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
