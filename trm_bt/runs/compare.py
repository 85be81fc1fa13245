"""A finished run, read again and compared with every benchmark."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from pydantic import JsonValue, ValidationError

from trm_bt.config import TRMConfig
from trm_bt.errors import BarsError, RunError
from trm_bt.evaluation.assessment import ComparisonRecord, SignificanceSettings
from trm_bt.evaluation.benchmarks import COLUMNS, OURS, DecisionRecord
from trm_bt.evaluation.comparison import Comparison, run_comparison
from trm_bt.evaluation.crises import OUT_OF_SAMPLE
from trm_bt.evaluation.significance import assess
from trm_bt.evaluation.trials import (
    LOG_NAME,
    read_returns,
    read_trials,
    record_trial,
    target_weights,
)
from trm_bt.evaluation.verdict import verdict
from trm_bt.feeds.sources import check_span
from trm_bt.files import check_replaceable, staged_folder
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.processes import Progress
from trm_bt.report.compare_page import render_comparison
from trm_bt.runfolder import RunRequest, describe_bars, describe_cash, write_json

FOLDER: Final = "comparison"
MARKER: Final = "comparison.json"
PAGE: Final = "comparison.html"
_TARGETS: Final = [f"target_{name}" for name in COLUMNS]


WALKFORWARD: Final = "out_of_sample.parquet"
"""What a walk-forward folder says of its decisions beside the tables of a run."""
_PROBABILITIES: Final = [f"prob_{name}" for name in ALLOCATION_NAMES]
_SAME_VALUE: Final = 1e-9


@dataclass(frozen=True)
class CompareRequest:
    """What a comparison was asked for.

    Parameters
    ----------
    folder : Path
        A run folder, or a walk-forward folder.
    bars : str or None
        Where its bars are now; None where the run found them.
    start, end : str or None
        First and last deciding session compared; None for all there are.
    trials : Path or None
        Folder of the trials log; None for the one beside the run folder.
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

    Returns
    -------
    ComparisonRecord
        What comparison.json holds.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_span(request.start, request.end)
    target = target_of(request.folder, out)
    check_replaceable(target, marker=MARKER, force=force)
    log = request.trials or request.folder.absolute().parent / LOG_NAME
    read_trials(log)  # a log that cannot be counted is refused before the work
    run = read_record(request.folder)
    asked, whole = requested(request, run), read_decided(request.folder, run)
    loaded = asked.load()
    decisions = _decided_between(request, whole)
    bars = loaded.between(end=decisions.sessions[-1])
    seed = request.settings.seed
    comparison = run_comparison(
        bars, decisions, asked.config, seed=seed, progress=progress
    )
    is_same_bars = loaded.sha256() == run["bars"].get("sha256")
    if is_same_bars and request.start is None and request.end is None:
        check_replayed(request.folder, comparison.equity[OURS])
    record_trial(
        log,
        asked.config,
        whole.weights,
        comparison.equity[OURS],
        comparison.cash_returns,
    )
    trials = read_trials(log)
    returns = read_returns(log, trials, pd.DatetimeIndex(comparison.excess.index))
    report = progress or (lambda stage, done, total: None)
    report("tests", 0, 1)
    assessment = assess(comparison, trials, request.settings, returns)
    report("tests", 1, 1)
    record = ComparisonRecord(
        **vars(assessment),
        run=request.folder.absolute().name,
        bars=cast("dict[str, JsonValue]", describe_bars(bars)),
        is_same_bars=is_same_bars,
        cash=describe_cash(bars),
        cost_bps=asked.config.backtest.cost_bps,
        rebalance_band=asked.config.strategy.rebalance_band,
        verdict=verdict(assessment),
    )
    _write(record, comparison, target)
    return record


def _decided_between(request: CompareRequest, whole: DecisionRecord) -> DecisionRecord:
    """Return the decisions of the span that was asked for."""
    decided = whole.between(request.start, request.end)
    if not len(decided.sessions):
        raise BarsError(
            f"{request.folder}: no decision lies between {request.start} and "
            f"{request.end}; they run from {whole.sessions[0].date()} to "
            f"{whole.sessions[-1].date()}."
        )
    return decided


def target_of(folder: Path, out: Path | None) -> Path:
    """Return where the comparison of a run folder goes."""
    return folder / FOLDER if out is None else out


def _write(record: ComparisonRecord, comparison: Comparison, target: Path) -> None:
    """Write JSON, equity and page as one folder."""
    with staged_folder(target) as folder:
        write_json(folder / MARKER, record.to_dict())
        comparison.equity.rename_axis("session").to_parquet(folder / "equity.parquet")
        page = render_comparison(record, comparison.equity, comparison.excess)
        (folder / PAGE).write_text(page, encoding="utf-8")


def check_replayed(folder: Path, equity: pd.Series) -> None:
    """Hold the allocator's replayed value against what its run recorded, if it did.

    Raises
    ------
    RunError
        At the first session on which the two differ.
    """
    path = folder / "equity.parquet"
    if not path.exists():
        return
    recorded = _read_table(path)[OURS]
    both = pd.concat([recorded, equity], axis=1, keys=["recorded", "now"]).sort_index()
    # a session that only one of the two has is a difference
    is_same = (both["now"] / both["recorded"] - 1.0).abs() <= _SAME_VALUE
    if not is_same.all():
        session = both.index[int(is_same.to_numpy().argmin())]
        first = both.loc[session]
        raise RunError(
            f"{path}: the recorded value of {OURS} must be what its decisions come to, "
            f"but on {session.date()} it is {first['recorded']:.4f} against "
            f"{first['now']:.4f}. Make the run again."
        )


def read_record(folder: Path) -> dict[str, Any]:
    """Return run.json of a run folder.

    Raises
    ------
    RunError
        If it is missing, damaged, or lacks what a comparison needs.
    """
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: cannot be read as JSON: {error}. Give the folder of a finished "
            "run."
        ) from error
    missing = [key for key in ("request", "bars") if key not in run]
    if missing:
        raise RunError(
            f"{path}: must hold `{missing[0]}`, which is missing. Make the run again."
        )
    return dict(run)


def requested(request: CompareRequest, run: Mapping[str, Any]) -> RunRequest:
    """Return the request of the run, with the bars where they are now.

    Raises
    ------
    RunError
        If its settings are none of this version's.
    """
    asked = run["request"]
    try:
        config = TRMConfig.model_validate(asked["config"])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise RunError(
            f"{request.folder / 'run.json'}: the settings must be those of this "
            f"version, but `{key}`: {first['msg']}. Make the run again."
        ) from error
    return RunRequest(
        request.bars or asked["bars"],
        config,
        asked["start"],
        asked["end"],
        tuple(asked["observed"]),
        asked["device"],
    )


def read_decided(folder: Path, run: Mapping[str, Any]) -> DecisionRecord:
    """Return what the allocator decided out of sample in a run.

    Raises
    ------
    RunError
        If the table is missing or lacks a column, or a model of it is unknown.
    """
    path = folder / "decisions.parquet"
    table = _read_table(path).rename(columns={"decided_on": "session"})
    needed = ["session", "allocation", "model", *_TARGETS, *_PROBABILITIES]
    missing = [name for name in needed if name not in table]
    if missing:
        raise RunError(
            f"{path}: must have the column `{missing[0]}`, got {list(table.columns)}. "
            "Make the run again."
        )
    if "run" in table:
        table = table[table["run"] == OUT_OF_SAMPLE]
    table = table.set_index(pd.DatetimeIndex(table["session"]), drop=False)
    table = table.sort_index()
    probabilities = table[_PROBABILITIES]
    return DecisionRecord(
        target_weights(table),
        table["allocation"].fillna(-1).to_numpy(np.int64),
        probabilities.max(axis=1).to_numpy(np.float64),
        _known_by(table, run, path),
    )


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table of the run."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: cannot be read as parquet: {error}. Make the run again."
        ) from error


def _known_by(table: pd.DataFrame, run: Mapping[str, Any], path: Path) -> pd.Series:
    """Return up to which session each deciding model knew labels."""
    told = table
    if (path.parent / WALKFORWARD).exists():
        told = _read_table(path.parent / WALKFORWARD)
        told = told.set_index(pd.DatetimeIndex(told["session"])).reindex(table.index)
    if "last_label_known_on" in told:
        return pd.to_datetime(told["last_label_known_on"])
    models = run.get("models", [])
    until = {model["name"]: pd.Timestamp(model["trained_until"]) for model in models}
    decided = table["model"].where(table["allocation"].notna())
    unknown = sorted({*decided.dropna()} - {*until})
    if unknown:
        raise RunError(
            f"{path}: the model `{unknown[0]}` must be among those of run.json, got "
            f"{sorted(until)}."
        )
    return pd.to_datetime(decided.map(until))
