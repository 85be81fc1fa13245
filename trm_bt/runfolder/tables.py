"""Reading a table of a run folder: its columns, what each holds, and its sessions."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import RunError
from trm_bt.parquet import read_parquet
from trm_bt.text import shorten

_TEXTS: Final = {"run", "strategy", "model", "base_model", "fold", "crisis"}
_DATES: Final = {"session", "filled_on"}
_CLASSES: Final = {"allocation", "winner"}


def read_columns(
    file: Path,
    columns: Iterable[str],
    index: Sequence[str] = (),
    n_allocations: int | None = None,
) -> pd.DataFrame:
    """Read a parquet file that must have these columns, of what each must hold.

    Parameters
    ----------
    file : Path
    columns : iterable of str
        Texts and dates are known by their names; all else is numbers, missing or
        finite.
    index : sequence of str
        Its levels, each row once; of none, it is not looked at.
    n_allocations : int, optional
        How many allocations there are to choose from, where columns are indices.

    Raises
    ------
    RunError
        If the file cannot be read, or a column is missing or of another kind; the
        sentence names the first.
    """
    try:
        table = read_parquet(file)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{file}: cannot be read as parquet: {error}. Repeat the run."
        ) from error
    names = list(columns)
    missing = [name for name in names if list(table.columns).count(name) != 1]
    if missing:
        raise RunError(
            f"{file}: must have the column `{missing[0]}` once, got "
            f"{shorten(list(table.columns))}. Repeat the run."
        )
    if index and (table.index.names != [*index] or not table.index.is_unique):
        raise RunError(
            f"{file}: must be indexed by {' and '.join(index)}, each once, got "
            f"{shorten(list(table.index.names))}. Repeat the run."
        )
    levels = [table.index.get_level_values(name).to_series() for name in index]
    for values in [*levels, *(table[name] for name in names)]:
        kind = _kind_of(str(values.name))
        if not _is_of(values, kind, n_allocations):
            raise RunError(
                f"{file}: `{shorten(values.name)}` must hold {kind}, but holds "
                f"{values.dtype} or invalid values. Repeat the run."
            )
    return table


def _kind_of(name: str) -> str:
    if name in _TEXTS:
        return "texts"
    if name in _DATES:
        return "dates"
    return "allocations" if name in _CLASSES else "finite numbers"


def _is_of(values: pd.Series, kind: str, n_allocations: int | None) -> bool:
    """Return whether a column, (n_rows,), is of a kind; an empty one is of any."""
    if values.empty:
        return True
    if kind == "texts":
        return pd.api.types.infer_dtype(values, skipna=True) in {"string", "empty"}
    if kind == "dates":
        is_there = values.name != "session" or bool(values.notna().all())
        return pd.api.types.is_datetime64_dtype(values) and is_there
    if not pd.api.types.is_numeric_dtype(values):
        return False
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    if kind == "allocations" and n_allocations is not None:
        known = numbers[~np.isnan(numbers)]
        return bool(np.isin(known, np.arange(-1, n_allocations)).all())
    return not np.isinf(numbers).any()
