"""What the numbers say in plain words, and nothing beyond the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.report.templating import label

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
    won, lost : tuple of str
        Measures on which the model was ahead, and behind. A tie, or a measure without
        a figure on either side, is in neither.
    """

    rival: str
    text: str
    won: tuple[str, ...]
    lost: tuple[str, ...]


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
    beaten = [duel.text for duel in results if duel.won and not duel.lost]
    unbeaten = [duel.text for duel in results if not (duel.won and not duel.lost)]
    claims = []
    if beaten:
        claims.append(f"beat {_listed(beaten, 'and')} on every measure")
    if unbeaten:
        claims.append(f"did not beat {_listed(unbeaten, 'or')}")
    head = (
        f"Out of sample, {out_of_sample['start']} to {out_of_sample['end']} "
        f"({out_of_sample['sessions']:,} sessions), TRM {' and '.join(claims)}."
    )
    return [head, *(_sentence(duel) for duel in results)]


def habit(shares: Mapping[str, float]) -> str | None:
    """Say which allocation was chosen nearly always, None if there is none.

    A policy that hardly ever changes its mind has the record of one fixed mix, and a
    reader should hear that before any comparison.

    Parameters
    ----------
    shares : mapping of str to float
        Share of the sessions on which each allocation was chosen.

    Examples
    --------
    >>> habit({"growth": 0.9, "defensive": 0.1})
    "It chose growth on 90 % of sessions: most of this record is that fixed mix's own."
    >>> habit({"growth": 0.6, "defensive": 0.4})
    """
    name = max(shares, key=shares.__getitem__)
    if shares[name] < NEARLY_ALWAYS:
        return None
    return (
        f"It chose {label(name).lower()} on {100 * shares[name]:.0f} % of sessions: "
        "most of this record is that fixed mix's own."
    )


def _duel(ours: Figures, theirs: Figures, rival: str, text: str) -> Duel:
    won: list[str] = []
    lost: list[str] = []
    for measure, name in MEASURES.items():
        mine, other = ours[measure], theirs[measure]
        if mine is None or other is None or mine == other:
            continue
        (won if mine > other else lost).append(name)
    return Duel(rival, text, tuple(won), tuple(lost))


def _sentence(duel: Duel) -> str:
    sides = []
    if duel.won:
        sides.append(f"better in {_listed(duel.won, 'and')}")
    if duel.lost:
        sides.append(f"worse in {_listed(duel.lost, 'and')}")
    return f"Against {duel.text} it was {', '.join(sides) or 'no different'}."


def _listed(words: list[str] | tuple[str, ...], last: str) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
