"""A sweep under way: its trials, the folds that these are made of, and their results.

Folds that trials without a result need are done first, each once however many trials
need it; then each trial puts its own together.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from trm_bt.config import BarsConfig, TRMConfig
from trm_bt.evaluation.metrics import excess_returns
from trm_bt.evaluation.sweep import SweepJudged, TrialReturns, judge, utility_of
from trm_bt.evaluation.trials import log_beside, record_trial
from trm_bt.executors import n_workers, share
from trm_bt.files import name_entries
from trm_bt.keys import code_versions, key_of
from trm_bt.market.labels import cash_returns
from trm_bt.runfolder.records import BarsRecord
from trm_bt.runfolder.sweeps import FOLDS, RESULTS, SweepRecord
from trm_bt.runs.fold_task import (
    Fold,
    HashedBars,
    decide_fold,
    folds_by_key,
    trained_settings,
)
from trm_bt.runs.grid import Point, SweepRequest, describe, settings_at
from trm_bt.runs.pooled import training_universes
from trm_bt.runs.progress import Counts, OnState, SweepState
from trm_bt.runs.trial import finish_trial, read_trial
from trm_bt.tasks import Done, InThisProcess, ResultFiles, Task, as_done

_TRIALS_AHEAD: Final = 32
"""Trials handed out at a time for each worker nobody has counted; they carry folds."""


@dataclass(frozen=True)
class SweepTrial:
    """A setting by number, with a seed of its own, on a universe by number."""

    setting: int
    config: TRMConfig
    universe: int


Folds = Mapping[str, tuple[Fold, SweepTrial]]
"""A fold and one of the trials that need it, by the key of its result."""


class SweepWork:
    """The bars of a sweep, its points, and what has come of its trials.

    Parameters
    ----------
    request : SweepRequest
    out : Path
        The folder.
    on_state : callable
        Called with the state whenever it has changed.

    Attributes
    ----------
    state : SweepState
    """

    def __init__(self, request: SweepRequest, out: Path, on_state: OnState) -> None:
        self.request, self.out = request, out
        self.state = SweepState(Counts(request.n_trials))
        self._on_state = on_state
        self._trial_files = ResultFiles(out / RESULTS)
        self._fold_files = ResultFiles(out / FOLDS)
        self._points: list[Point] = []
        self._numbers: dict[str, int] = {}
        self._bars: dict[tuple[int, BarsConfig], HashedBars] = {}
        self._shared: dict[str, HashedBars] = {}
        self._earned: dict[str, TrialReturns] = {}
        self._utilities: dict[str, float | None] = {}
        self._failed_folds: dict[str, Exception] = {}

    def record(self, command: str) -> SweepRecord:
        """Return what is known before the first trial."""
        request, sampler = self.request, self.request.sampler
        bars = [self._bars_of(i, r.config).bars for i, r in enumerate(request.requests)]
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

    def laid_out(self, point: Point) -> Iterator[tuple[str, SweepTrial]]:
        """Yield the trials of a point by key."""
        config = settings_at(self.request.requests[0].config, point)
        for n_before in range(self.request.n_seeds):
            seed = config.seed + n_before * config.walkforward.n_seeds
            own = config.model_copy(update={"seed": seed})
            for universe in range(len(self.request.requests)):
                digest = self._bars_of(universe, own).digest
                trial = SweepTrial(self._number(point), own, universe)
                yield key_of(digest, own.to_json()), trial

    def try_points(
        self, points: list[Point], pool: Executor
    ) -> list[dict[str, float | None]]:
        """Do the trials of some points; return their utilities, None for one failed."""
        by_point = [dict(self.laid_out(point)) for point in points]
        trials = {
            key: trial
            for own in by_point
            for key, trial in own.items()
            if key not in self._utilities  # a point may be proposed twice
        }
        self.state.trials.n_total -= sum(map(len, by_point)) - len(trials)
        failed = self.do_folds(trials, pool)
        for key, error in failed.items():
            self._utilities[key] = None
            task = Task(self._name(trials[key]), finish_trial)
            self.state.note_trial(Done(task, error=error))
            self._tell(pool)
        self._do_trials({k: t for k, t in trials.items() if k not in failed}, pool)
        return [{key: self._utilities[key] for key in own} for own in by_point]

    def needed(
        self, trials: Mapping[str, SweepTrial]
    ) -> tuple[Folds, dict[str, Exception]]:
        """Return the folds of trials, and the error of each trial that cannot have any.

        The longest trainings come first.
        """
        folds: dict[str, tuple[Fold, SweepTrial]] = {}
        refused: dict[str, Exception] = {}
        for key, trial in trials.items():
            try:
                own = self._folds(trial)
            except Exception as error:  # as that of a task, it is this trial's alone
                refused[key] = error
            else:
                folds |= {k: (fold, trial) for k, fold in own.items() if k not in folds}
        order = sorted(folds, key=lambda key: -folds[key][0].n_labels)
        return {key: folds[key] for key in order}, refused

    def do_folds(
        self, trials: Mapping[str, SweepTrial], pool: Executor
    ) -> dict[str, Exception]:
        """Do the folds that trials lack; return the errors of trials that need others.

        What failed before is not tried again.
        """
        lacking = {
            key: trial
            for key, trial in trials.items()
            if not self._trial_files.path(key).exists()
        }
        folds, failed = self.needed(lacking)
        folds = {k: need for k, need in folds.items() if k not in self._failed_folds}
        self.state.folds.n_total += len(folds)
        self._tell(pool)
        for done in self.folds_done(folds, pool):
            if done.error is not None:
                self._failed_folds[done.task.key] = done.error
            self.state.note_fold(done)
            self._tell(pool)
        for key in self._failed_folds and lacking.keys() - failed.keys():
            lost = self._failed_folds.keys() & self._folds(lacking[key]).keys()
            if lost:
                failed[key] = self._failed_folds[min(lost)]
        return failed

    def folds_done(self, folds: Folds, pool: Executor) -> Iterator[Done]:
        """Do folds whose result files are not there, and yield how each ended."""
        self._name_entries(self._fold_files, folds)
        tasks = (
            Task(
                f"fold {fold.job.name}, {self._universe(trial)}",
                decide_fold,
                (self._shared_bars(trial, pool), trained_settings(trial.config), fold),
                key,
            )
            for key, (fold, trial) in folds.items()
        )
        with closing(as_done(tasks, pool, results=self._fold_files)) as ended:
            yield from ended

    def seconds_of(self, folds: Folds) -> float:
        """Do folds in this process; return their seconds, of files that are there too.

        Those are done again, and their files stay.
        """
        here, seconds = InThisProcess(), 0.0
        for done in self.folds_done(folds, here):
            if done.is_found:
                (done,) = as_done([done.task], here)
            if done.error is not None:
                raise done.error
            seconds += done.seconds
        return seconds

    def judged(self) -> SweepJudged:
        """Rank the settings; whoever was done first changes nothing."""
        points, failed = (
            dict(enumerate(self._points)),
            sorted(self.state.failed.items()),
        )
        return judge(self.in_order(), points, self.request.utility, dict(failed))

    def in_order(self) -> list[TrialReturns]:
        """Return what trials earned, by setting, seed and universe."""
        return sorted(
            self._earned.values(), key=lambda t: (t.setting, t.seed, t.universe)
        )

    def _do_trials(self, trials: Mapping[str, SweepTrial], pool: Executor) -> None:
        """Do trials whose folds are done."""
        self._name_entries(self._trial_files, trials)
        tasks = (self._task(key, trial, pool) for key, trial in trials.items())
        n_ahead = 2 * (n_workers(pool) or _TRIALS_AHEAD)
        with closing(
            as_done(tasks, pool, results=self._trial_files, n_ahead=n_ahead)
        ) as ended:
            for done in ended:
                key, self._utilities[done.task.key] = done.task.key, None
                if done.error is None:
                    self._utilities[key] = self._add(key, trials[key], done.value)
                self.state.note_trial(done)
                self._tell(pool)

    def _task(self, key: str, trial: SweepTrial, pool: Executor) -> Task:
        """Return the task of a trial, with its folds unless its result is there."""
        decided = []
        if not self._trial_files.path(key).exists():
            for fold in self._folds(trial):
                content = self._fold_files.read(fold)
                assert content is not None
                decided.append(content)
        given = self._shared_bars(trial, pool), trial.config, decided
        return Task(self._name(trial), finish_trial, given, key)

    def _add(self, key: str, trial: SweepTrial, content: bytes) -> float:
        """Count a trial, keep what it earned, and return its utility."""
        result = read_trial(content, str(self._trial_files.path(key)))
        hashed = self._bars_of(trial.universe, trial.config)
        log, cash = log_beside(self.out), cash_returns(hashed.bars)
        digest = hashed.bars.sha256()  # of what is decided, as that of a run
        record_trial(log, trial.config, digest, result.weights, result.equity, cash)
        excess = excess_returns(result.equity, cash)
        self._earned[key] = TrialReturns(
            trial.setting, trial.config.seed, self._universe(trial), excess
        )
        return utility_of(excess, self.request.utility)

    def _bars_of(self, universe: int, config: TRMConfig) -> HashedBars:
        """Return the bars of a universe as some settings ask for them."""
        key = universe, config.bars
        if key not in self._bars:
            wanted = replace(self.request.requests[universe], config=config)
            self._bars[key] = HashedBars.of(*training_universes(wanted))
        return self._bars[key]

    def _shared_bars(self, trial: SweepTrial, pool: Executor) -> HashedBars:
        """Return the bars of a trial as tasks get them; a cluster is sent them once."""
        bars = self._bars_of(trial.universe, trial.config)
        if bars.digest not in self._shared:
            self._shared[bars.digest] = share(pool, bars)
        return self._shared[bars.digest]

    def _folds(self, trial: SweepTrial) -> dict[str, Fold]:
        return folds_by_key(self._bars_of(trial.universe, trial.config), trial.config)

    def _number(self, point: Point) -> int:
        """Return the number of a point; a new point gets the next one."""
        name = json.dumps(point, sort_keys=True)
        if name not in self._numbers:
            self._numbers[name] = len(self._points)
            self._points.append(point)
        return self._numbers[name]

    def _name(self, trial: SweepTrial) -> str:
        point = describe(self._points[trial.setting])
        return f"{point}, seed {trial.config.seed}, {self._universe(trial)}"

    def _universe(self, trial: SweepTrial) -> str:
        """Return what the bars of a trial are called."""
        return self.request.requests[trial.universe].bars

    def _name_entries(self, files: ResultFiles, keys: Iterable[str]) -> None:
        """Have the folder know the files that will be there."""
        paths = [files.path(key).relative_to(self.out) for key in keys]
        name_entries(self.out, [path.as_posix() for path in paths])

    def _tell(self, pool: Executor) -> None:
        self.state.n_workers = n_workers(pool)
        self._on_state(self.state)
