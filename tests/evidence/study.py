"""Choose the default as docs/protocol.md says: one command, which resumes.

    python -m tests.evidence.study SHARED --out DIR [--jobs N] [--only long pairs]
    python -m tests.evidence.study SHARED --out DIR --look

SHARED holds the folders long, market and universes; --look is the one look at
2012-2023. --only does some of the sweeps; without it, tables are printed in Markdown,
and DIR gets a log with a line a trial.
"""

import argparse
import json
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.evidence.study_tables import (
    N_SEEDS,
    Earned,
    against_own_mix,
    by_name,
    candidate_table,
    earned_trust,
    figures,
    span_table,
)
from trm_bt.cli.sweep_tables import state_line
from trm_bt.config import TRMConfig, WalkForwardConfig
from trm_bt.evaluation.trials import target_weights
from trm_bt.executors import opened
from trm_bt.market.bars import Bars
from trm_bt.runfolder.records import RunRequest
from trm_bt.runfolder.sweeps import FOLDS, RESULTS
from trm_bt.runs.fold_task import HashedBars, folds_by_key
from trm_bt.runs.grid import Grid, SweepRequest
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
LOSS: Final[dict[str, Point]] = {
    name: {"strategy.decision": name} for name in (SIMPLEST, "argmax")
}
"""The document's loss; trained for ten seeds, of which the first three are judged."""


def paid_for_risk(aversion: float) -> Point:
    """Return the training of the preset with another aversion."""
    training = TRMConfig.preset("risk").training.model_dump(mode="json")
    return {
        **{f"training.{name}": value for name, value in training.items()},
        "training.risk_aversion": aversion,
    }


OTHERS: Final[dict[str, Point]] = {
    f"{name}, {decision}": {**training, **point}
    for name, training in (
        ("risk 3", paid_for_risk(3.0)),
        ("risk 5", paid_for_risk(5.0)),
        ("regime", {"training.target": "regime", "training.risk_aversion": 5.0}),
    )
    for decision, point in LOSS.items()
}


class Group(NamedTuple):
    """One sweep: its folder, universes, points by name, and seeds."""

    name: str
    requests: tuple[RunRequest, ...]
    points: dict[str, Point]
    n_seeds: int


def walk(
    bars: Path, first: date | None = None, *, end: str = LAST, **options: Any
) -> RunRequest:
    """Return a walk-forward of the protocol."""
    folds = WalkForwardConfig(first_decision=first, retrain_every=504, n_seeds=1)
    config = TRMConfig(walkforward=folds)
    return RunRequest(str(bars), config, end=end, schedule="calendar", **options)


def pairs(shared: Path, out: Path) -> Iterator[Path]:
    """Write a folder for each fund, in the place of SPY, and yield them."""
    for fund in FUNDS:
        folder = out / "bars" / fund
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "universes" / f"{fund}.csv", folder / "SPY.csv")
        for name in ("TLT", "VUSTX", "VIX", "rates"):
            shutil.copy(shared / "market" / f"{name}.csv", folder)
        yield folder


def groups(shared: Path, out: Path) -> list[Group]:
    """Return the sweeps of the study, in the order in which they are done."""
    long, funds = shared / "long", list(pairs(shared, out))
    begin, on_funds = date(1966, 1, 3), tuple(map(walk, funds))

    def pooled(bars: Path, others: list[Path], first: date | None = None) -> RunRequest:
        return walk(bars, first, pooled=tuple(str(o) for o in others if o != bars))

    pools = tuple(pooled(fund, [long, *funds]) for fund in funds)
    together = {f"pooled, {name}": point for name, point in LOSS.items()}
    member = {"member": LOSS[SIMPLEST]}
    return [
        Group("long", (walk(long, begin),), LOSS, MEMBERS),
        Group("long_others", (walk(long, begin),), OTHERS, N_SEEDS),
        # the other funds begin after the newest validation rows of this history do
        Group("long_pooled", (pooled(long, funds[:1], begin),), together, N_SEEDS),
        Group("pairs", on_funds, {**LOSS, **OTHERS}, 1),
        Group("pairs_pooled", pools, together, 1),
        Group("pairs_members", on_funds, member, MEMBERS),
    ]


def run(group: Group, out: Path, pool: Executor) -> Iterator[Earned]:
    """Sweep, and yield what each trial earned, and the ensemble where there is one."""
    folder, points = out / group.name, list(group.points.values())
    request = SweepRequest(group.requests, Grid({}, points), n_seeds=group.n_seeds)
    sweep(
        *(request, folder),
        executor=pool,
        on_state=lambda state: print(f"{group.name}: {state_line(state)}", flush=True),
    )
    work, files = SweepWork(request, folder, id), ResultFiles(folder / RESULTS)
    universes = [(Path(r.bars).name, training_bars(r)) for r in group.requests]
    for name, point in group.points.items():
        for key, trial in work.laid_out(point):
            content = files.read(key)
            assert content is not None
            done = read_trial(content, key)
            whose = name, trial.config.seed, *universes[trial.universe]
            yield Earned(*whose, done.equity, done.weights)
    if group.n_seeds == MEMBERS:
        for universe, bars in universes:
            yield ensemble(universe, bars, group, ResultFiles(folder / FOLDS))


def ensemble(universe: str, bars: Bars, group: Group, files: ResultFiles) -> Earned:
    """Return what the mean of ten seeds earned, made of the folds that are there."""
    config = group.requests[0].config
    seeds = config.walkforward.model_copy(update={"n_seeds": MEMBERS})
    config = config.model_copy(update={"walkforward": seeds})
    found = [files.read(key) for key in folds_by_key(HashedBars.of(bars), config)]
    assert None not in found
    result = trade_folds(bars, config, found)
    name, weights = f"ensemble of {MEMBERS}, blend", target_weights(result.decisions)
    return Earned(name, 0, universe, bars, result.equity, weights)


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
    wanted = groups(given.shared, given.out)
    if given.look:
        later = walk(given.shared / "long", date(2012, 1, 3), end="2023-12-29")
        wanted = [Group("look", (later,), {SIMPLEST: LOSS[SIMPLEST]}, N_SEEDS)]
    with opened(given.jobs) as pool:
        earned = [
            one
            for group in wanted
            if group.name in given.only or not given.only
            for one in run(group, given.out, pool)
        ]
    if given.only:
        return
    earned += [earned_trust(one) for one in earned if one.name == "risk 5, blend"]
    log = given.out / ("look.jsonl" if given.look else "study.jsonl")
    lines = [json.dumps(figures(one), sort_keys=True) + "\n" for one in earned]
    log.write_text("".join(lines), encoding="utf-8")
    if not given.look:
        print(candidate_table(earned, SIMPLEST))
    print(span_table(earned))
    print(against_own_mix(by_name(earned, "long")[SIMPLEST]))


if __name__ == "__main__":
    main()
