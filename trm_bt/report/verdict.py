"""What the numbers say in plain words, and nothing beyond the numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.report.templating import label, percent

MEASURES: Final = {
    "sharpe": "Sharpe ratio",
    "total_return": "total return",
    "max_drawdown": "max drawdown",
}
"""What is compared; more is better in each, drawdowns being negative."""

NEARLY_ALWAYS: Final = 0.8
"""Share of sessions from which one choice is called a habit."""

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Duel:
    """The model against one rival.

    Parameters
    ----------
    rival : str
        Name of the strategy.
    text : str
        What a reader calls it.
    won, lost, tied : tuple of str
        Measures on which the model was ahead, behind, and level. A measure without a
        figure on either side is in none.
    """

    rival: str
    text: str
    won: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Measures without a figure on either side."""
        known = {*self.won, *self.lost, *self.tied}
        return tuple(name for name in MEASURES.values() if name not in known)


def best_and_worst(values: Figures) -> tuple[str, str]:
    """Return the fixed allocations with the highest and the lowest value.

    Examples
    --------
    >>> best_and_worst({"trm": 9.0, "growth": 0.2, "defensive": 0.1, "spy": None})
    ('growth', 'defensive')
    """
    known = {
        name: value
        for name, value in values.items()
        if name in ALLOCATION_NAMES and value is not None
    }
    return max(known, key=known.__getitem__), min(known, key=known.__getitem__)


def duels(strategies: Mapping[str, Figures]) -> list[Duel]:
    """Compare the model with SPY, 60/40 and the best fixed allocation.

    Parameters
    ----------
    strategies : mapping of str to mapping
        Figures by strategy, as `summary.json` has them.

    Returns
    -------
    list of Duel
        The best fixed allocation is picked in hindsight, by Sharpe ratio, or by total
        return where the span is too short for one.
    """
    measure = "sharpe"
    if all(strategies[name][measure] is None for name in ALLOCATION_NAMES):
        measure = "total_return"
    best, _ = best_and_worst({n: f[measure] for n, f in strategies.items()})
    rivals = {
        "spy": label("spy"),
        "sixty_forty": label("sixty_forty"),
        best: f"the best fixed allocation in hindsight ({label(best).lower()})",
    }
    return [
        _duel(strategies["trm"], strategies[rival], rival, text)
        for rival, text in rivals.items()
    ]


def verdict(results: list[Duel], out_of_sample: Mapping[str, Any]) -> list[str]:
    r"""Return the verdict as sentences.

    Examples
    --------
    >>> span = {"start": "1998-01-02", "end": "1998-12-31", "sessions": 252}
    >>> mixed = Duel("spy", "SPY", ("max drawdown",), ("Sharpe ratio", "total return"))
    >>> print(*verdict([mixed], span), sep="\n")
    Out of sample, 1998-01-02 to 1998-12-31 (252 sessions), TRM did not beat SPY.
    Against SPY it was better in max drawdown, worse in Sharpe ratio and total return.
    """
    rivals: dict[str, list[str]] = {}
    for duel in results:
        rivals.setdefault(_claim(duel), []).append(duel.text)
    claims = [
        claim.format(_listed(texts, "and" if claim.startswith("beat") else "or"))
        for claim, texts in sorted(rivals.items())
    ]
    head = (
        f"Out of sample, {out_of_sample['start']} to {out_of_sample['end']} "
        f"({out_of_sample['sessions']:,} sessions), TRM {_listed(claims, 'and')}."
    )
    return [head, *(_sentence(duel) for duel in results)]


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
    Growth was its most probable allocation on 90.0 % of sessions: ...
    >>> habit({"growth": 0.6, "defensive": 0.4})
    """
    name = max(shares, key=shares.__getitem__)
    if shares[name] < NEARLY_ALWAYS:
        return None
    return (
        f"{label(name)} was its most probable allocation on {percent(shares[name])} of "
        "sessions: read this record beside that fixed mix's own."
    )


def _duel(ours: Figures, theirs: Figures, rival: str, text: str) -> Duel:
    won: list[str] = []
    lost: list[str] = []
    tied: list[str] = []
    for measure, name in MEASURES.items():
        mine, other = ours[measure], theirs[measure]
        if mine is None or other is None:
            continue
        if math.isclose(mine, other, rel_tol=1e-9, abs_tol=1e-12):  # Rounding alone.
            tied.append(name)
        else:
            (won if mine > other else lost).append(name)
    return Duel(rival, text, tuple(won), tuple(lost), tuple(tied))


def _claim(duel: Duel) -> str:
    """Return what may be said of the duel as a whole, with a blank for the rival."""
    if duel.lost or not duel.won:
        return "did not beat {}"
    claim = "beat {} on every measure"
    if duel.tied:
        claim = "was no worse than {} on any measure"
    return f"{claim} that has a figure" if duel.missing else claim


def _sentence(duel: Duel) -> str:
    sides = []
    if duel.won:
        sides.append(f"better in {_listed(duel.won, 'and')}")
    if duel.lost:
        sides.append(f"worse in {_listed(duel.lost, 'and')}")
    if duel.tied:
        sides.append(f"level in {_listed(duel.tied, 'and')}")
    blank = f"; {_listed(duel.missing, 'and')} without a figure" if duel.missing else ""
    return f"Against {duel.text} it was {', '.join(sides)}{blank}."


def _listed(words: list[str] | tuple[str, ...], last: str) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
