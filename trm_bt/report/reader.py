"""A finished run as the report reads it from its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from trm_bt.errors import RunError
from trm_bt.market.features import FEATURE_NAMES
from trm_bt.report.records import RUN_STRATEGIES, Run, Summary

_COLUMNS: Final = {
    "equity": RUN_STRATEGIES,
    "crisis_equity": RUN_STRATEGIES,
    "weights": ("run", "session", "equity", "bond", "cash"),
    "decisions": (
        *("run", "session", "allocation", "confidence", "halt_prob", "n_steps"),
        *("model", *FEATURE_NAMES),
    ),
    "orders": ("run", "strategy", "filled_on", "value"),
    "labels": ("winner",),
}
"""Columns that the report reads, by table."""
_NO_CRISIS: Final = pd.DataFrame(
    columns=list(RUN_STRATEGIES),
    index=pd.MultiIndex.from_arrays([[], []], names=["crisis", "session"]),
)


@dataclass(frozen=True)
class RunFolder:
    """What one run left behind.

    Parameters
    ----------
    path : Path
        The folder.
    run : dict
        `run.json`, with at least what `Run` lists.
    summary : dict
        `summary.json`, with at least what `Summary` lists.
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
    run: dict[str, Any]
    summary: dict[str, Any]
    equity: pd.DataFrame
    crisis_equity: pd.DataFrame
    weights: pd.DataFrame
    decisions: pd.DataFrame
    orders: pd.DataFrame
    labels: pd.DataFrame

    @property
    def is_walkforward(self) -> bool:
        """Whether the models were trained fold by fold, not crisis by crisis."""
        return (self.path / "walkforward.json").is_file()

    def crisis(self, name: str) -> pd.DataFrame:
        """Return portfolio values in one crisis, base row first, index = session."""
        is_inside = self.crisis_equity.index.get_level_values("crisis") == name
        return self.crisis_equity[is_inside].droplevel("crisis")


def read_run(path: Path) -> RunFolder:
    """Read a run folder.

    Raises
    ------
    RunError
        If a file is missing or damaged, or lacks something that the report shows; the
        sentence names the file and what it lacks.
    """
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder. Make one with `trm-bt run`.")
    run = _read_json(path / "run.json", Run)
    summary = _read_json(path / "summary.json", Summary)
    tables = {name: path / f"{name}.parquet" for name in _COLUMNS}
    none_covered = not any(crisis["covered"] for crisis in summary["crises"])
    if none_covered and not tables["crisis_equity"].exists():
        del tables["crisis_equity"]
    read = {name: _read_table(table) for name, table in tables.items()}
    read.setdefault("crisis_equity", _NO_CRISIS)
    folder = RunFolder(path=path, run=run, summary=summary, **read)
    _check_spans(folder)
    return folder


def _read_json(path: Path, record: type[BaseModel]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: must hold an object, got {type(content).__name__}.")
    try:
        record.model_validate(content)
    except ValidationError as error:
        raise RunError(f"{path}: {_explain(error)}") from error
    return content


def _explain(error: ValidationError) -> str:
    """Turn the first validation error into one sentence."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"must hold `{key}`, which is missing. Make the run again."
    rule = first["msg"].removeprefix("Value error, ")
    came = "" if first["type"] == "value_error" else f", got {first['input']!r:.80}"
    return f"`{key}`: {rule}{came}. Make the run again."


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as parquet: {error}.") from error
    missing = [name for name in _COLUMNS[path.stem] if name not in table]
    if missing:
        raise RunError(
            f"{path}: must have the column `{missing[0]}`, got {list(table.columns)}."
        )
    return table


def _check_spans(folder: RunFolder) -> None:
    """Raise `RunError` unless each span has a base row and a session of its own."""
    levels = list(folder.crisis_equity.index.names)
    if levels != ["crisis", "session"]:
        raise RunError(
            f"{folder.path / 'crisis_equity.parquet'}: must be indexed by crisis and "
            f"session, got {levels}."
        )
    covered = [crisis for crisis in folder.summary["crises"] if crisis["covered"]]
    spans = {
        "equity.parquet": folder.equity,
        **{
            f"crisis_equity.parquet, {crisis['name']}": folder.crisis(crisis["name"])
            for crisis in covered
        },
    }
    for name, span in spans.items():
        if len(span) < 2:
            raise RunError(
                f"{folder.path / name}: must hold a base row and at least one session, "
                f"got {len(span)} rows."
            )
        for strategy in RUN_STRATEGIES:
            values = span[strategy]
            is_bad = (~(values > 0) | (values == np.inf)).to_numpy()
            if is_bad.any():
                at = int(is_bad.argmax())
                raise RunError(
                    f"{folder.path / name}: portfolio values must be positive numbers, "
                    f"{strategy} is {values.iloc[at]} on {span.index[at].date()}. Make "
                    "the run again."
                )
