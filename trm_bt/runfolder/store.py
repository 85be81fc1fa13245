"""Writing and reading a run folder, through the one schema of its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from trm_bt.errors import RunError
from trm_bt.files import write_text_atomically
from trm_bt.market._typing import Json
from trm_bt.reading import read_json
from trm_bt.runfolder.records import RUN, SUMMARY, RunRecord, Summary, table_columns
from trm_bt.runfolder.sweeps import SWEEP
from trm_bt.runfolder.tables import read_columns
from trm_bt.text import key_path, reason_of, shown

_INDEX: Final = {
    "equity": ("session",),
    "crisis_equity": ("crisis", "session"),
    "labels": ("session",),
}
"""Levels of the index by table, where it has a meaning."""


@dataclass(frozen=True)
class RunFolder:
    """What one finished run left behind.

    Parameters
    ----------
    path : Path
        The folder.
    run, summary : RunRecord, Summary
        The two JSON files.
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        Portfolio values at the closes out of sample; the first row is the base.
    crisis_equity : DataFrame of shape (n_rows, n_strategies)
        The same for each crisis, indexed by crisis and session; without rows where no
        crisis is covered.
    weights, decisions, orders : DataFrame of shape (n_rows, n_columns)
        Actual weights at the closes, decisions and orders, with the column `run`.
    labels : DataFrame of shape (n_labels, n_columns)
        The best allocation of each session, `winner`, known only later.
    """

    path: Path
    run: RunRecord
    summary: Summary
    equity: pd.DataFrame
    crisis_equity: pd.DataFrame
    weights: pd.DataFrame
    decisions: pd.DataFrame
    orders: pd.DataFrame
    labels: pd.DataFrame

    def crisis(self, name: str) -> pd.DataFrame:
        """Return values by session in a crisis, shape (n_closes, n_strategies)."""
        is_inside = self.crisis_equity.index.get_level_values("crisis") == name
        return self.crisis_equity[is_inside].droplevel("crisis")


def write_json(path: Path, content: BaseModel | Mapping[str, Json]) -> None:
    """Write JSON that any parser reads: no NaN, no infinity."""
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json")
    write_text_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_run(path: Path) -> RunFolder:
    """Read the folder of a finished run.

    Raises
    ------
    RunError
        If the run is unfinished, or a file is missing, damaged, or lacks something;
        the sentence names the file and what it lacks.
    """
    run = read_run_record(path)
    summary = read_summary(path)
    n_allocations = len(summary.allocations)
    tables = {
        name: read_columns(
            path / f"{name}.parquet", columns, _INDEX.get(name, ()), n_allocations
        )
        for name, columns in table_columns(summary.allocations).items()
    }
    folder = RunFolder(path=path, run=run, summary=summary, **tables)
    _check_spans(folder)
    return folder


def read_run_record(path: Path, *, may_be_unfinished: bool = False) -> RunRecord:
    """Read `run.json` of a run, a finished one; raise `RunError` as `read_run` does."""
    if not path.is_dir():
        raise RunError(f"{path}: there is no such run folder. Run `trm-bt run` first.")
    if (path / SWEEP).is_file():
        raise RunError(
            f"{path}: must be a run, but is a sweep, whose own page compares its "
            "settings. Run one of them by `trm-bt walkforward --config`."
        )
    run = _read_record(path / RUN, RunRecord)
    if not (run.finished or may_be_unfinished):
        raise RunError(
            f"{path}: the run is unfinished. Run its command again to resume it: "
            f"{run.command}"
        )
    return run


def read_summary(path: Path) -> Summary:
    """Read `summary.json` of a run; raise `RunError` as `read_run` does."""
    return _read_record(path / SUMMARY, Summary)


_AnyRecord = TypeVar("_AnyRecord", bound=BaseModel)


def _read_record(path: Path, record: type[_AnyRecord]) -> _AnyRecord:
    try:
        return record.model_validate_json(read_json(path), strict=True)
    except ValidationError as error:  # a ValueError as well
        raise RunError(f"{path}: {_explain(error)} Repeat the run.") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: cannot be read as JSON: {reason_of(error)}."
        ) from error


def _explain(error: ValidationError) -> str:
    """Turn the first validation error into one sentence."""
    first = error.errors()[0]
    key = key_path(first["loc"]) or "the whole"
    if first["type"] == "missing":
        return f"must hold `{key}`, which is missing."
    rule = first["msg"].removeprefix("Value error, ")
    came = "" if first["type"] == "value_error" else f", got {shown(first['input'])}"
    return f"`{key}`: {rule}{came}."


def _check_spans(folder: RunFolder) -> None:
    """Raise `RunError` unless each span has a base row and a session of its own."""
    spans, strategies = {"equity.parquet": folder.equity}, folder.summary.strategy_names
    for crisis in folder.summary.crises:
        if crisis.covered:
            name = f"crisis_equity.parquet, {crisis.name}"
            spans[name] = folder.crisis(crisis.name)
    for name, span in spans.items():
        _check_values(f"{folder.path / name}", span[list(strategies)])


def _check_values(name: str, span: pd.DataFrame) -> None:
    if len(span) < 2:
        raise RunError(
            f"{name}: must hold a base row and at least one session, got {len(span)} "
            "rows."
        )
    for strategy in span:
        values = span[strategy]
        is_bad = (~(values > 0) | (values == np.inf)).to_numpy()
        if is_bad.any():
            at = int(is_bad.argmax())
            raise RunError(
                f"{name}: portfolio values must be positive numbers, {strategy} is "
                f"{values.iloc[at]} on {span.index[at].date()}. Repeat the run."
            )
