"""Damage every kind of input by its structure, and give it to the command line.

Settings, allocations, bars, parquet, a store, members, portfolios, run folders,
checkpoints, hub folders, windows, trials and options are damaged, and given to run,
train, walkforward, report, compare, decide, backtest, import, validate, labels and
config, all in this process. A traceback (exit code 70, or an exception), more than one
sentence, a value quoted at length, more than ten seconds of the processor, and a
changed byte of what was given are failures. Jobs are kept short: tiny settings, tests
of 100 draws, and pictures in one of a hundred cases. A case is drawn from the seed and
its number alone, so that processes may share a run: `--part 0/2` and `--part 1/2` are
together the whole.
    python -m tests.evidence.fuzz_inputs
        [--inputs 20000] [--seed 0] [--part 0/1] [--numbers N ...]
        [--only KIND] [--keep DIR]
"""

import argparse
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure

from tests.command_line import invoke, without_stages
from tests.evidence.fuzz_cases import KINDS, MINE, Case, Fuzz, Inputs
from tests.evidence.mutations import Rng
from trm_bt.report import pages
from trm_bt.report.contents import Sheet
from trm_bt.report.csv_tables import CSV_TABLES

SECONDS = 10
GIGABYTES = 8
ENDS = {0: "done", 1: "failed", 2: "refused", 130: "interrupted"}
LONG = re.compile(r"([^ ])\1{80}")
"""Part of a long value of `mutations`, which no message may show whole."""
OURS = (
    *("index.html", "crises.csv", "tearsheets", "comparison", "manifest.json"),
    *CSV_TABLES,
)
"""What `report` and `compare` may write anew in a run folder."""


class TookTooLong(BaseException):
    """Not an `Exception`, so that no handler takes it for a bug."""


def contents(folder: Path) -> dict[str, bytes | Path]:
    """Return every file below a folder, links by what they say."""
    found: dict[str, bytes | Path] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def kept(case: Case) -> dict[str, bytes | Path]:
    """Return what the command may not change: all, but for its own in a run folder.

    There it may write anew what it wrote itself, not what was damaged, unless a
    manifest is what was damaged.
    """
    found = contents(case.folder)
    if case.sound is not None:
        sound = contents(case.sound)
        manifests = [name for name in sound if name.endswith("manifest.json")]
        knows = all(found.get(name) == sound[name] for name in manifests)
        is_resumed = case.words[0] == "walkforward"
        for name in list(found):
            is_ours = is_resumed or name.startswith(OURS)
            is_ours &= found[name] == sound.get(name) or not knows
            if is_ours and name != MINE:
                del found[name]
    return found | {"beside": (case.folder.parent / MINE).read_bytes()}


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Allow so many seconds of the processor, and twelve times as many in all."""

    def stop(*_: object) -> None:
        raise TookTooLong

    for timer, number, factor in (
        (signal.ITIMER_PROF, signal.SIGPROF, 1),
        (signal.ITIMER_REAL, signal.SIGALRM, 12),
    ):
        signal.signal(number, stop)
        signal.setitimer(timer, factor * seconds)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)


def judge(case: Case, monitor: list[str]) -> str:
    """Run a case and name its end; one in capitals is a failure."""
    before = kept(case)
    begun = time.perf_counter()
    try:
        with time_limit(SECONDS):
            code, _, error = invoke(*case.words)
    except TookTooLong:
        monitor.append(traceback.format_exc())
        return "TOOK TOO LONG"
    except BaseException:
        monitor.append(traceback.format_exc())
        return "AN EXCEPTION"
    seconds = time.perf_counter() - begun
    monitor.append(f"exit {code} after {seconds:.1f} s\n{error}")
    if code not in ENDS:
        monitor += [path.read_text() for path in Path().glob("trm-bt-bug-*.txt")]
        return "A BUG"
    lines = [line for line in without_stages(error) if ": warning: " not in line]
    if code in {1, 2} and len(lines) != 1:
        return "NOT ONE SENTENCE"
    if LONG.search(error):
        return "QUOTES TOO MUCH"
    after = contents(case.folder) | {"beside": (case.folder.parent / MINE).read_bytes()}
    if any(after.get(name) != content for name, content in before.items()):
        return "CHANGED WHAT WAS GIVEN"
    return ENDS[code]


def keep(case: Case, monitor: list[str], target: Path) -> None:
    """Keep a failed case for a look."""
    target.mkdir(parents=True)
    shutil.copytree(case.folder, target / "input", symlinks=True, ignore=_pipes)
    text = "\n".join([*case.words, "", *monitor])
    (target / "case.txt").write_text(text, "utf-8", "backslashreplace")


def _pipes(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if Path(folder, name).is_fifo()}


def blank(_: Figure, target: IO, **options) -> None:
    """Save a picture of nothing, which takes no time."""
    target.write("<svg></svg>" if options["format"] == "svg" else b"")


def no_pages(_: Sheet, name: str) -> dict[str, str]:
    """Return a tearsheet of nothing."""
    return {name: ""}


@contextmanager
def shortened(rng: Rng) -> Iterator[None]:
    """Leave pictures and tearsheets out of most cases: they are most of the time."""
    if rng.random() < 0.01:
        yield
        return
    with (
        patch.object(pages, "render_pages", no_pages),
        patch.object(Figure, "savefig", blank),
    ):
        yield


def fuzz(options: argparse.Namespace, work: Path) -> Counter[tuple[str, str, str]]:
    """Run the inputs of a part, and count the ends by kind and command."""
    inputs = Inputs(work / "sound")
    counts = Counter[tuple[str, str, str]]()
    kinds = [options.only] if options.only else list(KINDS)
    shares = np.array([KINDS[kind][1] for kind in kinds], np.float64)
    rng = np.random.default_rng(options.seed)
    drawn = rng.choice(kinds, options.inputs, p=shares / shares.sum())
    part, n_parts = map(int, options.part.split("/"))
    for number in options.numbers or range(part, options.inputs, n_parts):
        kind = str(drawn[number])
        own = np.random.default_rng([options.seed, number])
        folder = work / "case"
        folder.mkdir()
        monitor: list[str] = []
        begun = time.perf_counter()
        with shortened(own):
            case = KINDS[kind][0](Fuzz(inputs, folder, own))
            end = judge(case, monitor)
        counts[kind, case.words[0], end] += 1
        options.seconds[kind, case.words[0]] += time.perf_counter() - begun
        if end.isupper():
            print(f"{number} {kind}: {end}: {case.words[0]}", flush=True)
            if options.keep:
                keep(case, monitor, Path(options.keep) / f"{number}")
        shutil.rmtree(folder)
        for left in Path().glob("trm-bt-bug-*.txt"):
            left.unlink()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="0/1")
    parser.add_argument(
        "--numbers", type=int, nargs="*", help="of --inputs, these alone"
    )
    parser.add_argument("--only", choices=list(KINDS))
    parser.add_argument("--keep")
    options = parser.parse_args()
    options.seconds = Counter[tuple[str, str]]()
    warnings.simplefilter("ignore")
    logging.disable()
    limit = GIGABYTES * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)  # what an option with a relative path makes is gone with it
        tempfile.tempdir = work
        counts = fuzz(options, Path(work))
    for (kind, command), seconds in sorted(options.seconds.items()):
        ends = {
            e: n for (k, c, e), n in sorted(counts.items()) if (k, c) == (kind, command)
        }
        n_inputs = sum(ends.values())
        pace = 1000 * seconds / n_inputs
        print(f"{kind:<12} {command:<12} {n_inputs:>6} {pace:>6.0f} ms  {ends}")
    n_bad = sum(n for (_, _, end), n in counts.items() if end.isupper())
    seconds = time.perf_counter() - begun
    print(f"{counts.total()} inputs in {seconds:.0f} s, {n_bad} failures")
    sys.exit(1 if n_bad else 0)


if __name__ == "__main__":
    main()
