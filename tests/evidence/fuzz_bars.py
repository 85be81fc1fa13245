"""Damage real SPY, TLT and VIX bars in every way we know, and count what passes.

Each set is a window of 1 to 21 years, more of them short than long; one way of damage,
at the magnitude its name states, is done to it. "silent" is what would have been
believed without a word: it must be 0. What an undamaged role is warned of does not
count, so that it cannot stand for the damage. The last line does the same with windows
that were left whole. Each set has random numbers of its own, whatever the processes.
    python -m tests.evidence.fuzz_bars [folder] [--sets 10000] [--clean 1000] [--seed 0]
        [--jobs 2]
"""

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np

from tests.evidence.bar_damages import SYMBOLS, WAYS, Set
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.tables import read_table
from trm_bt.quality.core_roles import examine_together
from trm_bt.quality.findings import Subject
from trm_bt.quality.rules import examine

LEFT_WHOLE = "none: left whole, half a year or more"


def judge(frames: Set, before: Set) -> str:
    """Tell whether a set is refused, warned of, or passes without a word.

    Roles that are as they were before are not examined by themselves.
    """
    found = []
    for role, frame in frames.items():
        if before is not frames and frame.equals(before[role]):
            continue
        first, last = frame.index.min(), frame.index.max()
        sessions = nyse_sessions(
            first.tz_localize(None).normalize(), last.tz_localize(None).normalize()
        )
        found += examine(Subject(frame, role, sessions, SYMBOLS[role]))
    if not any(finding.severity == "error" for finding in found):
        found += examine_together(frames)
    if any(finding.severity == "error" for finding in found):
        return "refused"
    return "warned" if found else "silent"


def draw(whole: Set, rng: np.random.Generator, name: str) -> Set:
    """Draw a window of 1 to 21 years, half of them of less than 4.6."""
    n_sessions = len(whole["equity"])
    shortest = next((n * 252 for n in (2, 3, 5) if f"{n} years" in name), 252)
    if name == LEFT_WHOLE:
        shortest = 121
    length = int(np.exp(rng.uniform(np.log(shortest), np.log(n_sessions + 1))))
    first = int(rng.integers(0, n_sessions - length + 1))
    return {role: frame.iloc[first : first + length] for role, frame in whole.items()}


@cache
def read_whole(folder: Path) -> Set:
    """Read the sound bars on the sessions of the bond, once a process."""
    tables = {role: read_table(folder / f"{s}.csv") for role, s in SYMBOLS.items()}
    return {role: table.loc[tables["bond"].index] for role, table in tables.items()}


def judge_one(numbered: tuple[int, str], folder: Path, seed: int) -> str:
    """Draw a set, damage it in the way that is named, and judge it."""
    number, name = numbered
    rng = np.random.default_rng([seed, number])
    before = draw(read_whole(folder), rng, name)
    if name == LEFT_WHOLE:
        return judge(before, before)
    frames = {role: frame.copy() for role, frame in before.items()}
    WAYS[name](frames, rng)
    return judge(frames, before)


def main() -> None:
    """Print a line for each way, and for the windows left whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("../shared/market")
    )
    parser.add_argument("--sets", type=int, default=10_000)
    parser.add_argument("--clean", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = list(WAYS)
    sets = [names[i % len(names)] for i in range(options.sets)]
    sets = [LEFT_WHOLE] * options.clean + sets
    work = partial(judge_one, folder=options.folder, seed=options.seed)
    counts: dict[str, Counter[str]] = {name: Counter() for name in [*names, LEFT_WHOLE]}
    with ProcessPoolExecutor(options.jobs) as pool:
        verdicts = pool.map(work, enumerate(sets), chunksize=25)
        for done, (name, verdict) in enumerate(zip(sets, verdicts, strict=True), 1):
            counts[name][verdict] += 1
            if done % 500 == 0:
                so_far = sum(counts.values(), Counter())
                print(f"{done}: {dict(so_far)}", file=sys.stderr, flush=True)
    print(f"{'damage':<78} refused  warned  silent")
    for name, count in counts.items():
        cells = (count[key] for key in ("refused", "warned", "silent"))
        print(f"{name:<78} " + " ".join(f"{cell:>7}" for cell in cells))
    clean = counts.pop(LEFT_WHOLE)
    total = sum(counts.values(), Counter())
    print(
        f"{options.sets} sets damaged in {len(names)} ways, seed {options.seed}: "
        f"{dict(total)}"
    )
    sys.exit(1 if total["silent"] or clean["refused"] > options.clean / 1000 else 0)


if __name__ == "__main__":
    main()
