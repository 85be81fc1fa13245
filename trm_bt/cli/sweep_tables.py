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
    from trm_bt.runs.progress import Counts, SweepState

_RANKED: Final = 20
_ERRORS_SHOWN: Final = 5
_IN_A_LINE: Final = (
    *("done", "failed", "running", "left", "per minute", "minutes left"),
)


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


def state_counts(state: "SweepState", counts: "Counts") -> dict[str, str]:
    """Return what the folds or the trials of a sweep's state are shown as."""
    running = state.n_running(counts)
    return {
        "total": count(counts.n_total),
        "already done": count(counts.n_found),
        "done": count(counts.n_done),
        "failed": count(counts.n_failed),
        "running": "?" if running is None else count(running),
        "left": count(counts.n_left),
        "seconds each": number(counts.seconds_each, 1),
        "per minute": number(counts.per_minute, 1),
        "minutes left": number(counts.minutes_left(state.n_workers), 1),
    }


def state_table(state: "SweepState") -> Table:
    """Return the live table: counts, and the errors of trials that failed last."""
    table = Table("", "folds", "trials")
    for column in table.columns[1:]:
        column.justify, column.min_width = "right", 8
    folds, trials = (state_counts(state, c) for c in (state.folds, state.trials))
    for name, value in folds.items():
        table.add_row(name, value, trials[name])
    failed = list(state.failed.items())[-_ERRORS_SHOWN:]
    table.caption = "\n".join(f"{escape(name)}: {escape(e)}" for name, e in failed)
    return table


def state_line(state: "SweepState") -> str:
    """Return the state in a line: what is under way in full, and the trials."""
    counts, trials = state.under_way, state.trials
    kind = "trials" if counts is trials else "folds"
    shown = state_counts(state, counts)
    words = [
        f"{name} {shown[name]}" for name in _IN_A_LINE if shown[name] != number(None)
    ]
    line = f"{kind}: {', '.join(words)}"
    if counts is trials:
        return line
    return f"{line}; trials: left {count(trials.n_left)}, failed {trials.n_failed}"
