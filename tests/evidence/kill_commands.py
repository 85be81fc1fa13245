"""Kill run, walkforward, compare and report again and again, and look what is left.

Each command runs undisturbed once. Then it is started from the same folders over and
over and killed by SIGKILL at a random moment. What is not its own must be as it was,
whatever is there must be whole and its own, and the same command once more must end
well, in the same tables and pages as undisturbed, and leave nothing hidden behind.
Pictures are blank: they take most of the time, and are written as all else is.
    python -m tests.evidence.kill_commands [--kills 40] [--seed 0] [--only COMMAND]
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure

from tests.command_line import invoke
from tests.evidence.fuzz_cases import MINE, Inputs
from tests.evidence.fuzz_inputs import blank, contents
from trm_bt.evaluation.trials import check_log
from trm_bt.manifest import first_foreign, is_own_file, read_manifest

TIMED = ("run.json", "manifest.json", "index.html")
"""What says when it was made, or how long it took."""


@dataclass(frozen=True)
class Command:
    """A command line on the run folder `walk` of a folder, and what it may write."""

    words: Callable[[Path, Inputs], list[str]]
    writes: tuple[str, ...]
    again: tuple[str, ...] = ()


def _new_run(command: str, *options: str) -> Command:
    def words(run: Path, inputs: Inputs) -> list[str]:
        given = ["--bars", str(inputs.bars), "--config", str(inputs.settings)]
        return [command, *given, "--out", str(run), *options]

    return Command(words, ("",))


COMMANDS = {
    "run": _new_run("run"),
    "walkforward": _new_run("walkforward", "--jobs", "1"),
    "compare": Command(
        lambda run, _: ["compare", str(run), "--draws", "100"],
        ("comparison/",),
        ("--force",),
    ),
    "report": Command(
        lambda run, inputs: [
            *("report", str(run), "--jobs", "1", "--crises"),
            str(inputs.folder / "windows" / "mine.json"),
        ],
        ("tearsheets/", "index.html", "crises.csv", "manifest.json"),
    ),
}


def state_of(folder: Path) -> dict[str, bytes | Path]:
    """Return every file but hidden ones and those that say when they were made."""
    return {
        name: content
        for name, content in contents(folder).items()
        if "/." not in f"/{name}" and Path(name).name not in TIMED
    }


def start(words: list[str]) -> int:
    """Run the command line in a fork, which has all imports; return its id."""
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(invoke(*words)[0])
    return child


def check_left(folder: Path, before: dict[str, bytes | Path], command: Command) -> str:
    """Hold what a killed command left to the rules, and name it."""
    run = folder / "walk"
    assert (folder / MINE).read_text() == "mine"
    for name, content in before.items():
        is_own = name.removeprefix("walk/").startswith(command.writes)
        assert is_own or contents(folder)[name] == content, name
    check_log(folder / "trials")
    if not run.exists():
        return "nothing yet"
    names = read_manifest(run)
    for name in names:
        path = run / name
        is_whole = name.endswith("/") or is_own_file(path, name, names)
        assert not path.exists() or is_whole, name
    foreign = first_foreign(run)
    assert foreign in {None, run / MINE}, foreign
    return "whole, unfinished or done"


def kill_all(
    name: str, inputs: Inputs, work: Path, options: argparse.Namespace
) -> Counter[str]:
    """Kill a command until all kills are spent; return what was found."""
    command, found = COMMANDS[name], Counter[str]()
    rng = np.random.default_rng(options.seed)
    old = work / name / "old"
    old.mkdir(parents=True)
    if command.writes != ("",):
        shutil.copytree(inputs.run, old / "walk")
        shutil.copytree(inputs.run.parent / "trials", old / "trials")
        (old / "walk" / MINE).write_text("mine")
    (old / MINE).write_text("mine")
    before, folder = contents(old), work / name / "case"
    words = command.words(folder / "walk", inputs)
    shutil.copytree(old, folder)
    begun = time.perf_counter()
    assert os.waitpid(start(words), 0)[1] == 0
    seconds, expected = time.perf_counter() - begun, state_of(folder)
    while found["killed"] < options.kills:
        shutil.rmtree(folder)
        shutil.copytree(old, folder)
        child = start(words)
        time.sleep(rng.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != -signal.SIGKILL:
            found["ended before its kill"] += 1
            seconds *= 0.95  # of a machine that is quieter by now
            continue
        found["killed"] += 1
        found[check_left(folder, before, command)] += 1
        is_there = any((folder / "walk" / w).exists() for w in command.writes if w)
        again = [*words, *command.again * is_there]
        assert os.waitpid(start(again), 0)[1] == 0, again
        after = state_of(folder)
        differing = {n for n in {*after, *expected} if after.get(n) != expected.get(n)}
        assert not {n for n in differing if "trials" not in n}, differing
        hidden = [p.name for p in folder.rglob(".*")]
        assert not hidden, hidden
        found["completed by the same command"] += 1
    print(f"{name:<12} {seconds:.1f} s {dict(found)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(COMMANDS))
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(Figure, "savefig", blank),
    ):
        work = Path(folder)
        inputs = Inputs(work / "sound")
        code, _, error = invoke(*COMMANDS["compare"].words(inputs.run, inputs))
        assert code == 0, error  # loads what the forks would each load
        shutil.rmtree(inputs.run / "comparison")
        for name in COMMANDS:
            if options.only in (None, name):
                kill_all(name, inputs, work, options)
    sys.exit(0)


if __name__ == "__main__":
    main()
