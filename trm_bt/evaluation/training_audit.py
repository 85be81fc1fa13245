"""The look-ahead audit of trainings: done anew, because a used model tells nothing."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import ConfigError, LookAheadError
from trm_bt.evaluation.checks import AuditResult, AuditSettings, Evaluation, Watch
from trm_bt.evaluation.comparison import Difference, Table
from trm_bt.evaluation.worlds import World, worlds_at
from trm_bt.market.bars import Bars

FREEZES: Final = (0.5, 0.75)
"""Shares of the sessions after which a training is frozen."""


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
        (scaler, parameters, chosen settings) with numbers, text or arrays of any shape.
        It may use what is known at the close of the freeze, and nothing else.
    bars : Bars
        Bars that go on after the freeze.
    settings : AuditSettings, optional
        Seed and tolerance.
    freezes : DatetimeIndex, optional
        Sessions to freeze after, which are the cuts; few, for each costs three
        trainings (the first one four). By default after `FREEZES` of the sessions.

    Returns
    -------
    AuditResult
        Of the check "training"; `n_runs` is the number of trainings.

    Raises
    ------
    ConfigError
        If the training fails on all bars, or gives another result a second time.
    """
    settings = settings or AuditSettings()

    def evaluate(world: World) -> Evaluation:
        learnt = function(world.bars, world.cut)
        if not isinstance(learnt, Mapping):
            raise ConfigError(
                "training: must return a mapping of names to what was learnt, got "
                f"{type(learnt).__name__}."
            )
        return Evaluation(
            {name: _learnt(value, world.cut) for name, value in learnt.items()}
        )

    watch = Watch("training", evaluate, settings)
    generator = np.random.default_rng(settings.seed)
    freezes = freezes_of(bars) if freezes is None else freezes
    detail = f"retrained, frozen on {', '.join(str(f.date()) for f in freezes)}"
    for n_seen, freeze in enumerate(freezes):
        watch.tell(n_seen, len(freezes))
        try:
            whole = watch.whole(
                World("whole", bars, freeze, freeze), is_repeated=n_seen == 0
            )
        except LookAheadError as error:
            told = Difference(freeze, "(error)", "", str(error), "whole")
            return watch.result(detail, n_seen + 1, told)
        found = watch.first_difference(whole, worlds_at(bars, freeze, generator))
        if found is not None:
            return watch.result(detail, n_seen + 1, found)
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


def _learnt(value: object, frozen_on: pd.Timestamp) -> Table:
    """Return anything that was learnt as a table known at the freeze."""
    if isinstance(value, pd.DataFrame | pd.Series):
        value = value.to_numpy()
    flat = np.asarray(value).ravel()
    known_on = pd.DatetimeIndex([frozen_on]).repeat(len(flat))
    return Table(pd.DataFrame({"value": flat}), known_on)
