"""The tearsheets of a run: what each says on top, and what QuantStats measures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from trm_bt.evaluation.crisis_figures import crisis_figures
from trm_bt.report.returns import returns_from_equity
from trm_bt.report.sheets import Context, Sheet
from trm_bt.report.templating import label
from trm_bt.report.verdict import best_and_worst
from trm_bt.report.windows import Window, decided_by
from trm_bt.runfolder.records import OUT_OF_SAMPLE, STRATEGIES, TEARSHEETS, Summary
from trm_bt.runfolder.store import RunFolder

Facts = tuple[tuple[str, str], ...]


def run_sheets(
    folder: RunFolder, windows: Sequence[Window]
) -> Iterator[tuple[str, Sheet]]:
    """Yield each tearsheet of a run with the relative path it is written to."""
    yield f"{TEARSHEETS}/{OUT_OF_SAMPLE}.html", _whole(folder)
    for window in windows:
        if not window.reason:
            yield window.link, _crisis(folder, window)


def _whole(folder: RunFolder) -> Sheet:
    models = folder.run.models
    spans = ", ".join(f"{m.name} (until {m.trained_until})" for m in models)
    equity = folder.equity[list(STRATEGIES)]
    ours = folder.orders[folder.orders["run"] == OUT_OF_SAMPLE]
    figures = {
        name: crisis_figures(
            equity[name], equity[name].iloc[:0], ours[ours["strategy"] == name]
        )
        for name in STRATEGIES
    }
    facts = (
        ("Models, and the last session each knew", spans),
        *_origin(folder.summary),
    )
    title = "The whole run, out of sample"
    return _sheet(title, equity, _rows(figures, equity.index[-1]), facts)


def _crisis(folder: RunFolder, window: Window) -> Sheet:
    decided = decided_by(window, folder.run.models)
    if window.is_own:
        decided += ". The window is cut from the continuous run"
    facts = (
        ("Window", f"{window.start} to {window.end}"),
        ("Decided by", decided),
        *_origin(folder.summary),
    )
    context = Context(
        equity=window.context,
        weights=window.weights,
        seen=window.seen,
        base=window.equity.index[0],
        span=window.span,
        n_sessions=window.n_sessions,
    )
    rows = _rows(window.figures, folder.equity.index[-1])
    return _sheet(window.title, window.context, rows, facts, context)


def _sheet(
    title: str,
    equity: pd.DataFrame,
    compared: tuple[dict[str, object], ...],
    facts: Facts,
    context: Context | None = None,
) -> Sheet:
    return Sheet(
        title=title,
        returns=returns_from_equity(equity["trm"]).rename(label("trm")),
        benchmark=returns_from_equity(equity["spy"]).rename(label("spy")),
        second=returns_from_equity(equity["sixty_forty"]).rename(label("sixty_forty")),
        facts=facts,
        compared=compared,
        back="../index.html",
        context=context,
    )


def _rows(
    figures: Mapping[str, Mapping[str, Any]], last: pd.Timestamp
) -> tuple[dict[str, object], ...]:
    """Return the rows of the comparison, ours first."""
    returns = {name: told["total_return"] for name, told in figures.items()}
    best, worst = best_and_worst(returns)
    return tuple(
        {"label": text, "recovery": _recovery(figures[name], last), **figures[name]}
        for name, text in (
            ("trm", label("trm")),
            ("spy", label("spy")),
            ("sixty_forty", label("sixty_forty")),
            (best, f"Best fixed: {label(best)}"),
            (worst, f"Worst fixed: {label(worst)}"),
        )
    )


def _recovery(figures: Mapping[str, Any], last: pd.Timestamp) -> str:
    """Say when the deepest drawdown was made good, if it was by the `last` session."""
    if figures["max_drawdown"] == 0.0:
        return "nothing lost"
    back = figures["recovered_on"]
    return f"not by {last.date()}" if back is None else str(back.date())


def _origin(summary: Summary) -> Facts:
    """Say where the bars come from, what is a proxy, what cash earned, and the seed."""
    source = summary.bars.source
    if summary.bars.derived:
        source += ". These bars are derived from other series, not quotes of a market."
    declared = (
        (
            f"{label(role)} (proxy)" if entry.status == "proxy" else label(role),
            "; ".join([entry.source, *entry.notes]),
        )
        for role, entry in summary.bars.roles.items()
        if entry.status == "proxy" or entry.notes
    )
    status = summary.features.status
    proxies = [label(name) for name, kind in status.items() if kind == "proxy"]
    features = "all observed" if not proxies else f"proxies: {', '.join(proxies)}"
    return (
        ("Bars", source),
        *declared,
        ("Features", features),
        ("Cash", summary.cash),
        ("Seed", str(summary.seed)),
    )
