"""The benchmarks of a comparison, each a table of target weights by session."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Final, Literal

import numpy as np
import pandas as pd

from trm_bt.errors import ConfigError
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.strategies.jump_model import jump_model
from trm_bt.strategies.learned_rules import (
    FitModel,
    fit_boosted,
    fit_logistic,
    fit_majority,
    hmm_regime,
    last_best,
    retrained,
    weights_of_classes,
)
from trm_bt.strategies.rules import (
    WEIGHT_RULES,
    Rule,
    history_of,
    mean_variance_of_eight,
)
from trm_bt.strategies.volatility_rules import VOLATILITY_RULES

StrategyKind = Literal["ours", "fixed", "rule", "learned", "hindsight"]
"""Source of the weights; nobody can follow a strategy of the kind "hindsight"."""

COLUMNS: Final = ["equity", "bond", "cash"]
OURS: Final = "trm"
"""The allocator's name in tables."""
MATCHED: Final = "exposure_matched"
ORACLE: Final = "oracle"
_MIXES: Final[Mapping[str, tuple[float, ...]]] = {
    "spy": (1.0, 0.0, 0.0),
    "sixty_forty": (0.6, 0.4, 0.0),
    "equal_weight": (0.5, 0.5, 0.0),
}
_FITS: Final[Mapping[str, tuple[FitModel, str]]] = {
    "always_majority": (fit_majority, ""),
    "logistic_regression": (fit_logistic, "sklearn"),
    "lightgbm": (fit_boosted, "lightgbm"),
}
_NOTES: Final[Mapping[str, str]] = {
    "equal_weight": "half equity, half bond",
    "inverse_volatility": "volatilities of 63 sessions",
    "volatility_target": "equity at 10% annual volatility, measured over 21 sessions",
    "mean_variance": "risk of 63 sessions, means of all history",
    "mean_variance_of_eight": "the same, restricted to the allocations",
    "moving_average_200": "Faber: equity above its average, else cash; monthly",
    "dual_momentum": "Antonacci: the better of both over a year, else cash; monthly",
    "har_mean_variance": "Corsi: a week's risk forecast by HAR, means of all history",
    "downside_target": "equity at 10% annual volatility, by losses of 21 sessions",
    "conditional_target": "equity, less after months of high volatility",
    "timed_momentum": "equity at 10% annual volatility while ahead of cash; monthly",
    "hmm_regime": "most equity in the calm state, least in the rough one",
    "jump_model": "equity in the better of two regimes that seldom change, else cash",
    "always_majority": "the majority class of the training span",
    "yesterdays_best": "the best allocation of the last known label",
    "logistic_regression": "the same features, retrained with the allocator",
    "lightgbm": "the same features, retrained with the allocator",
    MATCHED: "the allocator's own average weights, known only afterwards",
    ORACLE: "the best allocation of each session, known only afterwards",
}


def fixed_mixes(allocations: Allocations) -> dict[str, tuple[float, ...]]:
    """Return the weights of SPY, 60/40, equal weight and the allocations by name.

    Raises
    ------
    ConfigError
        If an allocation has the name of another strategy.
    """
    taken = {OURS, *_MIXES, *_NOTES}
    for name in allocations.names:
        if name in taken:
            raise ConfigError(
                f"An allocation must not have the name of another strategy, got "
                f"'{name}'. Choose another name."
            )
    rows = map(tuple, allocations.weights.tolist())
    return {**_MIXES, **dict(zip(allocations.names, rows, strict=True))}


FIXED: Final = fixed_mixes(Allocations.of(None))
"""The fixed mixes of the eight allocations."""


@dataclass(frozen=True)
class DecisionRecord:
    """The decisions of the allocator by session.

    Parameters
    ----------
    weights : DataFrame of shape (n_sessions, 3)
        Target weights of equity, bond and cash in force after each close.
    classes : ndarray of shape (n_sessions,), int64
        Most probable allocation; -1 where it abstained.
    confidence : ndarray of shape (n_sessions,)
        Its probability; NaN where it abstained.
    known_by : Series of shape (n_sessions,)
        Last session whose labels the deciding model knew; missing where it abstained.
    probs : ndarray of shape (n_sessions, n_allocations), optional
        Probability of each allocation; NaN where it abstained.
    """

    weights: pd.DataFrame
    classes: np.ndarray
    confidence: np.ndarray
    known_by: pd.Series
    probs: np.ndarray | None = None

    @property
    def sessions(self) -> pd.DatetimeIndex:
        """The deciding sessions, oldest first, shape (n_sessions,)."""
        return pd.DatetimeIndex(self.weights.index)

    def between(
        self, start: pd.Timestamp | str | None, end: pd.Timestamp | str | None
    ) -> "DecisionRecord":
        """Return the decisions from `start` to `end`, both inclusive."""
        rows = self.sessions.slice_indexer(start, end)
        return DecisionRecord(
            self.weights.iloc[rows],
            self.classes[rows],
            self.confidence[rows],
            self.known_by.iloc[rows],
            None if self.probs is None else self.probs[rows],
        )


@dataclass(frozen=True)
class Benchmark:
    """One strategy of a comparison: a benchmark, or the allocator itself.

    Parameters
    ----------
    name : str
        Name in tables.
    kind : {"ours", "fixed", "rule", "learned", "hindsight"}
        Source of the weights.
    weights : DataFrame of shape (n_sessions, 3)
        Target weights by session, known at its close; cash until it can decide.
    note : str
        One line for the reader of a table.
    n_waiting : int
        Sessions in cash because a lookback was not full or no model was trained yet.
    classes : ndarray of shape (n_sessions,), int64, or None
        The allocation of each session, -1 for none; None if it picks none.
    """

    name: str
    kind: StrategyKind
    weights: pd.DataFrame
    note: str = ""
    n_waiting: int = 0
    classes: np.ndarray | None = None

    @property
    def is_open(self) -> bool:
        """Whether anyone could have followed it without knowing the future."""
        return self.kind not in ("ours", "hindsight")


def baselines(allocations: Allocations) -> dict[str, tuple[float, ...]]:
    """Return weights of equity, bond and cash of the fixed mixes that a run holds."""
    mixes = fixed_mixes(allocations)
    return {name: mix for name, mix in mixes.items() if name != "equal_weight"}


def missing_modules() -> dict[str, str]:
    """Return the benchmarks whose library is missing, each with what to install."""
    needs = {name: module for name, (_, module) in _FITS.items() if module}
    needs |= {"hmm_regime": "hmmlearn", "jump_model": "jumpmodels"}
    return {
        name: f"needs {module}: pip install -e '.[research]' in the clone"
        for name, module in needs.items()
        if find_spec(module) is None
    }


def fixed_benchmarks(
    sessions: pd.DatetimeIndex, allocations: Allocations | None = None
) -> Iterator[Benchmark]:
    """Yield the fixed mixes over the sessions, shape (n_sessions,)."""
    table = allocations or Allocations.of(None)
    for name, weights in fixed_mixes(table).items():
        mix = constant(name, "fixed", weights, sessions)
        if name in table.names:
            classes = np.full(len(sessions), table.names.index(name))
            mix = replace(mix, classes=classes)
        yield mix


def constant(
    name: str,
    kind: StrategyKind,
    weights: tuple[float, ...],
    sessions: pd.DatetimeIndex,
) -> Benchmark:
    """Target the same weights on all sessions, shape (n_sessions,)."""
    rows = np.tile(np.asarray(weights, dtype=np.float64), (len(sessions), 1))
    table = pd.DataFrame(rows, sessions, COLUMNS)
    return Benchmark(name, kind, table, _NOTES.get(name, ""))


def rule_benchmarks(
    bars: Bars, sessions: pd.DatetimeIndex, allocations: Allocations | None = None
) -> Iterator[Benchmark]:
    """Yield the rules on past prices; `bars` begin before `sessions`, (n_sessions,)."""
    history = history_of(bars)
    rows = bars.sessions.get_indexer(sessions)
    of_ours = partial(mean_variance_of_eight, allocations=allocations)
    rules: dict[str, Rule] = {
        **WEIGHT_RULES,
        "mean_variance_of_eight": of_ours,
        **VOLATILITY_RULES,
    }
    for name, rule in rules.items():
        yield _from_rows(name, "rule", rule(history)[rows], sessions)


def learned_benchmarks(
    bars: Bars,
    decisions: DecisionRecord,
    features: pd.DataFrame,
    labels: pd.DataFrame,
    seed: int,
    allocations: Allocations | None = None,
) -> Iterator[Benchmark]:
    """Yield the benchmarks that are trained, retrained when the allocator was.

    Parameters
    ----------
    bars : Bars
        The whole history.
    decisions : DecisionRecord
        The sessions to decide, and the last label that may be known on each.
    features, labels : DataFrame of shape (n_rows, n_columns)
        Of the whole history, by session.
    seed : int
        Of the trainings.
    allocations : Allocations, optional
        Those of the labels, by default the eight.
    """
    table = allocations or Allocations.of(None)
    missing = missing_modules()
    sessions, known_by = decisions.sessions, decisions.known_by
    if "hmm_regime" not in missing:
        classes = hmm_regime(history_of(bars), known_by, table)
        yield _from_classes("hmm_regime", "rule", classes, sessions, table)
    if "jump_model" not in missing:
        rows = bars.sessions.get_indexer(sessions)
        weights = jump_model(history_of(bars), int(rows[0]))[rows]
        yield _from_rows("jump_model", "rule", weights, sessions)
    classes = last_best(labels, sessions)
    yield _from_classes("yesterdays_best", "rule", classes, sessions, table)
    decided = features.loc[sessions]
    for name, (fit, _) in _FITS.items():
        if name not in missing:
            classes = retrained(fit, labels, decided, known_by, seed)
            yield _from_classes(name, "learned", classes, sessions, table)


def average_mix(mean_weights: pd.Series) -> tuple[float, ...]:
    """Return mean weights of equity, bond and cash, shape (3,), with a sum of 1."""
    mix = mean_weights[COLUMNS].to_numpy(np.float64)
    return tuple((mix / mix.sum()).tolist())


def matched_mix(mean_weights: pd.Series, sessions: pd.DatetimeIndex) -> Benchmark:
    """Return the fixed mix of mean weights, shape (3,), known only afterwards."""
    return constant(MATCHED, "hindsight", average_mix(mean_weights), sessions)


def oracle(
    labels: pd.DataFrame,
    sessions: pd.DatetimeIndex,
    allocations: Allocations | None = None,
) -> Benchmark:
    """Hold the best allocation of each session; at the end, the last one known.

    Labels have shape (n_labels, n_columns), sessions (n_sessions,).
    """
    winners = labels["winner"].reindex(sessions).ffill()
    classes = winners.fillna(-1).to_numpy(np.int64)
    return _from_classes(ORACLE, "hindsight", classes, sessions, allocations)


def _from_classes(
    name: str,
    kind: StrategyKind,
    classes: np.ndarray,
    sessions: pd.DatetimeIndex,
    allocations: Allocations | None,
) -> Benchmark:
    weights = weights_of_classes(classes, allocations)
    benchmark = _from_rows(name, kind, weights, sessions)
    return replace(benchmark, classes=classes)


def _from_rows(
    name: str, kind: StrategyKind, rows: np.ndarray, sessions: pd.DatetimeIndex
) -> Benchmark:
    """Return a benchmark that holds cash where its row is missing, and counts it."""
    is_missing = np.isnan(rows).any(axis=1)
    filled = np.where(is_missing[:, np.newaxis], [0.0, 0.0, 1.0], rows)
    table = pd.DataFrame(filled, sessions, COLUMNS)
    return Benchmark(name, kind, table, _NOTES[name], int(is_missing.sum()))
