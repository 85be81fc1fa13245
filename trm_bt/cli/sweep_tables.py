"""Tables of many runs: the ranking of a sweep, its state, and a folder's results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.table import Table

from trm_bt.cli.fitting import fitted
from trm_bt.figures import count, number

if TYPE_CHECKING:
    from trm_bt.evaluation.sweep import SweepJudged
    from trm_bt.runs.listing import RunEntry
    from trm_bt.runs.progress import SweepState

_RANKED: Final = 20
_ERRORS_SHOWN: Final = 5


def ranking_table(judged: "SweepJudged") -> Table:
    """Return a row for each of the best settings of a sweep."""
    names = list(dict.fromkeys(key for row in judged.ranking for key in row.point))
    table = fitted(
        f"{count(judged.n_trials)} trials of {count(len(judged.ranking))} settings",
        *(">rank", *names, ">utility", ">over seeds", ">lowest", ">highest"),
    )
    for place, row in enumerate(judged.ranking[:_RANKED], 1):
        spread = (row.utility, row.over_seeds, row.lowest, row.highest)
        values = [str(row.point.get(name, "")) for name in names]
        style = "bold" if row.number == judged.median else None
        table.add_row(
            str(place), *values, *[number(value, 3) for value in spread], style=style
        )
    table.caption = f"By {judged.utility}. Bold: the median setting."
    for name, error in judged.failed.items():
        table.caption += escape(f"\nFailed: {name}: {error}")
    return table


def run_table(entries: "Sequence[RunEntry]") -> Table:
    """Return a row for each result in a folder."""
    table = fitted(
        "Results", *("name", "kind", "state", "bars", "decided", ">seed", ">Sharpe")
    )
    for row in entries:
        seed = "" if row.seed is None else str(row.seed)
        cells = (row.kind, row.state, row.bars, row.span, seed)
        table.add_row(row.name, *map(escape, cells), number(row.sharpe))
    return table


def state_counts(state: "SweepState") -> dict[str, str]:
    """Return a sweep's state as shown."""
    found = {
        "trials": f"{state.n_total:,}",
        "already done": f"{state.n_found:,}",
        "done": f"{state.n_done:,}",
        "failed": f"{len(state.failed):,}",
        "running": "?" if state.n_running is None else f"{state.n_running:,}",
        "left": f"{state.n_left:,}",
    }
    if state.n_done:
        found["seconds per trial"] = f"{state.seconds / state.n_done:.1f}"
    if state.per_minute is not None and state.minutes_left is not None:
        found["per minute"] = f"{state.per_minute:.1f}"
        found["minutes left"] = f"{state.minutes_left:.1f}"
    return found


def state_table(state: "SweepState") -> Table:
    """Return the live table: counts, and the errors of the last failed trials."""
    table = Table(*state_counts(state))
    table.add_row(*state_counts(state).values())
    failed = list(state.failed.items())[-_ERRORS_SHOWN:]
    table.caption = "\n".join(f"{escape(name)}: {escape(e)}" for name, e in failed)
    return table
