"""Damage a checkpoint of the default size in every way we know; none may load.

Half of the flipped bits and cuts are spread evenly over the six files, half over their
bytes. The last table is made with all hashes made right again, as a forger would: a
change that keeps every rule then loads, as it must; what counts there is that nothing
ends in another error. Exit code 1 if anything was missed.
    python -m tests.evidence.fuzz_checkpoint
        [bars] [--bits 1000] [--cuts 300] [--seed 0]
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from tests.checkpoint_damages import (
    LOADED,
    Contents,
    contents_of,
    flipped,
    resealed,
    spread,
    verdict,
)
from tests.evidence.brief_training import extras_of, train_briefly
from trm_bt.learning.checkpoint import DESCRIPTION_FILE, WEIGHTS_FILE, save_checkpoint

Change = Mapping[str, bytes | None]
Way = tuple[str, Change]


def bits_and_cuts(
    whole: Contents, n_bits: int, n_cuts: int, rng: np.random.Generator
) -> Iterator[Way]:
    """Flip single bits and cut files short."""
    sizes = {name: len(content) for name, content in whole.items()}
    for name, position in spread(sizes, n_bits, rng):
        bit = int(rng.integers(8))
        yield f"a bit of {name}", {name: flipped(whole[name], position, bit)}
    for name, position in spread(sizes, n_cuts, rng):
        yield f"{name} cut", {name: whole[name][:position]}


def other_ways(whole: Contents, other: Contents) -> Iterator[Way]:
    """Add, take away, empty and swap."""
    for name, content in whole.items():
        for more in (b"\0", b"\n", b" " * 64, content):
            yield "bytes appended", {name: content + more}
        yield "bytes put before", {name: b" " + content}
        yield "a file emptied", {name: b""}
        yield "a file removed", {name: None}
    for name in ("model.pkl", "Model.safetensors", ".hidden", "a\nb", "\udcff"):
        yield "a file added", {name: b"x"}
    for n in range(1, len(whole)):
        for names in combinations(sorted(whole), n):
            yield "files of another checkpoint", {name: other[name] for name in names}


def forgeries(whole: Contents, n: int, rng: np.random.Generator) -> Iterator[Way]:
    """Flip and cut where it is parsed, and make the hashes right again."""
    n_header = 8 + int.from_bytes(whole[WEIGHTS_FILE][:8], "little")
    sizes = {WEIGHTS_FILE: n_header, DESCRIPTION_FILE: len(whole[DESCRIPTION_FILE])}
    for name, position in spread(sizes, n, rng):
        bit = int(rng.integers(8))
        changed = {**whole, name: flipped(whole[name], position, bit)}
        yield f"a bit of {name}", resealed(changed)
        if position % 4 == 0:
            changed = {**whole, name: whole[name][:position]}
            yield f"{name} cut", resealed(changed)


def judge(title: str, folder: Path, whole: Contents, ways: Iterator[Way]) -> int:
    """Print how many each rule refused; return how many loaded."""
    ways_by_rule = Counter[tuple[str, str]]()
    for way, change in ways:
        ways_by_rule[way, verdict(folder, whole, change)] += 1
    totals = Counter[str]()
    for (way, _), n in ways_by_rule.items():
        totals[way] += n
    print(f"\n{title}\n{'damage':<30} {'refused by':<36} {'times':>6} {'of':>6}")
    for (way, rule), n in sorted(ways_by_rule.items()):
        print(f"{way:<30} {rule:<36} {n:>6} {totals[way]:>6}")
    n_loaded = sum(n for (_, rule), n in ways_by_rule.items() if rule == LOADED)
    print(f"{totals.total()} damages, {n_loaded} loaded")
    return n_loaded


def main() -> None:
    """Train, store, damage, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", nargs="?", default="sample")
    parser.add_argument("--bits", type=int, default=1000)
    parser.add_argument("--cuts", type=int, default=300)
    parser.add_argument("--forgeries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    models = train_briefly(options.bars, ("one", "other"))
    n_parameters = sum(value.numel() for value in models[0].parameters.values())
    with tempfile.TemporaryDirectory() as work:
        for model in models:
            save_checkpoint(model, Path(work) / model.name, extras=extras_of(model))
        folder = Path(work) / "one"
        whole, other = contents_of(folder), contents_of(Path(work) / "other")
        sizes = ", ".join(f"{name} {len(whole[name])}" for name in sorted(whole))
        print(f"{n_parameters} parameters; bytes: {sizes}")
        assert verdict(folder, whole, {}) == LOADED
        drawn = bits_and_cuts(whole, options.bits, options.cuts, rng)
        n_missed = judge(
            f"{options.bits} bits, {options.cuts} cuts", folder, whole, drawn
        )
        n_missed += judge("other damages", folder, whole, other_ways(whole, other))
        judge(
            "forgeries, hashes made right",
            folder,
            whole,
            forgeries(whole, options.forgeries, rng),
        )
        assert verdict(folder, whole, {}) == LOADED
    sys.exit(1 if n_missed else 0)


if __name__ == "__main__":
    main()
