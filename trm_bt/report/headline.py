"""The figures of a run in plain words, and nothing beyond the figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from trm_bt.evaluation.benchmarks import MATCHED, OURS
from trm_bt.evaluation.claims import Lead, outcome
from trm_bt.evaluation.metrics import StrategyFigures
from trm_bt.evaluation.verdict import confidence_text, lead_text
from trm_bt.figures import count, percent
from trm_bt.report.templating import label
from trm_bt.runfolder.records import ModelRecord, SpanRecord

MEASURES: Final = {
    "sharpe": "Sharpe ratio",
    "total_return": "total return",
    "max_drawdown": "max drawdown",
}
"""What is compared; more is better in each, drawdowns being negative."""

_NO_ALLOCATION: Final = frozenset({OURS, MATCHED, "spy", "sixty_forty"})

SAME_MIX: Final = 0.1
"""Weights within this of one another are one mix."""
NEARLY_ALWAYS: Final = 0.8
"""Share of sessions from which one choice is called a habit."""


@dataclass(frozen=True)
class Contrast:
    """The model compared with one benchmark.

    Parameters
    ----------
    benchmark : str
        What a reader calls it.
    better, worse, level : tuple of str
        Measures on which the model was ahead, behind, and level. A measure without a
        figure on either side is in none.
    lead : Lead or None
        The tested difference of the Sharpe ratios; None where there was no test.
    """

    benchmark: str
    better: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    level: tuple[str, ...] = ()
    lead: Lead | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Measures without a figure on either side."""
        known = {*self.better, *self.worse, *self.level}
        return tuple(name for name in MEASURES.values() if name not in known)

    @property
    def claim(self) -> str:
        """What may be said of it as a whole, with a blank for the benchmark.

        It is said of the Sharpe ratio, which alone is tested; where there is none, of
        the total return.
        """
        if self.lead is not None:
            shown = outcome(self.lead)
            told = {"ahead": "beat", "behind": "was beaten by", "open": "did not beat"}
            return f"{told[shown]} {{}} by Sharpe ratio"
        sides = {
            "ahead of": self.better,
            "behind": self.worse,
            "level with": self.level,
        }
        by = {name: side for side, names in sides.items() for name in names}
        measure = next(name for name in MEASURES.values() if name in by)
        return f"was {by[measure]} {{}} by {measure} (not tested)"

    def __str__(self) -> str:
        sides = {"better": self.better, "worse": self.worse, "level": self.level}
        text = ", ".join(f"{side} in {listed(it)}" for side, it in sides.items() if it)
        blank = f"; {listed(self.missing)} without a figure" if self.missing else ""
        tested = f"; Sharpe ratio: {lead_text(self.lead)}" if self.lead else ""
        return f"Against {self.benchmark} it was {text}{blank}{tested}."


def best_and_worst(values: Mapping[str, float | None]) -> tuple[str, str]:
    """Return the fixed allocations with the highest and the lowest value.

    Examples
    --------
    >>> best_and_worst({"trm": 9.0, "growth": 0.2, "defensive": 0.1, "spy": None})
    ('growth', 'defensive')
    """
    known = {
        name: value
        for name, value in values.items()
        if name not in _NO_ALLOCATION and value is not None
    }
    return max(known, key=known.__getitem__), min(known, key=known.__getitem__)


def contrasts(
    strategies: Mapping[str, StrategyFigures], leads: Mapping[str, Lead] | None = None
) -> list[Contrast]:
    """Compare the model with SPY, 60/40, its own mix and the best fixed allocation.

    Parameters
    ----------
    strategies : mapping of str to StrategyFigures
        Figures by strategy, as `summary.json` has them.
    leads : mapping of str to Lead, optional
        Tested leads over benchmarks.

    Returns
    -------
    list of Contrast
        The best fixed allocation is picked in hindsight, by Sharpe ratio, or by total
        return where the span is too short for one.
    """
    by_sharpe = {name: figures.sharpe for name, figures in strategies.items()}
    if not {n for n, value in by_sharpe.items() if value is not None} - _NO_ALLOCATION:
        by_sharpe = {name: f.total_return for name, f in strategies.items()}
    best, _ = best_and_worst(by_sharpe)
    mix = {MATCHED: "its own average mix"} if MATCHED in strategies else {}
    benchmarks = {
        "spy": label("spy"),
        "sixty_forty": label("sixty_forty"),
        **mix,
        best: f"the best fixed allocation in hindsight ({label(best).lower()})",
    }
    return [
        replace(
            _contrast(strategies["trm"], strategies[name], text),
            lead=(leads or {}).get(name),
        )
        for name, text in benchmarks.items()
    ]


def _contrast(
    ours: StrategyFigures, theirs: StrategyFigures, benchmark: str
) -> Contrast:
    better: list[str] = []
    worse: list[str] = []
    level: list[str] = []
    for measure, name in MEASURES.items():
        mine, other = getattr(ours, measure), getattr(theirs, measure)
        if mine is None or other is None:
            continue
        if math.isclose(mine, other, rel_tol=1e-9, abs_tol=1e-12):  # Rounding alone.
            level.append(name)
        else:
            (better if mine > other else worse).append(name)
    return Contrast(benchmark, tuple(better), tuple(worse), tuple(level))


def headline(results: Sequence[Contrast], span: SpanRecord) -> list[str]:
    r"""Return the verdict as sentences, the most important first.

    Examples
    --------
    >>> span = SpanRecord(
    ...     start="1998-01-02", end="1998-12-31", sessions=252, abstained=0
    ... )
    >>> mixed = Contrast("SPY", ("max drawdown",), ("Sharpe ratio", "total return"))
    >>> print(*headline([mixed], span), sep="\n")  # doctest: +NORMALIZE_WHITESPACE
    Out of sample, 1998-01-02 to 1998-12-31 (252 sessions), TRM was behind SPY by
    Sharpe ratio (not tested).
    Against SPY it was better in max drawdown, worse in Sharpe ratio and total return.
    """
    by_claim: dict[str, list[str]] = {}
    for result in results:
        by_claim.setdefault(result.claim, []).append(result.benchmark)
    claims = [
        claim.format(listed(texts, "or" if claim.startswith("did not") else "and"))
        for claim, texts in by_claim.items()
    ]
    head = (
        f"Out of sample, {span.start} to {span.end} ({count(span.sessions)} sessions), "
        f"TRM {listed(claims)}."
    )
    return [head, *map(str, results)]


def worth(judged: pd.DataFrame, models: Sequence[ModelRecord]) -> list[str]:
    """Say how sure the policy was, how often it was right, and who beats the majority.

    Parameters
    ----------
    judged : DataFrame of shape (n_sessions, n_columns)
        Decisions whose outcome is known, with confidence, allocation and winner.
    models : sequence of ModelRecord
        The models that decided.
    """
    said = []
    if len(judged):
        sure = float(judged["confidence"].mean())
        right = float((judged["allocation"] == judged["winner"]).mean())
        said.append(confidence_text(sure, right, len(judged)))
    checks = [model.validation for model in models]
    n_better = sum(check.accuracy > check.majority_accuracy for check in checks)
    if checks:
        who = f"{n_better} of {len(checks)} models" if n_better else "No model"
        verb, whose = ("beats", "its") if n_better < 2 else ("beat", "their")
        said.append(f"{who} {verb} the majority class of {whose} validation sessions.")
    return said


def constant_mix(targets: pd.DataFrame) -> str | None:
    """Say what a policy holds that does not time the market, None for one that does.

    It does not where nine of ten target weights of equity, and of bond, lie within
    `SAME_MIX` of one another.

    Parameters
    ----------
    targets : DataFrame of shape (n_sessions, 2)
        Target weights of equity and bond on sessions that were decided.

    Examples
    --------
    >>> held = pd.DataFrame({"equity": [0.57, 0.58, 0.57], "bond": [0.28, 0.28, 0.29]})
    >>> constant_mix(held)
    'This model does not time the market: it holds about 57% equity and 28% bonds.'
    >>> constant_mix(held.assign(equity=[0.2, 0.6, 0.6]))
    """
    low, high = targets.quantile(0.05), targets.quantile(0.95)
    if targets.empty or ((high - low) > SAME_MIX).any():
        return None
    equity, bond = (percent(weight, 0) for weight in targets.median())
    return (
        "This model does not time the market: it holds about "
        f"{equity} equity and {bond} bonds."
    )


def habit(shares: Mapping[str, float]) -> str | None:
    """Say which allocation was most probable nearly always, None if there is none.

    A policy that hardly ever changes its mind has much the record of one fixed mix, and
    a reader should hear that before any comparison.

    Parameters
    ----------
    shares : mapping of str to float
        Share of the sessions on which each allocation was the most probable.

    Examples
    --------
    >>> print(habit({"growth": 0.9, "defensive": 0.1}))  # doctest: +ELLIPSIS
    Growth was its most probable allocation on 90.0% of sessions: ...
    >>> habit({"growth": 0.6, "defensive": 0.4})
    """
    name = max(shares, key=shares.__getitem__)
    if shares[name] < NEARLY_ALWAYS:
        return None
    return (
        f"{label(name)} was its most probable allocation on {percent(shares[name])} of "
        "sessions: compare this record with that of the fixed mix."
    )


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a reader lists them.

    Examples
    --------
    >>> listed(["one"]), listed(["one", "two", "three"], "or")
    ('one', 'one, two or three')
    """
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
