"""The tables of docs/selection.md."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import markdown
from benchmarks.ablation.folds import TEST_SPANS
from benchmarks.selection.candidates import CANDIDATES
from benchmarks.selection.judge import Record, Rule, utility
from trm_bt.evaluation.overfitting import backtest_overfitting
from trm_bt.market.bars import SESSIONS_PER_YEAR

CONSTANT: Final = 0.95
"""A schedule whose most frequent weights take up more is an answer, not a model."""
_SPANS: Final = [f"{start[:4]}-{end[2:4]}" for start, end in TEST_SPANS]


@dataclass(frozen=True)
class Tried:
    """One trial: a candidate, a rule, and what came of it.

    Parameters
    ----------
    candidate : str
        Name of the training settings.
    rule : Rule
        How probabilities became weights.
    schedule : DataFrame of shape (n_sessions, 2)
        Weights of equity and bond, from the mean probabilities of the seeds.
    record : Record
        What they earned.
    seeds : list of Record
        What each seed earned alone, by the same rule.
    matched : Record
        What holding the average weights earned, known only afterwards.
    """

    candidate: str
    rule: Rule
    schedule: pd.DataFrame
    record: Record
    seeds: list[Record]
    matched: Record

    @property
    def timing(self) -> float:
        """Utility beyond that of holding the average weights throughout."""
        return self.record.utility - self.matched.utility

    def top_share(self, until: str | None = None) -> float:
        """Return the share of the sessions with the most frequent weights."""
        weights = self.schedule[:until].to_numpy().round(3)  # type: ignore[misc]
        _, counts = np.unique(weights, axis=0, return_counts=True)
        return float(counts.max() / counts.sum())

    def merit(self, until: str | None = None) -> float:
        """Return what is chosen by: the utility of a seed alone, on average.

        The mean over seeds is less a matter of luck than what their average earned.
        """
        parts = [seed.excess[:until] for seed in self.seeds]  # type: ignore[misc]
        return float(np.mean([utility(part) for part in parts]))

    def to_dict(self) -> dict[str, Any]:
        """Return settings and figures as JSON values."""
        record = self.record
        candidate = {one.name: one for one in CANDIDATES}[self.candidate]
        return {
            "candidate": self.candidate,
            "changes": candidate.changes,
            "device": candidate.device,
            "rule": asdict(self.rule),
            "utility": record.utility,
            "utility_by_span": record.by_span,
            "utility_of_seeds": [seed.utility for seed in self.seeds],
            "sharpe": record.sharpe,
            "max_drawdown": record.max_drawdown,
            "turnover": record.turnover,
            "mean_equity": float(record.mean_weights[0]),
            "timing": self.timing,
            "top_share": self.top_share(),
        }


def choose(tried: Sequence[Tried], until: str | None = None) -> Tried:
    """Return the trial of most merit of those that may be shipped.

    They do not always say the same, rebalance at each bar and leave the labels those of
    profit, as the package promises; the rest is shown for what it would bring. So are
    the devices, which came after the choice.

    Parameters
    ----------
    tried : sequence of Tried
        All trials.
    until : str, optional
        Last day known; all of it by default.
    """
    eligible = {
        one.name
        for one in CANDIDATES
        if "labels" not in one.changes and one.device == "none"
    }
    allowed = [
        one
        for one in tried
        if one.top_share(until) < CONSTANT
        and not one.rule.rebalance_band
        and one.candidate in eligible
    ]
    return max(allowed, key=lambda one: one.merit(until))


def nested(tried: Sequence[Tried]) -> tuple[list[Tried], pd.Series]:
    """Choose before each test span by the spans before it, as one would have had to.

    Parameters
    ----------
    tried : sequence of Tried
        The first is used in the first span, when there is nothing to choose by.

    Returns
    -------
    chosen : list of Tried
        The one used in each span.
    excess : Series of shape (n_sessions,)
        What they earned in it, session by session, in excess of cash.
    """
    ends = [end for _, end in TEST_SPANS]
    chosen = [tried[0], *[choose(tried, end) for end in ends[:-1]]]
    parts = [
        one.record.excess[start:end]  # type: ignore[misc]
        for one, (start, end) in zip(chosen, TEST_SPANS, strict=True)
    ]
    return chosen, pd.concat(parts)


def render(tried: Sequence[Tried], others: Mapping[str, Record]) -> str:
    """Return the tables in Markdown.

    Parameters
    ----------
    tried : sequence of Tried
        All trials.
    others : mapping of str to Record
        What needs no choice.
    """
    best = [
        max(group, key=Tried.merit)
        for _, group in groupby(
            sorted(tried, key=_place), key=lambda one: one.candidate
        )
    ]
    chosen, excess = nested(tried)
    path = "; ".join(
        f"{span}: {_title(one.candidate)}, {_words(one.rule)}"
        for span, one in zip(_SPANS, chosen, strict=True)
    )
    final = choose(tried)
    ratio = excess.mean() / excess.std() * np.sqrt(SESSIONS_PER_YEAR)
    blocks = [
        f"{len(best)} candidates, {len(tried)} trials. Chosen: "
        f"{_title(final.candidate)}, {_words(final.rule)}.",
        _trial_table(best),
        _trial_table([one for one in tried if one.candidate == final.candidate]),
        _others_table(others),
        f"Chosen before each span by the spans before it ({path}): utility "
        f"{100 * utility(excess):.2f} %, Sharpe ratio {ratio:.2f}.",
        _overfitting(tried),
    ]
    return "\n\n".join(blocks) + "\n"


def _overfitting(tried: Sequence[Tried]) -> str:
    """Say how often the best trial on half of the sessions is none on the others."""
    excess = np.column_stack([one.record.excess for one in tried])
    found = backtest_overfitting(excess)
    return (
        f"Of {found.n_splits:,} ways to halve the sessions, the trial with the best "
        f"Sharpe ratio on one half is in the worse half of the {found.n_strategies} on "
        f"the other in {100 * found.probability:.0f} %, and below 0 there in "
        f"{100 * found.loss_probability:.0f} %."
    )


def _place(one: Tried) -> int:
    return [candidate.name for candidate in CANDIDATES].index(one.candidate)


def _title(name: str) -> str:
    return {one.name: one.words for one in CANDIDATES}[name]


def _words(rule: Rule) -> str:
    band = f", band {rule.rebalance_band:g}" if rule.rebalance_band else ""
    return f"{rule.decision} of {rule.n_averaged}{band}"


def _trial_table(tried: Sequence[Tried]) -> str:
    lines = markdown.header(
        ["", "rule", "seeds, %", *_FIGURES, "timing, %", "most frequent, %"]
    )
    for one in tried:
        seeds = [100 * seed.utility for seed in one.seeds]
        cells = [
            _title(one.candidate),
            _words(one.rule),
            f"{np.mean(seeds):.2f} ({min(seeds):.1f} to {max(seeds):.1f})",
            *_figures(one.record),
            f"{100 * one.timing:+.2f}",
            f"{100 * one.top_share():.0f}",
        ]
        lines.append(markdown.row(cells))
    return "\n".join(lines)


def _others_table(others: Mapping[str, Record]) -> str:
    lines = markdown.header(["", *_FIGURES])
    lines += [
        markdown.row([name, *_figures(record)]) for name, record in others.items()
    ]
    return "\n".join(lines)


_FIGURES: Final = [
    "utility, %",
    *_SPANS,
    "Sharpe",
    "drawdown, %",
    "turnover",
    "equity, %",
]


def _figures(record: Record) -> list[str]:
    return [
        f"{100 * record.utility:.2f}",
        *(f"{100 * part:.1f}" for part in record.by_span),
        f"{record.sharpe:.2f}",
        f"{100 * record.max_drawdown:.1f}",
        f"{record.turnover:.1f}",
        f"{100 * record.mean_weights[0]:.0f}",
    ]
