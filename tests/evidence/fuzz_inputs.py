"""Damage every kind of input by its structure, and give it to the command line.

Settings, bars, parquet, a store, run folders, checkpoints, windows, trials and options
are damaged, and given to run, train, walkforward, report, compare, backtest, validate
and labels, all in this process. A traceback (exit code 70, or an exception), more than
one sentence, more than ten seconds, and a changed byte of what was given are failures.
Jobs are kept short: no settings that ask for a long training, tests of 100 draws, and
tearsheets in one of a hundred reports.
    python -m tests.evidence.fuzz_inputs
        [--inputs 20000] [--seed 0] [--only KIND] [--keep DIR]
"""

import argparse
import json
import logging
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.command_line import SMALL, invoke, write_folder
from tests.conftest import make_bars
from tests.evidence.mutations import TEXTS, VALUES, Rng, damage, pick
from trm_bt.cli.options import app
from trm_bt.config import TRMConfig
from trm_bt.feeds.store import BarStore
from trm_bt.feeds.tables import read_table
from trm_bt.market.adjustment import RAW_COLUMNS
from trm_bt.report import pages

SECONDS = 10
GIGABYTES = 12
LONGEST = 200
"""Passes of a training that a case may ask for."""
MINE = "notes of mine.txt"
SETTINGS = SMALL | {"walkforward": {"retrain_every": 60, "n_seeds": 1}}
ENDS = {0: "done", 1: "failed", 2: "refused", 130: "interrupted"}

Case = tuple[Path, list[str]]
"""The damaged folder, and the command line that reads it."""


class TookTooLong(BaseException):
    """Not an `Exception`, so that no handler takes it for a bug."""


class Inputs:
    """Sound inputs of every kind, made once below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        bars = make_bars(330)
        self.bars = write_folder(folder / "bars", bars)
        self.settings = folder / "settings" / "small.json"
        self.settings.parent.mkdir()
        self.settings.write_text(json.dumps(SETTINGS))
        parquet = folder / "parquet"
        parquet.mkdir()
        for path in self.bars.iterdir():
            read_table(path).to_parquet(parquet / f"{path.stem}.parquet")
        self._make_store(folder / "store")
        self.checkpoint = folder / "models" / "model"
        self._sound("train", "--out", self.checkpoint, "--end", "2001-10-31")
        self.run = folder / "runs" / "walk"
        self._sound("walkforward", "--out", self.run)
        self._sound("compare", self.run, "--draws", "100", given=False)
        shutil.rmtree(self.run / "comparison")
        windows = folder / "windows"
        windows.mkdir()
        rows = [{"name": "mine", "start": "2001-09-03", "end": "2001-11-05"}]
        (windows / "mine.json").write_text(json.dumps(rows))
        (windows / "mine.csv").write_text("name,start,end\nmine,2001-09-03,2001-11-05")
        (self.bars / "members.txt").write_text("SPY\nTLT\n")

    def _sound(self, *arguments: object, given: bool = True) -> None:
        shared = ("--bars", self.bars, "--config", self.settings) if given else ()
        code, _, error = invoke(*arguments, *shared)
        assert code == 0, error

    def _make_store(self, folder: Path) -> None:
        for symbol, path in (("SPY", "SPY"), ("TLT", "TLT"), ("^VIX", "VIX")):
            table = read_table(self.bars / f"{path}.csv")
            raw = table.reindex(columns=list(RAW_COLUMNS), fill_value=0.0)
            store = BarStore(folder, "yahoo")
            store.write(symbol, raw, retrieved_at="2024-01-01T00:00:00+00:00")


def is_short(path: Path) -> bool:
    """Return whether settings are refused, or ask for a short training alone."""
    try:
        config = TRMConfig.load(path)
    except Exception:
        return True
    training, model = config.training, config.model
    n_passes = training.epochs * training.n_supervision_steps
    n_passes *= min(training.max_batches_per_epoch, 10)
    depth = model.effective_depth * model.max_supervision_steps
    return (
        n_passes <= LONGEST
        and depth <= LONGEST
        and model.hidden_dim <= 64
        and config.walkforward.n_seeds <= 3
        and config.walkforward.retrain_every >= 40
        and len(config.walkforward.retrain_on) <= 3
    )


class Fuzz:
    """Draw cases from sound inputs, and run them."""

    def __init__(self, inputs: Inputs, work: Path, rng: Rng) -> None:
        self.inputs, self.work, self.rng = inputs, work, rng

    def copied(self, folder: Path) -> Path:
        copy = self.work / folder.name
        shutil.copytree(folder, copy)
        (copy.parent / MINE).write_text("mine")
        return copy

    def damaged(self, folder: Path, pattern: str = "*") -> Path:
        """Return a copy of a folder with a file or two damaged."""
        copy = self.copied(folder)
        files = sorted(path for path in copy.rglob(pattern) if path.is_file())
        for path in {pick(self.rng, files) for _ in range(self.rng.integers(1, 3))}:
            damage(path, self.rng)
        return copy

    def given(self, bars: Path, settings: Path | None = None) -> list[str]:
        chosen = settings or self.inputs.settings
        return ["--bars", str(bars), "--config", str(chosen)]

    def settings(self) -> Case:
        while True:
            copy = self.damaged(self.inputs.settings.parent)
            path = copy / "small.json"
            if is_short(path):
                break
            shutil.rmtree(copy)
        command = pick(self.rng, ("train", "train", "run", "walkforward", "config"))
        if command == "config":
            return copy, ["config", "--config", str(path)]
        out = self.work / "out" / "made"
        return copy, [command, *self.given(self.inputs.bars, path), "--out", str(out)]

    def _bars(self, folder: Path) -> Case:
        copy = self.damaged(folder)
        command = pick(self.rng, ("validate", "validate", "labels", "features"))
        if command == "validate":
            return copy, ["validate", "--bars", str(copy)]
        out = self.work / "out" / "made"
        return copy, [command, *self.given(copy), "--out", str(out)]

    def bars(self) -> Case:
        return self._bars(self.inputs.bars)

    def parquet(self) -> Case:
        return self._bars(self.inputs.folder / "parquet")

    def store(self) -> Case:
        return self._bars(self.inputs.folder / "store")

    def run_folder(self) -> Case:
        patterns = ("*.json", "*.parquet", "*.parquet", "checkpoint.json", "*")
        copy = self.damaged(self.inputs.run, pick(self.rng, patterns))
        command = pick(self.rng, ("report", "compare"))
        options = ["--draws", "100"] if command == "compare" else ["--jobs", "1"]
        return copy, [command, str(copy), *options]

    def resumed_run(self) -> Case:
        copy = self.damaged(self.inputs.run)
        settings = self.inputs.settings
        command = ["walkforward", *self.given(self.inputs.bars, settings)]
        force = ["--force"] * bool(self.rng.random() < 0.3)
        return copy, [*command, "--out", str(copy), "--jobs", "1", *force]

    def checkpoint(self) -> Case:
        copy = self.damaged(self.inputs.checkpoint)
        if self.rng.random() < 0.6:
            reseal(copy)
        out = self.work / "out" / "made"
        command = ["backtest", "--checkpoint", str(copy), *self.given(self.inputs.bars)]
        return copy, [*command, "--out", str(out)]

    def windows(self) -> Case:
        copy = self.damaged(self.inputs.folder / "windows")
        run = self.copied(self.inputs.run)
        path = copy / f"mine.{pick(self.rng, ('json', 'csv'))}"
        return copy, ["report", str(run), "--jobs", "1", "--crises", str(path)]

    def trials(self) -> Case:
        copy = self.damaged(self.inputs.run.parent / "trials")
        run = self.copied(self.inputs.run)
        command = ["compare", str(run), "--draws", "100", "--trials", str(copy)]
        return copy, command

    def options(self) -> Case:
        """Options of every command with values of every kind."""
        empty = self.work / "empty"
        empty.mkdir()
        command = pick(self.rng, [n for n in app if not n.startswith("-")])
        if command == "fetch":
            command = "validate"
        words = [command]
        found = app[command].assemble_argument_collection(parse_docstring=True)
        names = [o.name for o in found if str(o.name).startswith("--")]
        for name in self.rng.permutation(names)[: self.rng.integers(0, 5)]:
            value = str(pick(self.rng, (*VALUES, *TEXTS)))
            words += pick(self.rng, ([name, value], [name], [f"{name}={value}"]))
        if self.rng.random() < 0.3:
            words.append(str(pick(self.rng, VALUES)))
        return empty, [word.replace("\x00", "") for word in words]


KINDS: dict[str, tuple[Callable[[Fuzz], Case], int]] = {
    "settings": (Fuzz.settings, 18),
    "bars": (Fuzz.bars, 22),
    "parquet": (Fuzz.parquet, 14),
    "store": (Fuzz.store, 10),
    "run folder": (Fuzz.run_folder, 10),
    "resumed run": (Fuzz.resumed_run, 4),
    "checkpoint": (Fuzz.checkpoint, 8),
    "windows": (Fuzz.windows, 4),
    "trials": (Fuzz.trials, 4),
    "options": (Fuzz.options, 6),
}
"""How each kind is drawn, and how many of a hundred inputs are of it."""


def reseal(folder: Path) -> None:
    """Make the manifest of a checkpoint right again, as a careful forger would."""
    from tests.checkpoint_damages import MANIFEST_FILE, contents_of, resealed

    if all(path.is_file() and not path.is_symlink() for path in folder.iterdir()):
        manifest = resealed(contents_of(folder))[MANIFEST_FILE]
        (folder / MANIFEST_FILE).write_bytes(manifest)


OURS = ("index.html", "crises.csv", "tearsheets", "comparison", "manifest.json")


def contents(folder: Path, command: str) -> dict[str, object]:
    """Return every file that a command may not change, links by what they say."""
    found: dict[str, object] = {}
    for path in [*folder.rglob("*"), folder.parent / MINE]:
        name = str(path.relative_to(folder.parent))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            found[name] = path.read_bytes()
    if command in {"report", "compare"}:
        parts = f"{folder.name}/"
        return {
            name: content
            for name, content in found.items()
            if not name.removeprefix(parts).startswith(OURS)
        }
    return found


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


def judge(folder: Path, words: list[str], monitor: list[str]) -> str:
    """Run a case and name its end; one in capitals is a failure."""
    is_resumed = words[0] == "walkforward" and str(folder) in words
    before = None if is_resumed else contents(folder, words[0])
    begun = time.perf_counter()
    try:
        with time_limit(SECONDS):
            code, _, error = invoke(*words)
    except TookTooLong:
        monitor.append(traceback.format_exc())
        return "TOOK TOO LONG"
    except BaseException:
        monitor.append(traceback.format_exc())
        return "AN EXCEPTION"
    seconds = time.perf_counter() - begun
    monitor.append(f"exit {code} after {seconds:.1f} s\n{error}")
    if code not in ENDS:
        return "A BUG"
    lines = [line for line in error.splitlines() if ": warning: " not in line]
    if code in {1, 2} and len(lines) != 1:
        return "NOT ONE SENTENCE"
    if before is not None and contents(folder, words[0]) != before:
        return "CHANGED WHAT WAS GIVEN"
    return ENDS[code]


def keep(folder: Path, words: list[str], monitor: list[str], target: Path) -> None:
    """Keep a failed case for a look."""
    target.mkdir(parents=True)
    shutil.copytree(folder, target / "input", symlinks=True, ignore=_pipes)
    (target / "case.txt").write_text("\n".join([*words, "", *monitor]), "utf-8")


def _pipes(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if Path(folder, name).is_fifo()}


@contextmanager
def shortened(rng: Rng) -> Iterator[None]:
    """Leave the tearsheets out of most reports: they are minutes of QuantStats."""
    written = pages._written

    def few(tasks, jobs, context):
        if rng.random() < 0.01:
            return written(tasks, jobs, context)
        return iter([path.write_text("") for _, path in tasks])

    pages._written = few
    try:
        yield
    finally:
        pages._written = written


def fuzz(options: argparse.Namespace, work: Path) -> Counter[tuple[str, str]]:
    """Run all inputs and count the ends of each kind."""
    inputs = Inputs(work / "sound")
    counts = Counter[tuple[str, str]]()
    kinds = [options.only] if options.only else list(KINDS)
    shares = np.array([KINDS[kind][1] for kind in kinds], np.float64)
    rng = np.random.default_rng(options.seed)
    drawn = rng.choice(kinds, options.inputs, p=shares / shares.sum())
    for number, kind in enumerate(drawn):
        own = np.random.default_rng([options.seed, number])
        case = work / "case"
        case.mkdir()
        monitor: list[str] = []
        with shortened(own):
            folder, words = KINDS[kind][0](Fuzz(inputs, case, own))
            end = judge(folder, words, monitor)
        counts[str(kind), end] += 1
        if end.isupper() and options.keep:
            keep(folder, words, monitor, Path(options.keep) / f"{number}")
            print(f"{number} {kind}: {end}: {words[0]}", flush=True)
        shutil.rmtree(case)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS))
    parser.add_argument("--keep")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    limit = GIGABYTES * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        counts = fuzz(options, Path(work))
    for (kind, end), n in sorted(counts.items()):
        print(f"{kind:<12} {end:<24} {n:>6}")
    n_bad = sum(n for (_, end), n in counts.items() if end.isupper())
    seconds = time.perf_counter() - begun
    print(f"{counts.total()} inputs in {seconds:.0f} s, {n_bad} failures")
    sys.exit(1 if n_bad else 0)


if __name__ == "__main__":
    main()
