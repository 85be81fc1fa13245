"""Choose the default as docs/protocol.md says: one command, which resumes.

    python -m tests.evidence.study SHARED --out DIR [--jobs N] [--only long pairs]
    python -m tests.evidence.study SHARED --out DIR --look

SHARED holds the folders long, market and universes. The second form is the one look at
2012-2023. Both end with the tables, in Markdown, and write a line a trial to
DIR/study.jsonl.
"""

import argparse
import json
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from tests.evidence.study_tables import (
    LONG,
    N_SEEDS,
    Earned,
    Row,
    candidate_table,
    earned_trust,
    span_table,
)
from trm_bt.cli.sweep_tables import state_line
from trm_bt.config import TRMConfig, WalkForwardConfig
from trm_bt.evaluation.trials import target_weights
from trm_bt.executors import opened
from trm_bt.runfolder.records import RunRequest
from trm_bt.runfolder.sweeps import FOLDS, RESULTS
from trm_bt.runs.fold_task import HashedBars, folds_by_key
from trm_bt.runs.grid import Grid, SweepRequest
from trm_bt.runs.progress import SweepState
from trm_bt.runs.request import training_bars
from trm_bt.runs.sweep import sweep
from trm_bt.runs.sweep_tasks import SweepWork
from trm_bt.runs.trial import read_trial, trade_folds
from trm_bt.tasks import ResultFiles

Point = dict[str, Any]
FUNDS: Final = ("DIA", "EFA", "EEM", "VNQ")
LAST: Final = "2011-12-30"
MEMBERS: Final = 10
SIMPLEST: Final = "blend"
BLEND: Final[Point] = {"strategy.decision": "blend"}
ARGMAX: Final[Point] = {"strategy.decision": "argmax"}


def paid_for_risk(aversion: float) -> Point:
    """Return the training of the preset with another aversion."""
    training = TRMConfig.preset("risk").training.model_dump(mode="json")
    return {
        **{f"training.{name}": value for name, value in training.items()},
        "training.risk_aversion": aversion,
    }


REGIME: Final[Point] = {"training.target": "regime", "training.risk_aversion": 5.0}
LOSS: Final[dict[str, Point]] = {"blend": BLEND, "argmax": ARGMAX}
"""The document's loss; trained for ten seeds, of which the first three are judged."""
OTHERS: Final[dict[str, Point]] = {
    f"{name}, {decision}": {**training, **point}
    for name, training in (
        ("risk 3", paid_for_risk(3.0)),
        ("risk 5", paid_for_risk(5.0)),
        ("regime", REGIME),
    )
    for decision, point in LOSS.items()
}


@dataclass(frozen=True)
class Group:
    """One sweep: its folder, universes, points by name, and seeds."""

    name: str
    requests: tuple[RunRequest, ...]
    points: dict[str, Point]
    n_seeds: int

    def _say(self, state: SweepState) -> None:
        print(f"{self.name}: {state_line(state)}", flush=True)

    def request(self) -> SweepRequest:
        """Return what is swept."""
        grid = Grid({}, list(self.points.values()))
        return SweepRequest(self.requests, grid, n_seeds=self.n_seeds)

    def run(self, out: Path, pool: Executor) -> Iterator[Earned]:
        """Sweep, and yield what each trial earned."""
        folder = out / self.name
        sweep(self.request(), folder, executor=pool, on_state=self._say)
        work = SweepWork(self.request(), folder, id)
        files = ResultFiles(folder / RESULTS)
        for name, point in self.points.items():
            for key, trial in work.laid_out(point):
                content = files.read(key)
                assert content is not None
                result = read_trial(content, key)
                request = self.requests[trial.universe]
                yield Earned(
                    *(name, trial.config.seed, Path(request.bars).name),
                    *(training_bars(request), result.equity, result.weights),
                )


def walk(
    bars: Path, first: date | None = None, *, end: str = LAST, **options: Any
) -> RunRequest:
    """Return a walk-forward of the protocol."""
    folds = WalkForwardConfig(first_decision=first, retrain_every=504, n_seeds=1)
    config = TRMConfig(walkforward=folds)
    return RunRequest(str(bars), config, end=end, schedule="calendar", **options)


def pairs(shared: Path, out: Path) -> dict[str, Path]:
    """Write a folder for each fund, in the place of SPY, and return them by fund."""
    folders = {}
    for fund in FUNDS:
        folders[fund] = folder = out / "bars" / fund
        if folder.exists():
            continue
        draft = folder.with_name(f"{fund}.draft")
        draft.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "universes" / f"{fund}.csv", draft / "SPY.csv")
        for name in ("TLT", "VUSTX", "VIX", "rates"):
            shutil.copy(shared / "market" / f"{name}.csv", draft)
        draft.rename(folder)
    return folders


def groups(shared: Path, out: Path) -> list[Group]:
    """Return the sweeps of the study, in the order in which they are done."""
    long, funds = shared / "long", list(pairs(shared, out).values())
    begin = date(1966, 1, 3)

    def pooled(bars: Path, first: date | None = None) -> RunRequest:
        others = tuple(str(other) for other in (long, *funds) if other != bars)
        return walk(bars, first, pooled=others)

    together = {f"pooled, {name}": point for name, point in LOSS.items()}
    return [
        Group("long", (walk(long, begin),), LOSS, MEMBERS),
        Group("long_others", (walk(long, begin),), OTHERS, N_SEEDS),
        Group("long_pooled", (pooled(long, begin),), together, N_SEEDS),
        Group("pairs", tuple(map(walk, funds)), {**LOSS, **OTHERS}, 1),
        Group("pairs_pooled", tuple(map(pooled, funds)), together, 1),
    ]


def ensemble(group: Group, out: Path) -> Earned:
    """Return what the mean of ten seeds earned, made of the folds that are there."""
    (request,) = group.requests
    seeds = request.config.walkforward.model_copy(update={"n_seeds": MEMBERS})
    config = request.config.model_copy(update={"walkforward": seeds})
    bars = training_bars(request)
    files = ResultFiles(out / group.name / FOLDS)
    contents = [files.read(key) for key in folds_by_key(HashedBars.of(bars), config)]
    assert None not in contents
    result = trade_folds(bars, config, [c for c in contents if c is not None])
    name, weights = f"ensemble of {MEMBERS}, blend", target_weights(result.decisions)
    return Earned(name, 0, LONG, bars, result.equity, weights)


def study(shared: Path, out: Path, only: list[str], n_jobs: int | None) -> list[Earned]:
    """Do the sweeps, and return what every trial earned."""
    earned: list[Earned] = []
    with opened(n_jobs) as pool:
        for group in groups(shared, out):
            if only and group.name not in only:
                continue
            earned += group.run(out, pool)
            if group.name == "long":
                earned.append(ensemble(group, out))
    return earned + [earned_trust(e) for e in earned if e.name == "risk 5, blend"]


def look(shared: Path, out: Path, n_jobs: int | None) -> list[Earned]:
    """Return what the simplest earned in the years that nobody chose by."""
    request = walk(shared / "long", date(2012, 1, 3), end="2023-12-29")
    with opened(n_jobs) as pool:
        return list(
            Group("look", (request,), {SIMPLEST: BLEND}, N_SEEDS).run(out, pool)
        )


def write_log(earned: list[Earned], file: Path) -> None:
    """Write a line a trial."""
    lines = [json.dumps(Row.of(e).to_dict(), sort_keys=True) for e in earned]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Run the study, and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--look", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    given.out.mkdir(parents=True, exist_ok=True)
    if given.look:
        earned = look(given.shared, given.out, given.jobs)
        write_log(earned, given.out / "look.jsonl")
    else:
        earned = study(given.shared, given.out, given.only, given.jobs)
        write_log(earned, given.out / "study.jsonl")
        print(candidate_table(earned, SIMPLEST))
    print(span_table(earned))


if __name__ == "__main__":
    main()
