"""A sweep: settings x seeds x universes, each a walk-forward, in one folder.

Each fold and each trial has a result file, so that an interrupted sweep resumes with
them. All trials are counted in the trials log next to the folder.
"""

import math
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trm_bt.errors import RunError
from trm_bt.evaluation.sweep import SweepJudged, common_returns, mean_over_seeds
from trm_bt.evaluation.trials import check_log, log_beside
from trm_bt.executors import Runner, opened
from trm_bt.files import exclusive_lock, staged_files, staged_folder
from trm_bt.manifest import check_replaceable, check_unchanged
from trm_bt.report.sweep_page import SweepContent, render_sweep
from trm_bt.runfolder.records import INDEX, SUMMARY
from trm_bt.runfolder.store import write_json
from trm_bt.runfolder.sweeps import (
    FOLDS,
    RANKING,
    RESULTS,
    SWEEP,
    SweepRecord,
    read_sweep,
)
from trm_bt.runs.grid import SweepRequest, settings_at
from trm_bt.runs.progress import OnState
from trm_bt.runs.sweep_tasks import SweepWork


@dataclass(frozen=True)
class Estimate:
    """What a sweep would take.

    Parameters
    ----------
    n_trials : int
    n_folds : int
        Different ones of all trials, those that are there included.
    seconds : float
        What one of them took.
    """

    n_trials: int
    n_folds: int
    seconds: float


def sweep(
    request: SweepRequest,
    out: Path,
    *,
    command: str = "trm_bt.runs.sweep.sweep",
    force: bool = False,
    executor: Runner = None,
    on_state: OnState = id,
) -> SweepJudged:
    """Try settings, rank them, and test what of it is luck.

    Parameters
    ----------
    request : SweepRequest
    out : Path
        The folder. If it holds the same sweep, its results are kept.
    command : str
        The command line.
    force : bool
        Replace another sweep.
    executor : Executor, Workers or int, optional
        What runs the folds and the trials.
    on_state : callable
        Called before the folds of each batch, and after each fold and each trial.

    Returns
    -------
    SweepJudged
        What summary.json holds.

    Raises
    ------
    BarsError, ConfigError, RunError
        If the input is bad, which is found before the first trial.
    """
    under_way = _begun(request, out, on_state)
    with exclusive_lock(out):
        _claim(out, under_way.record(command), force=force)
        with opened(executor) as pool:
            _try_all(under_way, pool)
        judged = under_way.judged()
        _write(under_way, judged)
    return judged


def measure(
    request: SweepRequest,
    out: Path,
    *,
    command: str = "trm_bt.runs.sweep.measure",
    force: bool = False,
) -> Estimate:
    """Check a sweep, do one of its folds in this process, and say what all would take.

    The folder is then that of the sweep, and the fold is kept; arguments and errors as
    in `sweep`. Of points that a sampler proposes in batches the first batch is counted.
    """
    under_way = _begun(request, out, id)
    with exclusive_lock(out):
        _claim(out, under_way.record(command), force=force)
        points = next(request.sampler.batches(request.grid))
        trials = dict(one for point in points for one in under_way.laid_out(point))
        folds, refused = under_way.needed(trials)
        if not folds:
            raise next(iter(refused.values()))
        middle = list(folds)[len(folds) // 2]  # neither of most labels nor of fewest
        seconds = under_way.seconds_of({middle: folds[middle]})
    n_batches = request.n_points / len(points)
    return Estimate(request.n_trials, round(len(folds) * n_batches), seconds)


def _begun(request: SweepRequest, out: Path, on_state: OnState) -> SweepWork:
    """Return a sweep of settings that are all sound, and that can be counted."""
    check_log(log_beside(out))
    for point in request.grid.points():
        settings_at(request.requests[0].config, point)
    return SweepWork(request, out, on_state)


def _claim(out: Path, record: SweepRecord, *, force: bool) -> None:
    """Make a folder a sweep's, or find that it is already."""
    try:
        earlier = read_sweep(out)
    except RunError:  # no sweep, or an unreadable one
        pass
    else:
        if earlier.is_of(record):
            check_unchanged(out)
            return
        if not force:
            raise RunError(
                f"{out}: holds a sweep with other settings, bars or versions. Choose "
                "another --out, or pass --force to replace it."
            )
    check_replaceable(out, marker=SWEEP, force=force)
    with staged_folder(out) as draft:
        write_json(draft / SWEEP, record)
        for name in (FOLDS, RESULTS):
            (draft / name).mkdir()


def _try_all(under_way: SweepWork, pool: Executor) -> None:
    """Do the trials of each batch of the sampler, and tell it what came of them."""
    batches = under_way.request.sampler.batches(under_way.request.grid)
    points = next(batches)
    while True:
        utilities = under_way.try_points(points, pool)
        try:
            points = batches.send([_mean(own.values()) for own in utilities])
        except StopIteration:
            return


def _mean(utilities: Iterable[float | None]) -> float | None:
    """Return the mean, the same in any order; None where one is missing."""
    given = list(utilities)
    known = [utility for utility in given if utility is not None]
    return math.fsum(known) / len(known) if len(known) == len(given) else None


def _write(under_way: SweepWork, judged: SweepJudged) -> None:
    """Write summary, table and page."""
    rows = [
        {
            "rank": place,
            **row.point,
            "utility": row.utility,
            "over_seeds": row.over_seeds,
            **{f"utility {name}": value for name, value in row.by_universe.items()},
        }
        for place, row in enumerate(judged.ranking, 1)
    ]
    drawn = [judged.ranking[0].number, judged.median]
    growth = {
        universe: (1.0 + mean_over_seeds(table)[drawn]).cumprod()
        for universe, table in common_returns(under_way.in_order()).items()
    }
    page = render_sweep(SweepContent(judged, growth))
    with staged_files(under_way.out) as new:
        write_json(new / SUMMARY, judged.to_dict())
        pd.DataFrame(rows).to_csv(new / RANKING, index=False)
        (new / INDEX).write_text(page, encoding="utf-8")
