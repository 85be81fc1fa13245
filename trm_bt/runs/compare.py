"""A finished run, read again and compared with every benchmark."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError, RunError
from trm_bt.evaluation.assessment import (
    Assessment,
    ComparisonRecord,
    SignificanceSettings,
)
from trm_bt.evaluation.benchmarks import OURS, DecisionRecord
from trm_bt.evaluation.comparison import Comparison, run_comparison
from trm_bt.evaluation.significance import assess
from trm_bt.evaluation.trials import (
    check_log,
    log_beside,
    read_returns,
    read_trials,
    record_trial,
    target_weights,
)
from trm_bt.evaluation.verdict import verdict
from trm_bt.executors import Runner, opened
from trm_bt.feeds.sources import check_span
from trm_bt.files import staged_folder
from trm_bt.manifest import check_replaceable
from trm_bt.market.bars import Bars
from trm_bt.processes import Progress, no_progress
from trm_bt.report.compare_page import render_comparison
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.pages import link_comparison
from trm_bt.runfolder.records import (
    COMPARISON,
    COMPARISON_PAGE,
    INDEX,
    OUT_OF_SAMPLE,
    RUN,
    BarsRecord,
    CashRecord,
    RunRecord,
    table_columns,
)
from trm_bt.runfolder.store import read_run_record, write_json
from trm_bt.runfolder.tables import read_columns
from trm_bt.runs.request import bars_for
from trm_bt.text import shorten, shown, span_text

MARKER: Final = "comparison.json"
_SAME_VALUE: Final = 1e-9


@dataclass(frozen=True)
class CompareRequest:
    """How to compare a run.

    Parameters
    ----------
    folder : Path
        A run folder, or a walk-forward folder.
    bars : str or None
        Where its bars are now; None where the run found them.
    start, end : str or None
        First and last deciding session compared; None for all there are.
    trials : Path or None
        Folder of the trials log; None for the one next to the run folder.
    settings : SignificanceSettings
    """

    folder: Path
    bars: str | None = None
    start: str | None = None
    end: str | None = None
    trials: Path | None = None
    settings: SignificanceSettings = field(default_factory=SignificanceSettings)


def compare(
    request: CompareRequest,
    *,
    out: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    executor: Runner = 1,
) -> ComparisonRecord:
    """Compare a run with every benchmark, and write JSON, a table and a page.

    Parameters
    ----------
    request : CompareRequest
    out : Path or None
        The folder of the result; None for `comparison` inside the run folder.
    force : bool
        Replace an existing comparison.
    progress : callable, optional
        Called after each benchmark.
    executor : Executor, Workers or int, optional
        What runs backtests and draws; a number of processes.

    Returns
    -------
    ComparisonRecord
        What comparison.json holds.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad; nothing is then written.
    """
    check_span(request.start, request.end)
    target = target_of(request.folder, out)
    check_replaceable(target, marker=MARKER, force=force)
    log = request.trials or log_beside(request.folder)
    check_log(log)
    run = read_run_record(request.folder)
    whole = read_decisions(request.folder, run)
    loaded = _bars_of(request, run)
    config, settings = run.request.config, request.settings
    decisions = _decided_between(request, whole)
    bars = loaded.between(end=decisions.sessions[-1])
    progress = progress or no_progress
    is_same_bars = loaded.sha256() == run.bars.sha256
    recorded = _recorded(request.folder)
    with opened(executor) as pool:
        comparison = run_comparison(
            bars,
            decisions,
            config,
            seed=settings.seed,
            progress=progress,
            executor=pool,
        )
        if is_same_bars and request.start is None and request.end is None:
            check_replayed(request.folder, recorded, comparison.equity[OURS])
        progress("tests", 0, 1)
        assessment = _assess(comparison, whole, loaded, log, settings, pool)
        progress("tests", 1, 1)
    name = request.folder.absolute().name
    record = _record(name, comparison, assessment, bars, is_same_bars=is_same_bars)
    _write(record, comparison, request.folder, target)
    return record


def _record(
    run: str,
    comparison: Comparison,
    assessment: Assessment,
    bars: Bars,
    *,
    is_same_bars: bool,
) -> ComparisonRecord:
    config = comparison.config
    return ComparisonRecord(
        **vars(assessment),
        run=run,
        bars=BarsRecord.of(bars).model_dump(mode="json"),
        is_same_bars=is_same_bars,
        cash=str(CashRecord.of(bars)),
        cost_bps=config.backtest.cost_bps,
        rebalance_band=config.strategy.rebalance_band,
        schedule=config.strategy.schedule,
        allocations=comparison.allocations.names,
        verdict=verdict(assessment),
    )


def _bars_of(request: CompareRequest, run: RunRecord) -> Bars:
    """Load the bars of the comparison, those of the run unless others are named."""
    moved = replace(run.request, bars=request.bars or run.request.bars)
    return bars_for(moved, run.feature_schema)


def _decided_between(request: CompareRequest, whole: DecisionRecord) -> DecisionRecord:
    """Return the decisions of the requested span."""
    decided = whole.between(request.start, request.end)
    if not len(decided.sessions):
        raise BarsError(
            f"{request.folder}: no decision lies "
            f"{span_text(request.start, request.end)}; they run from "
            f"{whole.sessions[0].date()} to {whole.sessions[-1].date()}."
        )
    return decided


def target_of(folder: Path, out: Path | None) -> Path:
    """Return where the comparison of a run folder goes."""
    return folder / COMPARISON if out is None else out


def _assess(
    comparison: Comparison,
    whole: DecisionRecord,
    bars: Bars,
    log: Path,
    settings: SignificanceSettings,
    executor: Runner,
) -> Assessment:
    """Record the run in its trials log, and assess the comparison by all trials."""
    equity, cash = comparison.equity[OURS], comparison.cash_returns
    digest = bars.sha256()
    record_trial(log, comparison.config, digest, whole.weights, equity, cash)
    trials = read_trials(log)
    returns = read_returns(log, trials, pd.DatetimeIndex(comparison.excess.index))
    return assess(comparison, trials, settings, returns, executor)


def _write(
    record: ComparisonRecord, comparison: Comparison, run_folder: Path, target: Path
) -> None:
    """Write JSON, equity and page as one folder, linked if it is inside the run's."""
    is_inside = target.absolute() == (run_folder / COMPARISON).absolute()
    back = f"../{INDEX}" if is_inside else ""
    with staged_folder(target) as folder:
        write_json(folder / MARKER, record.to_dict())
        comparison.equity.rename_axis("session").to_parquet(folder / "equity.parquet")
        equity, excess = comparison.equity, comparison.excess
        content = ComparisonContent(record, equity, excess, back)
        page = render_comparison(content)
        (folder / COMPARISON_PAGE).write_text(page, encoding="utf-8")
    if is_inside:
        link_comparison(run_folder)


def _recorded(folder: Path) -> pd.Series:
    """Return the allocator's value by session, as its run wrote it."""
    return read_columns(folder / "equity.parquet", [OURS], ["session"])[OURS]


def check_replayed(folder: Path, recorded: pd.Series, equity: pd.Series) -> None:
    """Hold the allocator's replayed value, (n_sessions,), against the recorded one.

    Raises
    ------
    RunError
        At the first session on which the two differ.
    """
    keys = ["recorded", "now"]
    both = pd.concat([recorded, equity], axis=1, keys=keys, sort=True)
    # a session that only one of the two has is a difference
    is_same = (both["now"] / both["recorded"] - 1.0).abs() <= _SAME_VALUE
    if not is_same.all():
        session = both.index[int(is_same.to_numpy().argmin())]
        first = both.loc[session]
        raise RunError(
            f"{folder / 'equity.parquet'}: the recorded value of {OURS} must equal "
            f"the result of its decisions, but on {session.date()} it is "
            f"{first['recorded']:.4f} against {first['now']:.4f}. Repeat the run."
        )


def read_decisions(folder: Path, run: RunRecord) -> DecisionRecord:
    """Return what the allocator decided out of sample in a run.

    Raises
    ------
    RunError
        If the table is missing or lacks a column, or a model of it is unknown.
    """
    allocations = run.feature_schema.table
    columns = table_columns(allocations.names)["decisions"]
    file = folder / "decisions.parquet"
    table = read_columns(file, columns, n_allocations=len(allocations))
    table = table[table["run"] == OUT_OF_SAMPLE].set_index("session", drop=False)
    table = table.sort_index()
    if table.empty or not table.index.is_unique:
        raise RunError(
            f"{file}: must hold one decision per session of the run {OUT_OF_SAMPLE}, "
            f"has {len(table)} of {table.index.nunique()} sessions. Repeat the run."
        )
    probs = table[allocations.columns("prob")]
    return DecisionRecord(
        target_weights(table),
        table["allocation"].fillna(-1).to_numpy(np.int64),
        probs.max(axis=1).to_numpy(np.float64),
        _known_by(table, run, folder),
        probs.to_numpy(np.float64),
    )


def _known_by(table: pd.DataFrame, run: RunRecord, folder: Path) -> pd.Series:
    """Return up to which session each deciding model knew labels."""
    until = {model.name: pd.Timestamp(model.trained_until) for model in run.models}
    decided = table["base_model"].where(table["allocation"].notna())
    unknown = sorted({*decided.dropna()} - {*until})
    if unknown:
        raise RunError(
            f"{folder / 'decisions.parquet'}: the model {shown(unknown[0])} must be "
            f"among those of {RUN}, got {shorten(sorted(until))}."
        )
    return pd.to_datetime(decided.map(until))
