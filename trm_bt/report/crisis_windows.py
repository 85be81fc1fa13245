"""The windows of a run's pages: twelve crises, and any that the reader names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from trm_bt.evaluation.crisis_figures import (
    MARGIN,
    CrisisFigures,
    crisis_figures,
    in_context,
)
from trm_bt.market.crises import Crisis
from trm_bt.report.drawing import DateSpan
from trm_bt.report.headline import best_and_worst
from trm_bt.report.models import ModelText
from trm_bt.report.templating import label, safe_name
from trm_bt.runfolder.records import OUT_OF_SAMPLE, TEARSHEETS
from trm_bt.runfolder.store import RunFolder


@dataclass(frozen=True)
class Window:
    """One crisis with everything that the pages show of it.

    Parameters
    ----------
    crisis : Crisis
        Its name, which may be any text, and its first and last day.
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
    figures : dict of str to CrisisFigures
        By strategy.
    models : dict of str to str
        What decided, first to last, with the name of each in `run.json`: the first
        one's where several decided together.
    """

    crisis: Crisis
    is_own: bool
    reason: str = ""
    link: str = ""
    equity: pd.DataFrame = field(default_factory=pd.DataFrame)
    context: pd.DataFrame = field(default_factory=pd.DataFrame)
    weights: pd.DataFrame = field(default_factory=pd.DataFrame)
    seen: pd.DataFrame = field(default_factory=pd.DataFrame)
    figures: Mapping[str, CrisisFigures] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name as a reader would write it; a name of the reader's own as it is."""
        return self.crisis.name if self.is_own else label(self.crisis.name)

    @property
    def n_sessions(self) -> int:
        """Sessions of the crisis, the base not counted."""
        return max(len(self.equity) - 1, 0)

    @property
    def span(self) -> DateSpan:
        """First and last day, which need not be sessions."""
        return self.crisis.start, self.crisis.end

    @property
    def start(self) -> str:
        """The first day as an ISO date."""
        return self.crisis.start.date().isoformat()

    @property
    def end(self) -> str:
        """The last day as an ISO date."""
        return self.crisis.end.date().isoformat()

    @property
    def seen_inside(self) -> pd.DataFrame:
        """`seen` in the crisis alone, shape (n_crisis_sessions, n_features)."""
        return self.seen.loc[self.start : self.end]

    @property
    def first_model(self) -> str:
        """The name in `run.json` of the first model that decided; empty if none did."""
        return next(iter(self.models.values()), "")

    @property
    def best_and_worst(self) -> tuple[str, str]:
        """The fixed allocations with the highest and the lowest total return."""
        earned = {name: figures.total_return for name, figures in self.figures.items()}
        return best_and_worst(earned)


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
    sessions = pd.DatetimeIndex(folder.equity.index)
    windows = [
        Window(
            Crisis(entry.name, pd.Timestamp(entry.start), pd.Timestamp(entry.end)),
            is_own=False,
            reason="" if entry.covered else entry.reason or "?",
        )
        for entry in folder.summary.crises
    ]
    windows += [
        Window(crisis, is_own=True, reason=crisis.missing(sessions, "the run's"))
        for crisis in own
    ]
    links = page_links(w.crisis.name for w in windows if not w.reason)
    return [
        window if window.reason else _covered(folder, models, window, links)
        for window in windows
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


def _covered(
    folder: RunFolder,
    models: Mapping[str, ModelText],
    window: Window,
    links: Mapping[str, str],
) -> Window:
    """Return a window with what the run holds of it."""
    crisis = window.crisis
    continuous = folder.equity[list(folder.summary.strategy_names)]
    if window.is_own:
        before = continuous.index[continuous.index < crisis.start]
        run, whole = OUT_OF_SAMPLE, continuous
        equity = continuous.loc[before[-1] : crisis.end]
    else:
        run, equity = crisis.name, folder.crisis(crisis.name)
        whole = in_context(continuous, {"trm": equity["trm"]})
    base, last = map(int, whole.index.get_indexer(equity.index[[0, -1]]))
    context = whole.iloc[max(base - MARGIN, 0) : last + MARGIN + 1]
    decisions = _joined(folder.decisions, run, context.index, equity.index)
    deciding = decisions.loc[equity.index[0] : equity.index[-2]]
    deciding = deciding[deciding["allocation"].notna()]
    weights = _joined(folder.weights, run, context.index, equity.index)
    return replace(
        window,
        link=links[crisis.name],
        equity=equity,
        context=context,
        weights=weights[["equity", "bond", "cash"]],
        seen=_seen(decisions, models),
        figures=_figures(folder.orders, equity, whole.iloc[last:], run),
        models=dict(zip(deciding["model"], deciding["base_model"], strict=True)),
    )


def _joined(
    table: pd.DataFrame, run: str, context: pd.Index, crisis: pd.Index
) -> pd.DataFrame:
    """Return a table by session: the crisis's own run amid the continuous one.

    The run of a crisis serves from its base on, and not before: it has begun by then.
    """
    inside = table[table["run"] == run].set_index("session").loc[crisis[0] : crisis[-1]]
    round_it = table[table["run"] == OUT_OF_SAMPLE].set_index("session")
    is_outside = (round_it.index < crisis[0]) | (round_it.index > crisis[-1])
    joined = pd.concat([round_it[is_outside], inside]).sort_index()
    return joined.loc[context[0] : context[-1]]


def _seen(decisions: pd.DataFrame, models: Mapping[str, ModelText]) -> pd.DataFrame:
    """Standardise each session's features as the model of its decision did."""
    parts = [
        models[str(name)].standardised(rows)
        for name, rows in decisions.groupby("base_model", sort=False)
        if name in models
    ]
    return pd.concat(parts).sort_index() if parts else pd.DataFrame()


def _figures(
    orders: pd.DataFrame, equity: pd.DataFrame, later: pd.DataFrame, run: str
) -> dict[str, CrisisFigures]:
    """Return the figures of every strategy; a baseline has the continuous run alone.

    `later` begins with the last close of the crisis, in money of another run: it goes
    on from the crisis's own.
    """
    by_run = dict(iter(orders.groupby(["run", "strategy"])))
    none = orders.iloc[:0]
    in_same_money = later * (equity.iloc[-1] / later.iloc[0])
    return {
        name: crisis_figures(
            equity[name],
            in_same_money[name].iloc[1:],
            by_run.get((run if name == "trm" else OUT_OF_SAMPLE, name), none),
        )
        for name in map(str, later)
    }
