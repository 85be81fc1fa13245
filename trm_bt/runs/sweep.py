"""A sweep: settings x seeds x universes, each a walk-forward, in one folder.

Each trial has a result file, so that an interrupted sweep resumes with them. All of
them are counted in the trials log next to the folder.
"""

import json
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from trm_bt.config import BarsConfig, SweepUtility, TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.metrics import excess_returns
from trm_bt.evaluation.sweep import (
    SweepJudged,
    TrialReturns,
    common_returns,
    judge,
    mean_over_seeds,
    utility_of,
)
from trm_bt.evaluation.trials import check_log, log_beside, record_trial
from trm_bt.executors import Runner, n_workers, opened, share
from trm_bt.files import exclusive_lock, name_entries, staged_files, staged_folder
from trm_bt.manifest import check_replaceable, check_unchanged
from trm_bt.market.bars import Bars
from trm_bt.market.labels import cash_returns
from trm_bt.report.sweep_page import SweepContent, render_sweep
from trm_bt.runfolder.records import INDEX, SUMMARY, BarsRecord, RunRequest
from trm_bt.runfolder.store import write_json
from trm_bt.runfolder.sweeps import RANKING, RESULTS, SWEEP, SweepRecord, read_sweep
from trm_bt.runs.grid import Grid, Point, Sampler, describe, settings_at
from trm_bt.runs.progress import OnState, SweepState
from trm_bt.runs.request import training_bars
from trm_bt.runs.trial import read_trial, walk_trial
from trm_bt.tasks import (
    InThisProcess,
    ResultFiles,
    Task,
    as_done,
    code_versions,
    key_of,
)


@dataclass(frozen=True)
class SweepRequest:
    """What is swept.

    Parameters
    ----------
    requests : tuple of RunRequest
        A walk-forward of each universe, all of the same settings.
    grid : Grid
        The points.
    sampler : Sampler
        Which of them are tried.
    n_seeds : int
        Seeds of each setting, so far apart that no model is in two of them.
    utility : {"sharpe", "mean_variance"}
        Criterion of the ranking.
    """

    requests: tuple[RunRequest, ...]
    grid: Grid
    sampler: Sampler = field(default_factory=Sampler)
    n_seeds: int = 1
    utility: SweepUtility = "sharpe"

    @property
    def n_trials(self) -> int:
        """How many trials there are, a point that is proposed twice counted twice."""
        n_points, n_asked = self.grid.n_points, self.sampler.n_points
        if n_asked is not None:
            is_random = self.sampler.name == "random"
            n_points = min(n_asked, n_points) if is_random else n_asked
        return n_points * self.n_seeds * len(self.requests)


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
        What runs the trials.
    on_state : callable
        Called before the trials of each batch, and after each trial.

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
        with opened(executor, request.n_trials) as pool:
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
) -> float:
    """Check a sweep, do its first trial in this process, and return its seconds.

    The folder is then that of the sweep, and its result is kept; arguments and errors
    as in `sweep`.
    """
    under_way = _begun(request, out, id)
    with exclusive_lock(out):
        _claim(out, under_way.record(command), force=force)
        first = next(request.sampler.batches(request.grid))[0]
        trials, here = dict([next(under_way.laid_out(first))]), InThisProcess()
        under_way.name_results(trials)
        tasks = list(under_way.tasks(trials, here))
        (done,) = as_done(tasks, here, results=under_way.files)
        if done.is_found:  # it says nothing of the time
            (done,) = as_done(tasks, here)
        if done.error is not None:
            raise done.error
    return done.seconds


def _begun(request: SweepRequest, out: Path, on_state: OnState) -> "_Sweep":
    """Return a sweep of settings that are all sound, and that can be counted."""
    check_log(log_beside(out))
    for point in request.grid.points():
        settings_at(request.requests[0].config, point)
    return _Sweep(request, out, SweepState(request.n_trials), on_state)


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
        (draft / RESULTS).mkdir()


@dataclass(frozen=True)
class _Trial:
    """A setting by number, with a seed of its own, on a universe by number."""

    setting: int
    config: TRMConfig
    universe: int


class _Sweep:
    """A sweep under way: its bars, its points, and what has come of its trials."""

    def __init__(
        self, request: SweepRequest, out: Path, state: SweepState, on_state: OnState
    ) -> None:
        self.request, self.out, self.state = request, out, state
        self.on_state = on_state
        self.files = ResultFiles(out / RESULTS)
        self.points: list[Point] = []
        self.trials: dict[str, TrialReturns] = {}
        self.utilities: dict[str, float | None] = {}
        self._bars: dict[tuple[int, BarsConfig], Bars] = {}
        self._digests: dict[int, str] = {}
        self._numbers: dict[str, int] = {}

    def bars(self, universe: int, config: TRMConfig) -> Bars:
        """Return the bars of a universe as some settings ask for them."""
        key = universe, config.bars
        if key not in self._bars:
            wanted = replace(self.request.requests[universe], config=config)
            self._bars[key] = bars = training_bars(wanted)
            self._digests[id(bars)] = bars.sha256()
        return self._bars[key]

    def record(self, command: str) -> SweepRecord:
        """Return what is known before the first trial."""
        request, sampler = self.request, self.request.sampler
        bars = [self.bars(i, r.config) for i, r in enumerate(request.requests)]
        return SweepRecord(
            command=command,
            requests=request.requests,
            points=request.grid.points(),
            sampler=sampler.name,
            n_points=sampler.n_points,
            sampler_seed=sampler.seed,
            n_seeds=request.n_seeds,
            utility=request.utility,
            bars=tuple(map(BarsRecord.of, bars)),
            code=code_versions(),
        )

    def number(self, point: Point) -> int:
        """Return the number of a point; a new point gets the next one."""
        name = json.dumps(point, sort_keys=True)
        if name not in self._numbers:
            self._numbers[name] = len(self.points)
            self.points.append(point)
        return self._numbers[name]

    def laid_out(self, point: Point) -> Iterator[tuple[str, _Trial]]:
        """Yield the trials of a point by key."""
        config = settings_at(self.request.requests[0].config, point)
        for n_before in range(self.request.n_seeds):
            seed = config.seed + n_before * config.walkforward.n_seeds
            own = config.model_copy(update={"seed": seed})
            for universe in range(len(self.request.requests)):
                digest = self._digests[id(self.bars(universe, own))]
                trial = _Trial(self.number(point), own, universe)
                yield key_of(digest, own.to_json()), trial

    def name_results(self, keys: Iterable[str]) -> None:
        """Have the folder know the files that will be there."""
        names = [f"{RESULTS}/{self.files.path(key).name}" for key in keys]
        name_entries(self.out, names)

    def tasks(self, trials: dict[str, _Trial], pool: Executor) -> Iterator[Task]:
        """Yield the task of each trial; bars are sent once to a cluster."""
        used = [self.bars(t.universe, t.config) for t in trials.values()]
        shared = {
            key: share(pool, bars) for key, bars in {id(b): b for b in used}.items()
        }
        for (key, trial), bars in zip(trials.items(), used, strict=True):
            point = describe(self.points[trial.setting])
            name = f"{point}, seed {trial.config.seed}, {self.universe(trial)}"
            yield Task(name, walk_trial, (shared[id(bars)], trial.config), key)

    def universe(self, trial: _Trial) -> str:
        """Return what the bars of a trial are called."""
        return self.request.requests[trial.universe].bars

    def add(self, key: str, trial: _Trial, content: bytes) -> float:
        """Count a trial, keep what it earned, and return its utility."""
        result = read_trial(content, str(self.files.path(key)))
        bars = self.bars(trial.universe, trial.config)
        log, cash, digest = log_beside(self.out), cash_returns(bars), bars.sha256()
        record_trial(log, trial.config, digest, result.weights, result.equity, cash)
        excess = excess_returns(result.equity, cash)
        self.trials[key] = TrialReturns(
            trial.setting, trial.config.seed, self.universe(trial), excess
        )
        return utility_of(excess, self.request.utility)

    def judged(self) -> SweepJudged:
        """Rank the settings, whatever the order in which trials finished."""
        points, failed = dict(enumerate(self.points)), sorted(self.state.failed.items())
        return judge(self.in_order(), points, self.request.utility, dict(failed))

    def in_order(self) -> list[TrialReturns]:
        """Return what trials earned, by setting, seed and universe."""
        return sorted(
            self.trials.values(), key=lambda t: (t.setting, t.seed, t.universe)
        )


def _try_all(under_way: _Sweep, pool: Executor) -> None:
    """Do the trials of each batch of the sampler, and tell it what came of them."""
    batches = under_way.request.sampler.batches(under_way.request.grid)
    points = next(batches)
    while True:
        utilities = _try_batch(under_way, points, pool)
        try:
            points = batches.send(utilities)
        except StopIteration:
            return


def _try_batch(
    under_way: _Sweep, points: list[Point], pool: Executor
) -> list[float | None]:
    """Do the trials of some points; return their utilities, None where one failed."""
    by_point = [dict(under_way.laid_out(point)) for point in points]
    known, state = under_way.utilities, under_way.state
    trials = {
        key: trial
        for own in by_point
        for key, trial in own.items()
        if key not in known  # a point may be proposed twice
    }
    state.n_total -= sum(map(len, by_point)) - len(trials)
    state.n_workers = n_workers(pool)
    under_way.on_state(state)
    under_way.name_results(trials)
    tasks = under_way.tasks(trials, pool)
    with closing(as_done(tasks, pool, results=under_way.files)) as ended:
        for done in ended:
            key, known[done.task.key] = done.task.key, None
            if done.error is None:
                known[key] = under_way.add(key, trials[key], done.value)
            state.note(done)
            state.n_workers = n_workers(pool)
            under_way.on_state(state)
    return [_mean([known[key] for key in own]) for own in by_point]


def _mean(utilities: list[float | None]) -> float | None:
    """Return the mean, the same in any order; None where one is missing."""
    known = [utility for utility in utilities if utility is not None]
    return math.fsum(known) / len(known) if len(known) == len(utilities) else None


def _write(under_way: _Sweep, judged: SweepJudged) -> None:
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
