"""Damage real SPY, TLT and VIX bars in every way we know, and count what passes.

Each set is a window of 1 to 21 years, more of them short than long; one way of damage,
at the magnitude its name states, is done to it. "silent" is what would have been
believed without a word: it must be 0. The last line does the same with windows that
were left whole.
    python -m tests.evidence.fuzz_bars [folder] [--sets 10000] [--clean 1000] [--seed 0]
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from tests.evidence.bar_damages import SYMBOLS, WAYS, Set
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.tables import read_table
from trm_bt.quality.core_roles import examine_together
from trm_bt.quality.findings import Subject
from trm_bt.quality.rules import examine

LEFT_WHOLE = "none: left whole, half a year or more"


def judge(frames: Set) -> str:
    """Tell whether a set is refused, warned of, or passes without a word."""
    found = []
    for role, frame in frames.items():
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


def draw(whole: Set, rng: np.random.Generator, name: str = "") -> Set:
    """Draw a window of 1 to 21 years, half of them of less than 4.6."""
    n_sessions = len(whole["equity"])
    shortest = next((n * 252 for n in (2, 3, 5) if f"{n} years" in name), 252)
    if name == LEFT_WHOLE:
        shortest = 121
    length = int(np.exp(rng.uniform(np.log(shortest), np.log(n_sessions + 1))))
    first = int(rng.integers(0, n_sessions - length + 1))
    return {
        role: frame.iloc[first : first + length].copy() for role, frame in whole.items()
    }


def main() -> None:
    """Print a line for each way, and for the windows left whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("../shared/market")
    )
    parser.add_argument("--sets", type=int, default=10_000)
    parser.add_argument("--clean", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    tables = {
        role: read_table(options.folder / f"{s}.csv") for role, s in SYMBOLS.items()
    }
    shared = tables["bond"].index
    whole = {role: table.loc[shared] for role, table in tables.items()}

    names = list(WAYS)
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for i in range(options.sets):
        name = names[i % len(names)]
        frames = draw(whole, rng, name)
        WAYS[name](frames, rng)
        counts[name][judge(frames)] += 1
    clean = Counter(judge(draw(whole, rng, LEFT_WHOLE)) for _ in range(options.clean))
    print(f"{'damage':<78} refused  warned  silent")
    for name, count in [*counts.items(), (LEFT_WHOLE, clean)]:
        verdicts = (count[key] for key in ("refused", "warned", "silent"))
        print(f"{name:<78} " + " ".join(f"{verdict:>7}" for verdict in verdicts))
    total = sum(counts.values(), Counter())
    print(f"{options.sets} sets damaged in {len(names)} ways: {dict(total)}")
    sys.exit(1 if total["silent"] or clean["refused"] > options.clean / 1000 else 0)


if __name__ == "__main__":
    main()
