"""The look-ahead audit of your own features, labels and policies.

Every function here takes your function, calls it on bars and on counterfactual bars
with the same past, and returns an `AuditResult`. Its `difference` is None if nothing
known by a cut depends on later bars. See docs/audit.md.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from trm_bt.audit.cerebro import audit_cerebro as audit_cerebro
from trm_bt.audit.checks import AuditResult, AuditSettings, Evaluation, run_check
from trm_bt.audit.counterfactual import Counterfactual
from trm_bt.audit.differences import DatedTable, dates_of, table_by_session
from trm_bt.audit.training import audit_split as audit_split
from trm_bt.audit.training import audit_training as audit_training
from trm_bt.errors import LookAheadError
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision, Policy
from trm_bt.market.features import compute_features

BySession = pd.DataFrame | pd.Series
"""Values by session: an index of tz-naive sessions, each there once."""


def audit_features(
    function: Callable[[Bars], BySession],
    bars: Bars,
    settings: AuditSettings | None = None,
) -> AuditResult:
    """Audit a function of features, each row known at the close of its session.

    Parameters
    ----------
    function : callable
        From `Bars` to a DataFrame or Series by session.
    bars : Bars
        Bars to compute on.
    settings : AuditSettings, optional
        Cuts, seed and tolerance.

    Returns
    -------
    AuditResult
        Of the check "features".

    Raises
    ------
    ConfigError
        If the function fails on all bars, returns another type, is not reproducible, or
        does not depend on the given bars.

    Examples
    --------
    >>> from trm_bt.feeds import load_bars
    >>> bars = load_bars("sample", start="2015-01-01")
    >>> quick = AuditSettings(n_cuts=20)
    >>> trailing = lambda bars: bars.equity["close"].rolling(20).mean()
    >>> audit_features(trailing, bars, quick).difference is None
    True
    >>> centred = lambda bars: bars.equity["close"].rolling(5, center=True).mean()
    >>> print(audit_features(centred, bars, quick).difference)
    2015-02-09 close: 3522.6187 against nan (cut)
    """

    def evaluate(given: Counterfactual) -> Evaluation:
        table = table_by_session(function(given.bars), "features")
        return _from_first_value(table, table.values)

    return run_check("features", evaluate, bars, settings or AuditSettings())


def audit_labels(
    function: Callable[[Bars], pd.DataFrame],
    bars: Bars,
    settings: AuditSettings | None = None,
    *,
    n_ahead: int,
) -> AuditResult:
    """Audit labels, each row known at the close of the session in its `known_on`.

    Parameters
    ----------
    function : callable
        From `Bars` to a DataFrame by session with a column `known_on`.
    bars, settings
        As in `audit_features`.
    n_ahead : int
        Sessions at the end that must have no label, whatever the bars: the horizon, and
        one more where the fill is the next open.

    Returns
    -------
    AuditResult
        Of the check "labels". Rows known by a cut must be there and the same; other
        numbers of unlabelled sessions than `n_ahead` count as a difference.

    Raises
    ------
    ConfigError
        As with `audit_features`.
    """

    def evaluate(given: Counterfactual) -> Evaluation:
        values = table_by_session(function(given.bars), "labels").values
        sessions = given.bars.sessions
        n_labelled = int(sessions.searchsorted(values.index[-1], side="right"))
        n_without = len(sessions) - n_labelled
        if n_without != n_ahead:
            raise LookAheadError(
                f"Labels must be absent on the last {n_ahead} sessions, whose outcome "
                f"is not known, but are absent on {n_without} where the bars end on "
                f"{sessions[-1].date()}."
            )
        table = DatedTable(values, dates_of(values["known_on"], "labels: known_on"))
        return _from_first_value(table, values)

    return run_check("labels", evaluate, bars, settings or AuditSettings())


def audit_policy(
    build: Callable[[Bars], Policy | BySession],
    bars: Bars,
    settings: AuditSettings | None = None,
    *,
    n_rows: int | None = None,
) -> AuditResult:
    """Audit the decisions of a policy, each known at the close of its session.

    Parameters
    ----------
    build : callable
        From `Bars` to a `Policy`, which then decides on the ten features of the same
        bars in one batch, or to decisions (weights, signals, classes) by session. What
        it learns from the given bars must have been known at each decided session.
    bars, settings
        As in `audit_features`.
    n_rows : int, optional
        Show a `Policy` no more rows than this before each cut and after it; it must
        decide row by row, so that the others cannot matter. None shows all.

    Returns
    -------
    AuditResult
        Of the check "decisions".

    Raises
    ------
    ConfigError
        As with `audit_features`.
    """

    def evaluate(given: Counterfactual) -> Evaluation:
        built = build(given.bars)
        if not isinstance(built, Policy):
            table = table_by_session(built, "decisions")
            return _from_first_value(table, table.values)
        sessions, rows = _rows_to_decide(built, given, n_rows)
        values = _decided(built.decide(sessions, rows), built.schema.table.names)
        evaluation = _from_first_value(
            DatedTable(values, sessions), values[["allocation"]]
        )
        if given.kind == "whole" or n_rows is None:
            return evaluation
        return Evaluation(evaluation.tables, sessions[0])

    return run_check("decisions", evaluate, bars, settings or AuditSettings())


def _from_first_value(table: DatedTable, values: pd.DataFrame) -> Evaluation:
    """Return the table, to be cut from the first row on that has a value."""
    has_value = values.notna().any(axis=1).to_numpy()
    first = table.known_on[has_value][:1]
    return Evaluation({"values": table}, cuts_from=first[0] if len(first) else None)


def _rows_to_decide(
    policy: Policy, given: Counterfactual, n_rows: int | None
) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Return sessions and features that a policy is shown."""
    computed = compute_features(given.bars, policy.schema.lookbacks)
    policy.check_schema(computed.schema)
    frame = computed.frame
    if n_rows is not None and given.kind != "whole":
        cut = int(frame.index.searchsorted(given.cut, side="right"))
        frame = frame.iloc[max(cut - n_rows, 0) : cut + n_rows]
    return pd.DatetimeIndex(frame.index), frame.to_numpy()


def _decided(decisions: Sequence[Decision], names: Sequence[str]) -> pd.DataFrame:
    """Return decisions as a table by session."""
    probabilities = np.array([decision.probabilities for decision in decisions])
    values = pd.DataFrame(probabilities, columns=list(names))
    values["allocation"] = pd.array([d.allocation for d in decisions], dtype="Int64")
    values["halt_prob"] = [decision.halt_prob for decision in decisions]
    values["n_steps"] = [decision.n_steps for decision in decisions]
    values["model"] = [decision.decided_by for decision in decisions]
    values.index = pd.DatetimeIndex([decision.decided_on for decision in decisions])
    return values
