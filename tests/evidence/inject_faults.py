"""Fail, or kill, at each call that changes a file, and look what is left.

Each way of writing goes from a whole old state to a whole new one. A first pass counts
its calls of create, write, fsync, rename, lock, unlink and their like below a folder.
Then each of them fails once with ENOSPC, EIO and EACCES, and once the process is ended
by SIGKILL right before it and right after it. What is there must be the old or the new
state, whole, with every file of the user's, and the same once more without a fault must
give the new state and leave nothing hidden behind. Linux alone, with a C compiler.
    python -m tests.evidence.inject_faults [--only NAME] [--every 1]
"""

import argparse
import ctypes
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from tests.checkpoint_damages import CONFIG, EXTRAS, train_on
from tests.planted import planted_samples
from trm_bt.config import TRMConfig
from trm_bt.evaluation.trials import read_trials, record_trial
from trm_bt.feeds.store import BarStore
from trm_bt.files import exclusive_lock, remove_folder, staged_files, staged_folder
from trm_bt.learning.checkpoint import load_checkpoint, save_checkpoint
from trm_bt.learning.dataset import split_chronologically
from trm_bt.learning.resume import load_state, save_state
from trm_bt.learning.trainer import TrainingRun
from trm_bt.manifest import first_foreign
from trm_bt.market.adjustment import RAW_COLUMNS

SHIM = Path(__file__).with_name("fault_shim.c")
FAIL, KILL_BEFORE, KILL_AFTER = range(3)
FAULTS = {
    "ENOSPC": (FAIL, errno.ENOSPC),
    "EIO": (FAIL, errno.EIO),
    "EACCES": (FAIL, errno.EACCES),
    "SIGKILL before": (KILL_BEFORE, 0),
    "SIGKILL after": (KILL_AFTER, 0),
}
MINE = "notes of mine.txt"


class Way:
    """A way of writing a state, 0 or 1, below a folder, and which of them is there."""

    def __init__(
        self, write: Callable[[Path, int], None], read: Callable[[Path], object]
    ) -> None:
        self.write = write
        self.read = read


def bars_of(turn: int) -> pd.DataFrame:
    sessions = pd.bdate_range("2020-01-01", periods=300, name="session")
    return pd.DataFrame(100.0 + turn, sessions, list(RAW_COLUMNS))


def write_store(folder: Path, turn: int) -> None:
    store = BarStore(folder / "store", "yahoo")
    with store.updating("SPY"):
        store.write("SPY", bars_of(turn), retrieved_at="2024-01-01T00:00:00+00:00")


def read_store(folder: Path) -> object:
    return int(BarStore(folder / "store", "yahoo").read("SPY").iloc[-1, 0]) - 100


def checkpoints() -> Way:
    models = [train_on(300, name) for name in ("old", "new")]

    def write(folder: Path, turn: int) -> None:
        target = folder / "checkpoint"
        with exclusive_lock(target):
            save_checkpoint(models[turn], target, extras=EXTRAS, force=True)

    def read(folder: Path) -> object:
        return ("old", "new").index(load_checkpoint(folder / "checkpoint").name)

    return Way(write, read)


def states() -> Way:
    """The state of a training after its first epoch, and after its second."""
    parts = split_chronologically(planted_samples(300), 0.15)
    runs = [TrainingRun("model", *parts, CONFIG, None) for _ in range(3)]
    for run, n_epochs in zip(runs, (1, 2, 0), strict=True):
        for _ in range(n_epochs):
            run.epoch()

    def write(folder: Path, turn: int) -> None:
        save_state(folder / "model.unfinished", runs[turn].state, "mark")

    def read(folder: Path) -> object:
        load_state(folder / "model.unfinished", runs[2].state, "mark")
        return len(runs[2].state.course.history) - 1

    return Way(write, read)


def write_folder(folder: Path, turn: int) -> None:
    with staged_folder(folder / "labels") as new:
        for name in ("a.csv", "b.csv"):
            (new / name).write_text(str(turn) * 20_000)


def read_folder(folder: Path) -> object:
    assert first_foreign(folder / "labels") is None
    (turn,) = {(folder / "labels" / n).read_text() for n in ("a.csv", "b.csv")}
    return int(turn[0])


def write_files(folder: Path, turn: int) -> None:
    """A run folder: a table and a record go in, the record last."""
    run = folder / "run"
    if not run.exists():
        with staged_folder(run) as new:
            (new / "run.json").write_text("0")
        (run / MINE).write_text("mine")
    with exclusive_lock(run):
        for name in ("equity.parquet", "run.json"):
            with staged_files(run) as new:
                (new / name).write_text(str(turn) * 20_000 if "." in name else "")


def read_files(folder: Path) -> object:
    run = folder / "run"
    foreign = first_foreign(run)
    assert foreign == run / MINE, foreign
    texts = {(run / n).read_text() for n in ("equity.parquet", "run.json")}
    assert all(len(text) == 20_000 for text in texts), "a file is torn"
    return int((run / "run.json").read_text()[0])


def write_trial(folder: Path, turn: int) -> None:
    sessions = pd.bdate_range("2020-01-01", periods=30, name="session")
    weights = pd.DataFrame(0.25, sessions, ["equity", "bond", "cash"])
    equity = pd.Series(np.linspace(1.0, 2.0, 30), sessions)
    record_trial(folder / "trials", TRMConfig(seed=turn), "", weights, equity, None)


def read_trial(folder: Path) -> object:
    return len(read_trials(folder / "trials")) - 1


def write_removal(folder: Path, turn: int) -> None:
    target = folder / "model.unfinished"
    if turn:
        remove_folder(target)
    else:
        with staged_folder(target) as new:
            (new / "state.safetensors").write_text("state")


def read_removal(folder: Path) -> object:
    target = folder / "model.unfinished"
    if not target.exists():
        return 1
    assert first_foreign(target) is None
    assert (target / "state.safetensors").read_text() == "state"
    return 0


def ways() -> dict[str, Callable[[], Way]]:
    return {
        "store": lambda: Way(write_store, read_store),
        "checkpoint": checkpoints,
        "state": states,
        "folder replaced": lambda: Way(write_folder, read_folder),
        "folder completed": lambda: Way(write_files, read_files),
        "trial": lambda: Way(write_trial, read_trial),
        "folder removed": lambda: Way(write_removal, read_removal),
    }


class Shim:
    """The preloaded library, as this process sees it."""

    def __init__(self, library: str) -> None:
        self.library = ctypes.CDLL(library)
        self.library.fault_name.restype = ctypes.c_char_p

    def arm(self, folder: Path, at: int, fault: tuple[int, int]) -> None:
        self.library.fault_arm(os.fsencode(folder), at, *fault)

    def names(self) -> list[str]:
        n_seen = self.library.fault_seen()
        return [self.library.fault_name(i).decode() for i in range(1, n_seen + 1)]


def in_a_fork(work: Callable[[], None]) -> int:
    """Run `work` in a fork; return 0, 1 for an error, or the signal as a negative."""
    child = os.fork()
    if not child:
        try:
            work()
        except Exception as error:
            is_told = isinstance(error, (OSError, ValueError))
            os._exit(1 if is_told else 3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.draft")]


def state_of(folder: Path) -> str:
    """Return a digest of every visible file but the manifests that may be between."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".draft" not in str(path):
            digest.update(f"{path.relative_to(folder)}".encode())
    return digest.hexdigest()


def try_each(name: str, way: Way, shim: Shim, work: Path, every: int) -> Counter[str]:
    """Fail at each call of a way in each manner; return what was found."""
    found = Counter[str]()
    old = work / "old"
    old.mkdir()
    (old / MINE).write_text("mine")
    way.write(old, 0)
    assert way.read(old) == 0
    counted = work / "counted"
    shutil.copytree(old, counted, symlinks=True)
    shim.arm(counted, 0, (FAIL, 0))
    way.write(counted, 1)
    calls = shim.names()
    shim.arm(Path("/nonexistent"), 0, (FAIL, 0))
    assert way.read(counted) == 1
    found["points"] = len(calls)
    for at in range(1, len(calls) + 1, every):
        for label, fault in FAULTS.items():
            folder = work / "case"
            shutil.copytree(old, folder, symlinks=True)

            def once(folder=folder, at=at, fault=fault) -> None:
                shim.arm(folder, at, fault)
                way.write(folder, 1)

            code = in_a_fork(once)
            found["cases"] += 1
            place = f"{name}: {label} at {at}, {calls[at - 1]}"
            if code not in {0, 1, -signal.SIGKILL}:
                found["WRONG"] += 1
                print(f"{place}: ended with {code}")
            try:
                found[("as before", "as after")[way.read(folder)]] += 1
                assert (folder / MINE).read_text() == "mine"
                way.write(folder, 1)
                assert way.read(folder) == 1, "the next write does not stand"
                assert not hidden(folder), hidden(folder)
            except Exception as error:
                found["LOST"] += 1
                print(f"{place}: {type(error).__name__}: {error}")
            shutil.rmtree(folder)
    return found


def build(folder: Path) -> str:
    library = str(folder / "fault_shim.so")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", library, str(SHIM), "-ldl"]
    subprocess.run(command, check=True)
    return library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--library", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.library is None:  # begin again with the library preloaded
        with tempfile.TemporaryDirectory() as work:
            library = build(Path(work))
            command = [sys.executable, "-m", "tests.evidence.inject_faults"]
            command += [*sys.argv[1:], "--library", library]
            environment = os.environ | {"LD_PRELOAD": library}
            sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    shim, total = Shim(options.library), Counter[str]()
    for name, make in ways().items():
        if options.only in (None, name):
            way = make()
            with tempfile.TemporaryDirectory() as work:
                found = try_each(name, way, shim, Path(work), options.every)
            print(f"{name:<18} {dict(found)}", flush=True)
            total += found
    print(f"in all: {dict(total)}")
    sys.exit(1 if total["LOST"] or total["WRONG"] else 0)


if __name__ == "__main__":
    main()
