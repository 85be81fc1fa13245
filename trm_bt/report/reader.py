"""A finished run as the report reads it from its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trm_bt.errors import RunError


@dataclass(frozen=True)
class RunFolder:
    """What one run left behind.

    Parameters
    ----------
    path : Path
        The folder.
    run : dict
        `run.json`: command, config, versions, seconds, models.
    summary : dict
        `summary.json`: bars, out_of_sample, strategies, crises, orders, seed.
    equity : DataFrame of shape (n_sessions + 1, n_strategies)
        Portfolio values at the closes out of sample; the first row is the base.
    crisis_equity : DataFrame of shape (n_rows, n_strategies)
        The same for each crisis, indexed by crisis and session.
    weights, decisions : DataFrame of shape (n_rows, n_columns)
        Actual weights at the closes, and decisions, with the column `run`.
    """

    path: Path
    run: dict[str, Any]
    summary: dict[str, Any]
    equity: pd.DataFrame
    crisis_equity: pd.DataFrame
    weights: pd.DataFrame
    decisions: pd.DataFrame

    def crisis(self, name: str) -> pd.DataFrame:
        """Return portfolio values in one crisis, base row first, index = session."""
        is_inside = self.crisis_equity.index.get_level_values("crisis") == name
        return self.crisis_equity[is_inside].droplevel("crisis")


def read_run(path: Path) -> RunFolder:
    """Read a run folder.

    Raises
    ------
    RunError
        If a file is missing or damaged; the sentence names it.
    """
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder. Make one with `trm-bt run`.")
    return RunFolder(
        path=path,
        run=_read_json(path / "run.json"),
        summary=_read_json(path / "summary.json"),
        equity=_read_table(path / "equity.parquet"),
        crisis_equity=_read_table(path / "crisis_equity.parquet"),
        weights=_read_table(path / "weights.parquet"),
        decisions=_read_table(path / "decisions.parquet"),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: must hold an object, got {type(content).__name__}.")
    return content


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as parquet: {error}.") from error
