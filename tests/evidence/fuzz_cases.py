"""Sound inputs of every kind, and the damaged cases that are drawn from them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.checkpoint_damages import MANIFEST_FILE, contents_of, resealed
from tests.command_line import SMALL, invoke, write_folder
from tests.conftest import make_bars
from tests.evidence.mutations import TEXTS, VALUES, Rng, damage, pick
from trm_bt.cli.options import app
from trm_bt.config import FeatureConfig, TRMConfig
from trm_bt.feeds.store import BarStore, _seal
from trm_bt.feeds.tables import read_table
from trm_bt.market.adjustment import RAW_COLUMNS

MINE = "notes of mine.txt"
LOOKBACKS = {
    name: 20 for name in FeatureConfig.model_fields if name.endswith("lookback")
}
SETTINGS = SMALL | {
    "features": LOOKBACKS,
    "walkforward": {"first_decision": "2001-08-20", "n_seeds": 1},
    "strategy": {"n_averaged": 1},
}
LONGEST = 20
"""Passes of a training, and layers of a model, that a case may ask for."""


READ = {
    "report": ("run.json", "summary.json", "*.parquet", "history.json", "*"),
    "compare": ("run.json", "decisions.parquet", "equity.parquet"),
    "decide": ("run.json", "checkpoint.json", "*"),
}
"""Files of a run folder that a command reads."""


@dataclass(frozen=True)
class Case:
    """A command line that reads a damaged folder.

    Parameters
    ----------
    folder : Path
        Below the work folder of the case, with a note of the user's beside it.
    words : list of str
        The command line.
    sound : Path, optional
        Of which `folder` is a copy that the command may complete.
    """

    folder: Path
    words: list[str]
    sound: Path | None = None


class Inputs:
    """Sound inputs of every kind, made once below a folder; as small as serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        bars = make_bars(190, has_options=True)
        self.bars = write_folder(folder / "bars", bars)
        self.settings = self._written("settings/small.json", SETTINGS)
        self._make_members(folder / "members", bars)
        (folder / "parquet").mkdir()
        for path in self.bars.iterdir():
            table = read_table(path)
            table.to_parquet(folder / "parquet" / f"{path.stem}.parquet")
        self._make_store(folder / "store")
        self.checkpoint = folder / "models" / "model"
        self._make("train", "--out", self.checkpoint, "--end", "2001-08-31")
        self.hub = folder / "hub" / "model"
        code, _, error = invoke("export", self.checkpoint, "--out", self.hub)
        assert code == 0, error
        self.run = folder / "runs" / "walk"
        self._make("walkforward", "--out", self.run, "--jobs", "1")
        rows = [{"name": "mine", "start": "2001-09-03", "end": "2001-11-05"}]
        self._written("windows/mine.json", rows)
        text = "name,start,end\nmine,2001-09-03,2001-11-05"
        (folder / "windows" / "mine.csv").write_text(text)
        held = {"cash": 12500.0, "SPY": 40, "TLT": 25}
        self._written("portfolio/mine.json", held)
        table = {"calm": [0.2, 0.6], "bold": {"equity": 1, "bond": 0}}
        self._written("allocations/mine.json", table)

    def _written(self, name: str, content: object) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    def _make(self, *arguments: object) -> None:
        given = ("--bars", self.bars, "--config", self.settings)
        code, _, error = invoke(*arguments, *given)
        assert code == 0, error

    def _make_store(self, folder: Path) -> None:
        for symbol, path in (("SPY", "SPY"), ("TLT", "TLT"), ("^VIX", "VIX")):
            table = read_table(self.bars / f"{path}.csv")
            raw = table.reindex(columns=list(RAW_COLUMNS), fill_value=0.0)
            store = BarStore(folder, "yahoo")
            store.write(symbol, raw, retrieved_at="2024-01-01T00:00:00+00:00")

    def _make_members(self, folder: Path, bars) -> None:
        shutil.copytree(self.bars, folder)
        for name in ("M0", "M1"):
            close = bars.members[name]
            prices = dict.fromkeys(("open", "high", "low", "close"), close)
            frame = bars.equity.assign(**prices).rename_axis("date")
            frame.to_csv(folder / f"{name}.csv")
        (folder / "members.txt").write_text("M0\nM1\n")
        ratio = bars.put_call.rename("total_pc").rename_axis("date")
        ratio.to_csv(folder / "putcall.csv")
        rate = (ratio * 0 + 2.5).rename("rate")
        rate.to_csv(folder / "rates.csv")


def is_short(path: Path) -> bool:
    """Return whether settings are refused, or ask for a short training alone."""
    try:
        config = TRMConfig.load(path)
    except Exception:
        return True
    training, model, walk = config.training, config.model, config.walkforward
    n_passes = training.epochs * training.n_supervision_steps
    return (
        n_passes * min(training.max_batches_per_epoch, 10) <= LONGEST
        and model.effective_depth * model.max_supervision_steps <= LONGEST
        and model.hidden_dim <= 64
        and walk.n_seeds == 1
        and walk.retrain_every >= 40
        and len(walk.retrain_on) <= 3
    )


class Fuzz:
    """Draw cases from sound inputs."""

    def __init__(self, inputs: Inputs, work: Path, rng: Rng) -> None:
        self.inputs, self.work, self.rng = inputs, work, rng
        self.out = ["--out", str(work / "out" / "made")]

    def copied(self, folder: Path) -> Path:
        copy = self.work / folder.name
        shutil.copytree(folder, copy)
        (self.work / MINE).write_text("mine")
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
        most = ("config", "labels", "train") * 4
        words = [pick(self.rng, (*most, "run", "walkforward"))]
        if words == ["config"]:
            return Case(copy, [*words, "--config", str(path)])
        if words == ["walkforward"]:
            words += ["--jobs", "1"]
        return Case(copy, [*words, *self.given(self.inputs.bars, path), *self.out])

    def _bars(self, name: str, pattern: str = "*") -> Case:
        copy = self.damaged(self.inputs.folder / name, pattern)
        if name == "store" and self.rng.random() < 0.6:
            seal_anew(copy)
        command = pick(self.rng, ("validate", "validate", "labels", "train", "decide"))
        if command == "validate":
            return Case(copy, ["validate", "--bars", str(copy)])
        if command == "decide":
            model = str(self.inputs.checkpoint)
            return Case(copy, ["decide", model, *self.given(copy)])
        inputs = ["--inputs", "all"] * (command == "train")
        return Case(copy, [command, *self.given(copy), *inputs, *self.out])

    def bars(self) -> Case:
        return self._bars("bars")

    def parquet(self) -> Case:
        return self._bars("parquet")

    def store(self) -> Case:
        return self._bars("store")

    def members(self) -> Case:
        patterns = ("members.txt", "M*.csv", "putcall.csv", "rates.csv", "*")
        return self._bars("members", pick(self.rng, patterns))

    def allocations(self) -> Case:
        copy = self.damaged(self.inputs.folder / "allocations")
        table = ["--allocations", str(copy / "mine.json")]
        command = pick(self.rng, ("config", "labels") * 4 + ("run",))
        if command == "config":
            return Case(copy, ["config", *table])
        return Case(copy, [command, *self.given(self.inputs.bars), *table, *self.out])

    def portfolio(self) -> Case:
        copy = self.damaged(self.inputs.folder / "portfolio")
        words = ["decide", str(self.inputs.checkpoint), *self.given(self.inputs.bars)]
        return Case(copy, [*words, "--portfolio", str(copy / "mine.json")])

    def run_folder(self) -> Case:
        command = pick(self.rng, list(READ))
        copy = self.damaged(self.inputs.run, pick(self.rng, READ[command]))
        options = {
            "report": ["--jobs", "1"],
            "compare": ["--draws", "100"],
            "decide": ["--bars", str(self.inputs.bars)],
        }
        words = [command, str(copy), *options[command]]
        return Case(copy, words, self.inputs.run)

    def resumed_run(self) -> Case:
        copy = self.damaged(self.inputs.run)
        (copy / MINE).write_text("mine")
        words = ["walkforward", *self.given(self.inputs.bars), "--out", str(copy)]
        force = ["--force"] * bool(self.rng.random() < 0.3)
        return Case(copy, [*words, "--jobs", "1", *force], self.inputs.run)

    def checkpoint(self) -> Case:
        copy = self.damaged(self.inputs.checkpoint)
        if self.rng.random() < 0.6:
            reseal(copy)
        given = self.given(self.inputs.bars)
        if self.rng.random() < 0.95:
            return Case(copy, ["decide", str(copy), *given])
        words = ["backtest", "--checkpoint", str(copy), *given]
        return Case(copy, [*words, *self.out])

    def hub(self) -> Case:
        copy = self.damaged(self.inputs.hub)
        if self.rng.random() < 0.6:
            reseal(copy)
        return Case(copy, ["import", str(copy), *self.out])

    def windows(self) -> Case:
        copy = self.damaged(self.inputs.folder / "windows")
        run = self.copied(self.inputs.run)
        path = copy / f"mine.{pick(self.rng, ('json', 'csv'))}"
        return Case(copy, ["report", str(run), "--jobs", "1", "--crises", str(path)])

    def trials(self) -> Case:
        copy = self.damaged(self.inputs.run.parent / "trials")
        run = self.copied(self.inputs.run)
        words = ["compare", str(run), "--draws", "100", "--trials", str(copy)]
        return Case(copy, words)

    def options(self) -> Case:
        """Options of every command with values of every kind."""
        empty = self.work / "empty"
        empty.mkdir()
        (self.work / MINE).write_text("mine")
        command = pick(self.rng, [n for n in app if not n.startswith("-")])
        if command == "fetch":
            command = "validate"
        words = [command]
        found = app[command].assemble_argument_collection(parse_docstring=True)
        names = [o.name for o in found if str(o.name).startswith("--")]
        if {"--bars", "--config"} <= {*names}:  # on the sample it takes minutes
            words += self.given(self.inputs.bars)
        words += ["--cuts", "1"] * (command == "audit")
        for name in self.rng.permutation(names)[: self.rng.integers(0, 5)]:
            value = str(pick(self.rng, (*VALUES, *TEXTS)))
            words += pick(self.rng, ([name, value], [name], [f"{name}={value}"]))
        if self.rng.random() < 0.3:
            words.append(str(pick(self.rng, VALUES)))
        return Case(empty, [word.replace("\x00", "") for word in words])


KINDS: dict[str, tuple[Callable[[Fuzz], Case], float]] = {
    "settings": (Fuzz.settings, 40),
    "bars": (Fuzz.bars, 5),
    "parquet": (Fuzz.parquet, 4),
    "store": (Fuzz.store, 4),
    "members": (Fuzz.members, 2),
    "allocations": (Fuzz.allocations, 8),
    "portfolio": (Fuzz.portfolio, 8),
    "run folder": (Fuzz.run_folder, 2.5),
    "resumed run": (Fuzz.resumed_run, 0.7),
    "checkpoint": (Fuzz.checkpoint, 6),
    "hub": (Fuzz.hub, 2),
    "windows": (Fuzz.windows, 2.5),
    "trials": (Fuzz.trials, 1.3),
    "options": (Fuzz.options, 14),
}
"""How each kind is drawn, and how many of a hundred inputs are of it."""


def seal_anew(store: Path) -> None:
    """Make the digests in the files of a store right again."""
    for path in store.glob("*.parquet"):
        if path.is_file():
            start, digest = _seal(content := path.read_bytes())
            path.write_bytes(content[:start] + digest + content[start + len(digest) :])


def reseal(folder: Path) -> None:
    """Make the manifest of a checkpoint right again, as a careful forger would."""
    if all(path.is_file() and not path.is_symlink() for path in folder.iterdir()):
        manifest = resealed(contents_of(folder))[MANIFEST_FILE]
        (folder / MANIFEST_FILE).write_bytes(manifest)
