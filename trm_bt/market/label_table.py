"""The label table as a whole: counted, and read back."""

import math
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype
from pydantic import BaseModel

from trm_bt.config import LabelConfig
from trm_bt.errors import RunError
from trm_bt.market.allocations import ALLOCATION_NAMES
from trm_bt.market.crises import CRISES
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema
from trm_bt.market.labels import labelled_allocations, pick_winners
from trm_bt.market.objectives import ROUND_OFF
from trm_bt.parquet import read_parquet
from trm_bt.reading import TABLE_BYTES, read_text

LABELS_FILE = "labels.parquet"
_NUMBERS = (*FEATURE_NAMES, "winner_return", "margin")
_COLUMNS = (*_NUMBERS, "winner", "is_tie", "known_on", "crises")


class AllocationWins(BaseModel, frozen=True):
    """How often one allocation won, and its mean return; None without labels."""

    n_wins: int
    win_share: float | None
    mean_return: float | None


class CrisisLabels(BaseModel, frozen=True):
    """The labels of one crisis, wins and mean returns by allocation."""

    n_labels: int
    n_ties: int
    most_frequent_winner: str | None
    n_wins: dict[str, int]
    mean_return: dict[str, float | None]


class LabelSummary(LabelConfig):
    """How labels were made, and what they came to.

    Ties are the sessions on which two allocations or more scored best alike.
    """

    n_labels: int
    n_ties: int
    by_class: dict[str, AllocationWins]
    by_crisis: dict[str, CrisisLabels]


def summarize_labels(
    labels: pd.DataFrame, config: LabelConfig | None = None
) -> LabelSummary:
    """Count winners and average returns, over all sessions and inside each crisis.

    Parameters
    ----------
    labels : DataFrame of shape (n_labels, n_columns)
        What `compute_labels` or `load_labels` returns.
    config : LabelConfig, optional
        How they were made.
    """
    sessions = pd.DatetimeIndex(labels.index)
    n_wins, means = _wins(labels), _mean_returns(labels)
    by_crisis = {crisis.name: labels[crisis.mask(sessions)] for crisis in CRISES}
    return LabelSummary(
        **dict(config or LabelConfig()),
        **_count(labels),
        by_class={
            name: AllocationWins(
                n_wins=n_wins[name],
                win_share=n_wins[name] / len(labels) if len(labels) else None,
                mean_return=means[name],
            )
            for name in labelled_allocations(labels)
        },
        by_crisis={name: _of_crisis(part) for name, part in by_crisis.items()},
    )


def _of_crisis(labels: pd.DataFrame) -> CrisisLabels:
    n_wins = _wins(labels)
    most = max(n_wins, key=n_wins.__getitem__)
    return CrisisLabels(
        **_count(labels),
        most_frequent_winner=most if len(labels) else None,
        n_wins=n_wins,
        mean_return=_mean_returns(labels),
    )


def _count(labels: pd.DataFrame) -> dict[str, int]:
    return {"n_labels": len(labels), "n_ties": int(labels["is_tie"].sum())}


def _wins(labels: pd.DataFrame) -> dict[str, int]:
    names = labelled_allocations(labels)
    counts = np.bincount(labels["winner"], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _mean_returns(labels: pd.DataFrame) -> dict[str, float | None]:
    names = labelled_allocations(labels)
    means = labels[_named("return", names)].mean().tolist()
    known = [None if math.isnan(mean) else mean for mean in means]
    return dict(zip(names, known, strict=True))


def _named(prefix: str, names: Sequence[str]) -> list[str]:
    return [f"{prefix}_{name}" for name in names]


def load_labels(path: Path | str) -> pd.DataFrame:
    """Read a label table that `trm-bt labels` or a run has written, and check it.

    Parameters
    ----------
    path : Path or str
        The folder with the table, or its labels.parquet or labels.csv.

    Returns
    -------
    DataFrame of shape (n_labels, n_columns)
        What `compute_labels` had returned, to the last bit. A parquet file has the
        feature schema in `attrs` too.

    Raises
    ------
    RunError
        If the file cannot be read, or is no sound label table; the sentence names the
        file, the rule and what came.
    """
    path = Path(path)
    path = path / LABELS_FILE if path.is_dir() else path
    try:
        labels = _read(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path}: cannot be read as a label table: {error}.") from error
    _check(labels, path)
    return labels


def _read(path: Path) -> pd.DataFrame:
    if path.suffix != ".csv":
        return read_parquet(path)
    labels = pd.read_csv(
        StringIO(read_text(path, TABLE_BYTES)),
        index_col="session",
        parse_dates=["session", "known_on"],
        engine="pyarrow",  # reads each number to its last bit
        keep_default_na=False,
    )
    labels.index = pd.DatetimeIndex(labels.index).as_unit("ns")
    labels["known_on"] = labels["known_on"].astype("datetime64[ns]")
    return labels


def _check(labels: pd.DataFrame, path: Path) -> None:
    """Raise `RunError` at the first rule that a label table breaks."""
    names = _expected(labels)
    needed = (*_COLUMNS, *_named("return", names))
    missing = [name for name in needed if name not in labels]
    if missing:
        raise RunError(
            f"{path}: a label table has the column `{missing[0]}`, got "
            f"{list(labels.columns)}. Create it again with `trm-bt labels`."
        )
    sessions = labels.index
    if (
        not isinstance(sessions, pd.DatetimeIndex)
        or sessions.tz is not None
        or not (sessions.is_monotonic_increasing and sessions.is_unique)
        or sessions.empty
    ):
        raise RunError(
            f"{path}: labels must be indexed by sessions in order, each once, got "
            f"{len(labels)} rows of {sessions.dtype}, first {list(sessions[:3])}."
        )
    for name, kind in _kinds(labels).items():
        if not _KINDS[kind](labels[name]):
            raise RunError(
                f"{path}: `{name}` must hold {kind}, got {labels[name].dtype}. Create "
                "it again with `trm-bt labels`."
            )
    for rule, is_right in _rules(labels).items():
        if not is_right.all():
            first = sessions[int((~is_right).argmax())].date()
            raise RunError(
                f"{path}: {rule}, which the label of {first} breaks. Create it "
                "again with `trm-bt labels`."
            )


def _expected(labels: pd.DataFrame) -> tuple[str, ...]:
    """Return the allocations that a label table must have.

    A parquet file says so. One of CSV has its own, or all of the eight if its names are
    among them: then one may be missing.
    """
    schema = labels.attrs.get("feature_schema")
    if schema is not None:
        return FeatureSchema.model_validate(schema).table.names
    found = labelled_allocations(labels)
    return ALLOCATION_NAMES if set(found) <= set(ALLOCATION_NAMES) else found


_KINDS: Final[Mapping[str, Callable[[pd.Series], bool]]] = {
    "numbers": is_float_dtype,
    "class indexes": is_integer_dtype,
    "true or false": is_bool_dtype,
    "sessions": lambda column: column.dtype == "datetime64[ns]",
    "names": lambda column: all(isinstance(value, str) for value in column),
}


def _kinds(labels: pd.DataFrame) -> dict[str, str]:
    """Return what each column must hold, a key of `_KINDS`."""
    names = labelled_allocations(labels)
    optional = (*_named("variance", names), *_named("score", names))
    added = [name for name in optional if name in labels]
    numbers = (*_NUMBERS, *_named("return", names), *added)
    return {
        **dict.fromkeys(numbers, "numbers"),
        "winner": "class indexes",
        "is_tie": "true or false",
        "known_on": "sessions",
        "crises": "names",
    }


def _rules(labels: pd.DataFrame) -> Mapping[str, np.ndarray]:
    """Return for each rule the rows that keep it, bool, shape (n_labels,)."""
    names = labelled_allocations(labels)
    of_return, of_score = _named("return", names), _named("score", names)
    numbers = labels[[*_NUMBERS, *of_return]].to_numpy(np.float64)
    returns = labels[of_return].to_numpy().T
    is_scored = set(of_score) <= set(labels.columns)
    scores = labels[of_score].to_numpy().T if is_scored else returns
    winner, margin, is_tie = pick_winners(scores)
    won = returns[np.clip(winner, 0, len(returns) - 1), np.arange(len(labels))]
    known = {crisis.name for crisis in CRISES} | {""}
    rules = {
        "every feature and return must be finite": np.isfinite(numbers).all(axis=1),
        "`winner` must be the first of the best": labels["winner"] == winner,
        "`winner_return` must be the winner's own return": (
            labels["winner_return"] == won
        ),
        "`margin` must be the winner's over the runner-up": (
            (labels["margin"] - margin).abs() <= ROUND_OFF
        ),
        "`is_tie` must say whether two are the best": labels["is_tie"] == is_tie,
        "`known_on` must lie after the session": labels["known_on"] > labels.index,
        "`crises` must name crises": labels["crises"].map(
            lambda names: known.issuperset(names.split(";"))
        ),
    }
    return {rule: np.asarray(is_right, dtype=bool) for rule, is_right in rules.items()}
