"""The windows of a run's pages: twelve crises, and any that the reader names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from trm_bt.evaluation.crisis_figures import MARGIN, crisis_figures, in_context
from trm_bt.market.crises import Crisis
from trm_bt.report.models import ModelText
from trm_bt.report.templating import label, safe_name
from trm_bt.runfolder.records import (
    OUT_OF_SAMPLE,
    STRATEGIES,
    TEARSHEETS,
    CrisisRecord,
    ModelRecord,
)
from trm_bt.runfolder.store import RunFolder


@dataclass(frozen=True)
class Window:
    """One crisis with everything that the pages show of it.

    Parameters
    ----------
    name, start, end : str
        As `summary.json` or the reader's file has them; the name may be any text.
    is_own : bool
        Whether the window is one of the reader's own, cut from the continuous run.
    reason : str
        Why there is nothing to show; empty for a covered window.
    link : str
        Relative path of its page; empty if it has none.
    equity : DataFrame of shape (n_crisis_sessions + 1, n_strategies)
        Portfolio values from the base, the close before the crisis.
    context : DataFrame of shape (n_context_sessions, n_strategies)
        The same with a quarter before and after, as far as the run reaches.
    weights : DataFrame of shape (n_context_sessions, 3)
        What the allocator held at the closes: equity, bond, cash.
    seen : DataFrame of shape (n_context_sessions, n_features)
        z-scores of the features by the scaling of the model that decided.
    figures : dict of str to dict
        What `crisis_figures` returns, by strategy.
    models : dict of str to str
        What decided, first to last, with the name of each in `run.json`: the first
        one's where several decided together.
    """

    name: str
    start: str
    end: str
    is_own: bool
    reason: str = ""
    link: str = ""
    equity: pd.DataFrame = field(default_factory=pd.DataFrame)
    context: pd.DataFrame = field(default_factory=pd.DataFrame)
    weights: pd.DataFrame = field(default_factory=pd.DataFrame)
    seen: pd.DataFrame = field(default_factory=pd.DataFrame)
    figures: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name as a reader would write it; a name of the reader's own as it is."""
        return self.name if self.is_own else label(self.name)

    @property
    def n_sessions(self) -> int:
        """Sessions of the crisis, the base not counted."""
        return max(len(self.equity) - 1, 0)

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """First and last day, which need not be sessions."""
        return pd.Timestamp(self.start), pd.Timestamp(self.end)

    @property
    def seen_inside(self) -> pd.DataFrame:
        """`seen` on the sessions of the crisis alone."""
        return self.seen.loc[self.start : self.end]


def windows_of(
    folder: RunFolder, models: Mapping[str, ModelText], own: Sequence[Crisis] = ()
) -> list[Window]:
    """Return the windows of a run in the order of its summary, then the reader's own.

    Parameters
    ----------
    folder : RunFolder
        The run.
    models : mapping of str to ModelText
        What `read_models` returns.
    own : sequence of Crisis
        Windows to cut from the continuous run.
    """
    told = folder.summary.crises
    sessions = pd.DatetimeIndex(folder.equity.index)
    missing = [crisis.missing(sessions, "the run's") for crisis in own]
    covered = [entry.name for entry in told if entry.covered]
    covered += [c.name for c, why in zip(own, missing, strict=True) if not why]
    links = page_links(covered)
    crises = [
        _covered(folder, models, _crisis(entry), links, is_own=False)
        if entry.covered
        else Window(
            entry.name, str(entry.start), str(entry.end), False, entry.reason or "?"
        )
        for entry in told
    ]
    return crises + [
        Window(crisis.name, _date(crisis.start), _date(crisis.end), True, why)
        if why
        else _covered(folder, models, crisis, links, is_own=True)
        for crisis, why in zip(own, missing, strict=True)
    ]


def page_links(names: Iterable[str]) -> dict[str, str]:
    """Return a safe and unique relative path for the page of each name.

    Examples
    --------
    >>> page_links(["../x", "X"])
    {'../x': 'tearsheets/x.html', 'X': 'tearsheets/x_2.html'}
    """
    links: dict[str, str] = {}
    taken = {OUT_OF_SAMPLE}
    for name in names:
        stem = unique = safe_name(name)
        count = 1
        while unique in taken:
            count += 1
            unique = f"{stem}_{count}"
        taken.add(unique)
        links[name] = f"{TEARSHEETS}/{unique}.html"
    return links


def _crisis(entry: CrisisRecord) -> Crisis:
    return Crisis(entry.name, pd.Timestamp(entry.start), pd.Timestamp(entry.end))


def _covered(
    folder: RunFolder,
    models: Mapping[str, ModelText],
    crisis: Crisis,
    links: Mapping[str, str],
    *,
    is_own: bool,
) -> Window:
    """Cut the run to one window."""
    run = OUT_OF_SAMPLE if is_own else crisis.name
    equity = _own_equity(folder, crisis) if is_own else folder.crisis(crisis.name)
    continuous = folder.equity[list(STRATEGIES)]
    whole = in_context(continuous, {} if is_own else {"trm": equity["trm"]})
    base, last = map(int, whole.index.get_indexer(equity.index[[0, -1]]))
    context = whole.iloc[max(base - MARGIN, 0) : last + MARGIN + 1]
    decisions = _joined(folder.decisions, run, context.index, equity.index)
    deciding = decisions.loc[equity.index[0] : equity.index[-2]]
    deciding = deciding[deciding["allocation"].notna()]
    weights = _joined(folder.weights, run, context.index, equity.index)
    return Window(
        name=crisis.name,
        start=_date(crisis.start),
        end=_date(crisis.end),
        is_own=is_own,
        link=links[crisis.name],
        equity=equity,
        context=context,
        weights=weights[["equity", "bond", "cash"]],
        seen=_seen(decisions, models),
        figures=_figures(folder.orders, equity, whole.iloc[last + 1 :], run),
        models=dict(zip(deciding["model"], deciding["base_model"], strict=True)),
    )


def _own_equity(folder: RunFolder, crisis: Crisis) -> pd.DataFrame:
    """Return the continuous values from the last session before the window."""
    before = folder.equity.index[folder.equity.index < crisis.start]
    return folder.equity.loc[before[-1] : crisis.end, list(STRATEGIES)]


def _joined(
    table: pd.DataFrame, run: str, context: pd.Index, crisis: pd.Index
) -> pd.DataFrame:
    """Return a table by session: the crisis's own run, and round it the continuous one.

    The run of a crisis serves from its base on, and not before: it has begun by then.
    """
    inside = table[table["run"] == run].set_index("session").loc[crisis[0] : crisis[-1]]
    round_it = table[table["run"] == OUT_OF_SAMPLE].set_index("session")
    is_outside = (round_it.index < crisis[0]) | (round_it.index > crisis[-1])
    joined = pd.concat([round_it[is_outside], inside]).sort_index()
    return joined.loc[context[0] : context[-1]]


def _seen(decisions: pd.DataFrame, models: Mapping[str, ModelText]) -> pd.DataFrame:
    """Standardise each session's features as the model of its decision did."""
    parts = []
    for decider, rows in decisions.groupby("base_model", sort=False):
        model = models.get(str(decider))
        if model is not None:
            parts.append(model.standardised(rows))
    return pd.concat(parts).sort_index() if parts else pd.DataFrame()


def _figures(
    orders: pd.DataFrame, equity: pd.DataFrame, later: pd.DataFrame, run: str
) -> dict[str, dict[str, Any]]:
    """Return the figures of every strategy; a baseline has the continuous run alone."""
    by_run = dict(iter(orders.groupby(["run", "strategy"])))
    none = orders.iloc[:0]
    return {
        name: crisis_figures(
            equity[name],
            later[name],
            by_run.get((run if name == "trm" else OUT_OF_SAMPLE, name), none),
        )
        for name in STRATEGIES
    }


def decided_by(window: Window, models: Iterable[ModelRecord]) -> str:
    """Say which models decided in a window, and what each was trained on."""
    facts = {model.name: model for model in models}
    told = []
    for decider, name in window.models.items():
        model = facts.get(name)
        told.append(
            f"{decider}, trained on {model.trained_from} to "
            f"{model.trained_until} (the last session it knew anything of) in "
            f"{model.n_optimizer_steps:,} optimiser steps"
            if model
            else decider
        )
    return "; then ".join(told) or "no model: cash was held"


def _date(day: pd.Timestamp) -> str:
    return day.date().isoformat()
