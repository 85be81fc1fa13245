"""Kill `trm-bt train` again and again, go on with `--resume`, and compare the end.

One training runs undisturbed. Then others with the same settings are killed by SIGKILL,
each start at a random moment of the time that the first one took, and started again
with `--resume` until they end. The next one begins anew, until all kills are spent.
Each of them must end in the same bits: parameters, scaler, settings and history.
    python -m tests.evidence.kill_training
        [bars] [--kills 20] [--seed 0] [--config FILE]
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import safetensors

HEADER = "epoch   loss"
"""Begins the line that comes with the first pass."""
COMPARED = ("model.safetensors", "checkpoint.json", "history.json")


def start(out: Path, options: argparse.Namespace, said: Path) -> subprocess.Popen[str]:
    """Start the command; it goes on if there is a state, and speaks to a file."""
    command = [str(Path(sys.executable).with_name("trm-bt")), "train", "--resume"]
    command += ["--bars", options.bars, "--out", str(out)]
    if options.config:
        command += ["--config", options.config]
    with said.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, text=True)


def finish(process: subprocess.Popen[str], said: Path) -> None:
    """Wait for a training that is to end well."""
    if process.wait() != 0:
        raise SystemExit(f"trm-bt train failed:\n{said.read_text()}")


def epochs_kept(out: Path) -> int | None:
    """Return the epochs in the state beside `out`, None where there is no state."""
    path = out.with_name(f"{out.name}.unfinished") / "state.safetensors"
    if not path.exists():
        return None
    with safetensors.safe_open(path, framework="numpy") as file:
        return len(json.loads(file.metadata()["training"])["history"])


def phase(kept: int | None, n_epochs: int, *, has_begun: bool) -> str:
    """Name what a kill fell into."""
    if kept == n_epochs:
        return "killed with all epochs kept, checkpoint not out"
    if has_begun:
        return f"killed in epoch {(kept or 0) + 1}"
    return f"killed while starting, {kept or 'no'} epochs kept"


def contents(out: Path) -> dict[str, bytes]:
    """Return the files that must be the same to the byte."""
    return {name: (out / name).read_bytes() for name in COMPARED}


def kill_until_done(
    out: Path,
    options: argparse.Namespace,
    rng: np.random.Generator,
    found: Counter[str],
) -> None:
    """Kill and resume one training to its end, counting what was found."""
    said = out.with_suffix(".txt")
    while True:
        found["starts that went on from a state"] += epochs_kept(out) is not None
        process = start(out, options, said)
        if found["kills"] == options.kills:
            return finish(process, said)
        try:
            process.wait(rng.uniform(0, options.seconds))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            return finish(process, said)
        has_begun, kept = HEADER in said.read_text(), epochs_kept(out)
        found["kills"] += 1
        found[phase(kept, options.n_epochs, has_begun=has_begun)] += 1
        found["kills that left a state"] += kept is not None
        if kept is None and out.exists():
            return None  # killed when all was done


def main() -> None:
    """Train once in peace, then under fire."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", nargs="?", default="sample")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config")
    options = parser.parse_args()
    rng, found, n_trainings = np.random.default_rng(options.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "model"
        begun = time.perf_counter()
        finish(start(out, options, Path(work) / "model.txt"), Path(work) / "model.txt")
        options.seconds = time.perf_counter() - begun
        expected = contents(out)
        options.n_epochs = len(json.loads(expected["history.json"]))
        print(f"undisturbed: {options.n_epochs} epochs, {options.seconds:.0f} s")
        while found["kills"] < options.kills:
            shutil.rmtree(out)
            kill_until_done(out, options, rng, found)
            n_trainings += 1
            if contents(out) != expected:
                raise SystemExit("FAILED: a training that was killed ended elsewhere")
    for name, n in sorted(found.items()):
        print(f"{name:<48} {n:>4}")
    print(f"{n_trainings} trainings ended in the same bits as the undisturbed one")


if __name__ == "__main__":
    main()
