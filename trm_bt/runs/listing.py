"""What a folder of results holds, one entry per run, sweep or checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from trm_bt.errors import CheckpointError, RunError
from trm_bt.evaluation.benchmarks import OURS
from trm_bt.evaluation.sweep import SweepJudged
from trm_bt.learning.checkpoint import load_checkpoint
from trm_bt.reading import read_json
from trm_bt.runfolder.records import RUN, SUMMARY
from trm_bt.runfolder.store import read_run_record, read_summary
from trm_bt.runfolder.sweeps import SWEEP, read_sweep

_JUDGED: Final = TypeAdapter(SweepJudged)


@dataclass(frozen=True)
class RunEntry:
    """A result in a folder.

    Parameters
    ----------
    name, kind, state : str
        Its folder, what it is, and whether it is whole.
    bars : str
        Where its bars came from.
    span : str
        First and last session that it decided, or was trained on.
    seed : int or None
    sharpe : float or None
        Of the allocator out of sample, or of the best setting of a sweep, the mean over
        seeds and bars.
    """

    name: str
    kind: str
    state: str
    bars: str = ""
    span: str = ""
    seed: int | None = None
    sharpe: float | None = None


def list_runs(folder: Path) -> list[RunEntry]:
    """Return an entry for each result in a folder, by name.

    Raises
    ------
    RunError
        If there is no such folder, or it holds no result.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder. Give one that holds runs.")
    inner = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    found = [entry for path in inner for entry in _entries(path)]
    if not found:
        raise RunError(
            f"{folder}: must hold runs, sweeps or checkpoints, but holds none. Give "
            "the folder that they were written in."
        )
    return found


def _entries(path: Path) -> list[RunEntry]:
    """Return the entry of a folder, none if it is no result of ours."""
    for name, describe in _KINDS.items():
        if (path / name).is_file():
            try:
                return [describe(path)]
            except (RunError, CheckpointError) as error:
                return [RunEntry(path.name, name, f"unreadable: {error}")]
    return []


def _run(path: Path) -> RunEntry:
    record = read_run_record(path, may_be_unfinished=True)
    request = record.request
    kind = "walk-forward" if request.schedule == "calendar" else "run"
    seed = request.config.seed
    if not record.finished:
        return RunEntry(path.name, kind, "unfinished", request.bars, "", seed)
    return _backtest(path, kind, request.bars)


def _backtest(path: Path, kind: str = "backtest", bars: str = "") -> RunEntry:
    summary = read_summary(path)
    span = summary.out_of_sample
    return RunEntry(
        path.name,
        kind,
        "finished",
        bars or summary.bars.source,
        f"{span.start} to {span.end}",
        summary.seed,
        summary.strategies[OURS].sharpe,
    )


def _sweep(path: Path) -> RunEntry:
    record = read_sweep(path)
    bars = ", ".join(request.bars for request in record.requests)
    seed = record.requests[0].config.seed
    if not (path / SUMMARY).is_file():
        return RunEntry(path.name, "sweep", "unfinished", bars, "", seed)
    try:
        judged = _JUDGED.validate_json(read_json(path / SUMMARY))
    except ValueError as error:
        raise RunError(str(error).splitlines()[0]) from error
    found = judged.universes.values()
    span = f"{min(u.start for u in found)} to {max(u.end for u in found)}"
    best = judged.ranking[0].utility if judged.utility == "sharpe" else None
    return RunEntry(path.name, "sweep", "finished", bars, span, seed, best)


def _checkpoint(path: Path) -> RunEntry:
    model = load_checkpoint(path)
    span = f"{model.record.train_start} to {model.record.last_label_known_on}"
    seed = model.config.seed
    return RunEntry(path.name, "checkpoint", "finished", span=span, seed=seed)


_KINDS: Final[Mapping[str, Callable[[Path], RunEntry]]] = {
    SWEEP: _sweep,
    RUN: _run,
    SUMMARY: _backtest,
    "checkpoint.json": _checkpoint,
}
"""How a result is described, by the file that tells what it is."""
