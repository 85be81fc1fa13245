"""Kill a writer of checkpoints again and again, and look what is left each time.

A process stores two models of the default size in turn over one folder. It is killed by
SIGKILL: at a random moment, or aimed, which is when this script sees that the draft is
whole or that the folders have exchanged their names. After each kill the folder must be
the one or the other checkpoint, to the byte, and load. Meanwhile the script looks all
the time whether the folder is there, and a reader loads it without a pause.
    python -m tests.evidence.kill_checkpoint
        [bars] [--kills 200] [--seed 0] [--two-renames]
`--two-renames` does without the exchange, to show that this script can fail.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from tests.checkpoint_damages import Contents, contents_of
from tests.evidence.brief_training import extras_of, train_briefly
from trm_bt import files
from trm_bt.learning.checkpoint import load_checkpoint, save_checkpoint
from trm_bt.learning.records import TrainedModel

FORK = multiprocessing.get_context("fork")
"""A forked writer is ready at once and shares the trained models."""


def save(models: list[TrainedModel], folder: Path, turn: int) -> None:
    """Store one of the models."""
    model = models[turn % len(models)]
    save_checkpoint(model, folder, extras=extras_of(model), force=True)


def write_on(models: list[TrainedModel], folder: Path) -> None:
    """Store the models in turn, for ever; runs in a process of its own."""
    turn = 1 if load_checkpoint(folder).name == models[0].name else 0
    while True:
        save(models, folder, turn)
        turn += 1


def read_on(folder: Path, names: set[str], is_over: Event, path: Path) -> None:
    """Load until told to end; leave the counts, or die of what should not be."""
    counts = Counter[str]()
    while not is_over.is_set():
        name = load_checkpoint(folder).name
        assert name in names
        counts[name] += 1
    path.write_text(str(dict(counts)))


def drafts(folder: Path) -> list[Path]:
    """Return the folders in the hidden work folders beside the checkpoint."""
    found = []
    for work in folder.parent.iterdir():
        with suppress(OSError):  # the writer may have removed it meanwhile
            found += [path for path in work.iterdir() if work.name.startswith(".")]
    return [path for path in found if path.is_dir()]


class Watch:
    """Look at a folder and its drafts, counting the looks; it must always be there."""

    def __init__(self, folder: Path, whole: Contents) -> None:
        self.folder = folder
        self.sizes = {name: len(content) for name, content in whole.items()}
        self.n_looks = self.n_missing = 0

    def look(self) -> int:
        """Return which folder bears the name, 0 if none does."""
        self.n_looks += 1
        try:
            return self.folder.stat().st_ino
        except FileNotFoundError:
            self.n_missing += 1
            return 0

    def wait(self, seconds: float) -> None:
        """Look for some seconds."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self.look()

    def wait_for_exchange(self) -> None:
        """Look until another folder bears the name."""
        before = self.look()
        while self.look() == before:
            pass

    def wait_for_whole_draft(self) -> None:
        """Look until a draft has all its bytes."""
        while not any(self._is_whole(path) for path in drafts(self.folder)):
            self.look()

    def _is_whole(self, draft: Path) -> bool:
        try:
            found = {path.name: path.stat().st_size for path in draft.iterdir()}
        except FileNotFoundError:
            return False
        return found == self.sizes


def phase(folder: Path, left: list[Path], wholes: list[Contents]) -> str:
    """Tell from what a killed writer left in which phase of a save it was."""
    if not left:
        return "no draft: before it was made, or all done"
    names = {path.name for path in left[0].iterdir()}
    if len(left) > 1:
        return "old folder put aside in a hidden one"
    if not names:
        return "draft empty: just made, or the old files just removed"
    if newest(left[0]) < newest(folder):
        is_whole = names == set(wholes[0])
        return f"exchanged, old files {'all there' if is_whole else 'half removed'}"
    if contents_of(left[0]) in wholes:
        return "draft whole, not exchanged yet"
    return "draft half written"


def newest(folder: Path) -> int:
    """Return when the last file of a folder was written."""
    return max(path.stat().st_mtime_ns for path in folder.iterdir())


def kill_once(
    models: list[TrainedModel], watch: Watch, aim: str, seconds: float
) -> None:
    """Start a writer and kill it as it is aimed, `seconds` after that moment."""
    writer = FORK.Process(target=write_on, args=(models, watch.folder))
    writer.start()
    if aim == "exchange":
        watch.wait_for_exchange()
    elif aim == "whole draft":
        watch.wait_for_whole_draft()
    watch.wait(seconds)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL, writer.exitcode


def seconds_of_a_save(models: list[TrainedModel], folder: Path) -> float:
    """Store four times and return the mean."""
    begun = time.perf_counter()
    for turn in range(4):
        save(models, folder, turn)
    return (time.perf_counter() - begun) / 4


def kill_all(
    models: list[TrainedModel], folder: Path, n_kills: int, rng: np.random.Generator
) -> Watch:
    """Kill, look what is left, and print how often each phase was hit."""
    wholes = []
    for turn in range(len(models)):
        save(models, folder, turn)
        wholes.append(contents_of(folder))
    seconds = seconds_of_a_save(models, folder)
    print(f"a save takes {1000 * seconds:.0f} ms", flush=True)
    watch = Watch(folder, wholes[0])
    spans = {"random": 3 * seconds, "whole draft": 0.3 * seconds, "exchange": 0.001}
    aims = list(spans)
    phases, found = Counter[tuple[str, str]](), Counter[str]()
    for turn in range(n_kills):
        aim, known = aims[turn % len(aims)], set(drafts(folder))
        kill_once(models, watch, aim, rng.uniform(0, spans[aim]))
        if not folder.exists():
            found["MISSING"] += 1
            save(models, folder, 0)
            continue
        left = [path for path in drafts(folder) if path not in known]
        assert contents_of(folder) in wholes, "neither the old nor the new one"
        found[load_checkpoint(folder).name] += 1
        phases[aim, phase(folder, left, wholes)] += 1
    for (aim, name), n in sorted(phases.items()):
        print(f"{aim:<12} {name:<54} {n:>4}")
    print(f"{n_kills} kills, found afterwards, whole and loadable: {dict(found)}")
    print(f"hidden folders left behind: {len(drafts(folder))}", end="")
    save(models, folder, 0)
    print(f", after the next save: {len(drafts(folder))}")
    return watch


def main() -> None:
    """Train two models, and kill their writers beside a reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", nargs="?", default="sample")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--two-renames", action="store_true")
    options = parser.parse_args()
    if options.two_renames:
        files._exchange = lambda one, other: False
    models = train_briefly(options.bars, ("one", "other"))
    with tempfile.TemporaryDirectory() as work:
        folder, counts = Path(work) / "checkpoint", Path(work) / "counts"
        save(models, folder, 0)
        is_over = FORK.Event()
        reader = FORK.Process(
            target=read_on, args=(folder, {"one", "other"}, is_over, counts)
        )
        reader.start()
        try:
            rng = np.random.default_rng(options.seed)
            watch = kill_all(models, folder, options.kills, rng)
        finally:
            is_over.set()
            reader.join()
        print(f"looks at the folder: {watch.n_looks}, missing in {watch.n_missing}")
        loaded = counts.read_text() if counts.exists() else "died"
        print(f"the reader meanwhile: {loaded}")
    sys.exit(1 if watch.n_missing or reader.exitcode else 0)


if __name__ == "__main__":
    main()
