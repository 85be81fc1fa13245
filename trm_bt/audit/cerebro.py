"""The look-ahead audit of whole Cerebros: orders, fills, value and positions."""

from collections.abc import Callable

import pandas as pd

from trm_bt.analyzers.run_recorder import RecordedRun, record_cerebro
from trm_bt.audit.checks import AuditResult, AuditSettings, Evaluation, run_check
from trm_bt.audit.counterfactual import Counterfactual
from trm_bt.audit.differences import DatedTable, Difference
from trm_bt.errors import ConfigError
from trm_bt.market.bars import Bars


def audit_cerebro(
    build: Callable[[Bars], object], bars: Bars, settings: AuditSettings | None = None
) -> list[AuditResult]:
    """Audit everything a Cerebro does, with any strategies.

    Parameters
    ----------
    build : callable
        From `Bars` to a Cerebro with feeds made of these bars, a broker and strategies,
        not run yet; called again for every run.
    bars : Bars
        Bars to run on.
    settings : AuditSettings, optional
        Cuts, seed and tolerance.

    Returns
    -------
    list of 2 AuditResult
        The check "trades" compares the orders sent at each close and at each open,
        cancels and cash moves, the notices about orders, and value, cash and positions
        at each close. With resampled feeds, counterfactual bars keep the calendar,
        which decides when a bar is whole. An order sent at an open must not change with
        the rest of that session. The check "fills" looks for orders that were filled at
        a price of the past: decided at a close and filled on the same session or
        before.

    Raises
    ------
    ConfigError
        If the function fails on all bars, returns no Cerebro that can be run, trades
        differently a second time, or has feeds of other bars.
    """
    settings = settings or AuditSettings()
    runs: list[RecordedRun] = []

    def evaluate(given: Counterfactual) -> Evaluation:
        run = record_cerebro(build(given.bars))
        if given.kind == "whole":
            runs.append(run)
        return _evaluation(run)

    trades = run_check("trades", evaluate, bars, settings)
    return [trades, *[audit_fills(run) for run in runs[:1]]]


def audit_fills(run: RecordedRun) -> AuditResult:
    """Look for orders that were filled at a price from before they were decided.

    An order decided at the close of a session may be filled from the next open on; one
    sent at an open may be filled in the same session.

    Parameters
    ----------
    run : RecordedRun
        What `record_cerebro` returned.
    """
    filled = run.notices.dropna(subset=["filled_on"])
    sent = run.orders.loc[filled["order"]].set_axis(filled.index)
    is_late = filled["filled_on"] > sent["session"]
    is_same = (filled["filled_on"] == sent["session"]) & sent["is_at_open"]
    wrong = filled[~(is_late | is_same)]
    found = None
    if len(wrong):
        first = wrong.iloc[0]
        order = run.orders.loc[first["order"]]
        moment = "open" if order["is_at_open"] else "close"
        found = Difference(
            order["session"],
            f"order {first['order']} ({order['feed']})",
            f"decided at the {moment} of {order['session'].date()}",
            f"filled at {first['price']:.8g} of {first['filled_on'].date()}",
        )
    detail = f"{len(wrong)} of {len(filled)} fills at a price of the past"
    return AuditResult("fills", detail, 0, n_values=len(filled), difference=found)


def _evaluation(run: RecordedRun) -> Evaluation:
    """Return the tables of a run, each row with the session on which it is known."""
    if run.decides_from is None:
        raise ConfigError(
            "trades: every strategy must come to its first `next`, but one never does. "
            "Give more bars or shorter lookbacks."
        )
    tables = {
        "close": _numbered(run.closes),
        # a row in the orders of all strategies depends on what the others send later
        "notice": _numbered(run.notices.drop(columns="order")),
    }
    for name, rows in (("order", run.orders), ("request", run.requests)):
        is_at_open = rows["is_at_open"].to_numpy(dtype=bool)
        tables[name] = _numbered(rows[~is_at_open])
        if is_at_open.any():
            at_open = _numbered(rows[is_at_open], is_at_open=True)
            tables[f"{name} at the open"] = at_open
    return Evaluation(tables, cuts_from=run.decides_from, keeps_calendar=run.is_flushed)


def _numbered(rows: pd.DataFrame, *, is_at_open: bool = False) -> DatedTable:
    """Name each row by its session and its number on that session."""
    rows = rows.sort_values("session", kind="stable")
    known_on = pd.DatetimeIndex(rows["session"])
    rows = rows.assign(number=rows.groupby("session").cumcount())
    values = rows.drop(columns=["is_at_open"], errors="ignore")
    return DatedTable(values.set_index(["session", "number"]), known_on, is_at_open)
