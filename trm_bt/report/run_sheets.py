"""The tearsheets of a run: what each says on top, and what QuantStats measures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from trm_bt.evaluation.crisis_figures import CrisisFigures, crisis_figures
from trm_bt.report.contents import Sheet
from trm_bt.report.crisis_windows import Window
from trm_bt.report.headline import best_and_worst
from trm_bt.report.returns import returns_from_equity
from trm_bt.report.templating import label
from trm_bt.runfolder.records import OUT_OF_SAMPLE, TEARSHEETS, ModelRecord, Summary
from trm_bt.runfolder.store import RunFolder

Facts = tuple[tuple[str, str], ...]
"""Terms and descriptions on top of a page."""


def run_sheets(
    folder: RunFolder, windows: Sequence[Window]
) -> Iterator[tuple[str, Sheet]]:
    """Yield each tearsheet of a run with the relative path it is written to."""
    yield f"{TEARSHEETS}/{OUT_OF_SAMPLE}.html", _whole(folder)
    shown = [window for window in windows if not window.reason]
    ways = [((window.link.rpartition("/")[2], window.title),) for window in shown]
    for at, window in enumerate(shown):
        before = ways[at - 1] if at else ()
        after = ways[at + 1] if at + 1 < len(ways) else ()
        sheet = _crisis(folder, window)
        yield window.link, replace(sheet, before=before, after=after)


def _whole(folder: RunFolder) -> Sheet:
    models = folder.run.models
    spans = ", ".join(f"{m.name} (until {m.trained_until})" for m in models)
    equity = folder.equity[list(folder.summary.strategy_names)]
    ours = folder.orders[folder.orders["run"] == OUT_OF_SAMPLE]
    figures = {
        name: crisis_figures(
            equity[name], equity[name].iloc[:0], ours[ours["strategy"] == name]
        )
        for name in folder.summary.strategy_names
    }
    facts = (("Models, with the last session known to each", spans),)
    return _sheet("The whole run, out of sample", folder, equity, figures, facts)


def _crisis(folder: RunFolder, window: Window) -> Sheet:
    decided = _decided_by(window, folder.run.models)
    if window.is_own:
        decided += ". The window is cut from the continuous run"
    facts = (("Window", f"{window.start} to {window.end}"), ("Decided by", decided))
    return _sheet(window.title, folder, window.context, window.figures, facts, window)


def _sheet(
    title: str,
    folder: RunFolder,
    equity: pd.DataFrame,
    figures: Mapping[str, CrisisFigures],
    facts: Facts,
    window: Window | None = None,
) -> Sheet:
    ours, benchmark, second = (
        returns_from_equity(equity[name]).rename(label(name))
        for name in ("trm", "spy", "sixty_forty")
    )
    return Sheet(
        title=title,
        returns=ours,
        benchmark=benchmark,
        second=second,
        facts=(*facts, *_origin(folder.summary)),
        compared=tuple(_rows(figures)),
        last=folder.equity.index[-1].date(),
        back="../index.html",
        is_cash_paid=folder.summary.cash_rate.source is not None,
        window=window,
    )


def _rows(figures: Mapping[str, CrisisFigures]) -> list[tuple[str, CrisisFigures]]:
    """Return the rows of the comparison, ours first."""
    best, worst = best_and_worst({name: f.total_return for name, f in figures.items()})
    rows = [(label(name), figures[name]) for name in ("trm", "spy", "sixty_forty")]
    rows.append((f"Best fixed by return: {label(best)}", figures[best]))
    return [*rows, (f"Worst fixed by return: {label(worst)}", figures[worst])]


def _decided_by(window: Window, models: Sequence[ModelRecord]) -> str:
    """Say which models decided in a window, and what each was trained on."""
    trained = {
        model.name: f", trained on {model.trained_from} to {model.trained_until} (the "
        f"last session known to it) in {model.n_optimizer_steps:,} optimiser "
        "steps"
        for model in models
    }
    decided = [name + trained.get(base, "") for name, base in window.models.items()]
    return "; then ".join(decided) or "no model: cash was held"


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
    return (
        ("Bars", source),
        *declared,
        ("Features", f"proxies: {', '.join(proxies)}" if proxies else "all observed"),
        ("Cash", summary.cash),
        ("Seed", str(summary.seed)),
    )
