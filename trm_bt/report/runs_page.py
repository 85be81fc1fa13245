"""The page of several runs side by side."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import pandas as pd
from pydantic import JsonValue

from trm_bt.evaluation.benchmarks import OURS
from trm_bt.report.sections.side_by_side import side_by_side
from trm_bt.report.templating import Section, render_page
from trm_bt.runfolder.records import INDEX
from trm_bt.runfolder.store import RunFolder

COLOURS: Final = ("trm", "spy", "mix", "bond", "best", "cash")
MAX_RUNS: Final = len(COLOURS)
"""As many as there are colours to tell them apart."""
_SECTIONS: Final = (Section(side_by_side),)


@dataclass(frozen=True)
class RunsContent:
    """Several runs.

    Parameters
    ----------
    folders : sequence of RunFolder
        At least two, each another one.
    """

    folders: Sequence[RunFolder]

    @property
    def title(self) -> str:
        """The title counts the runs."""
        return f"{len(self.folders)} runs side by side"

    @cached_property
    def names(self) -> list[str]:
        """The folders' names, with those of the folders above where two are alike."""
        paths = [folder.path.absolute() for folder in self.folders]
        short = [path.name for path in paths]
        return [
            path.name
            if short.count(path.name) == 1
            else f"{path.parent.name}/{path.name}"
            for path in paths
        ]

    @property
    def colours(self) -> dict[str, str]:
        """Colour of each run."""
        return dict(zip(self.names, COLOURS, strict=False))

    @cached_property
    def equity(self) -> pd.DataFrame:
        """The allocator's values on the sessions of all runs, (n_sessions, n_runs)."""
        ours = [folder.equity[OURS] for folder in self.folders]
        return pd.concat(ours, axis=1, keys=self.names, join="inner")

    @cached_property
    def differing(self) -> dict[str, list[str]]:
        """What the runs were asked for differently: by setting, one text a run."""
        asked = [
            _flat(folder.run.model_dump(mode="json")["request"])
            for folder in self.folders
        ]
        keys = dict.fromkeys(key for one in asked for key in one)
        texts = {key: [str(one.get(key, "")) for one in asked] for key in keys}
        texts["bars, SHA-256"] = [f.run.bars.sha256[:12] for f in self.folders]
        return {key: values for key, values in texts.items() if len(set(values)) > 1}

    def to_dict(self) -> dict[str, JsonValue]:
        """Return plain JSON values: figures of each run, and settings that differ."""
        runs: dict[str, JsonValue] = {
            name: {
                "folder": str(folder.path),
                "start": str(folder.summary.out_of_sample.start),
                "end": str(folder.summary.out_of_sample.end),
                **asdict(folder.summary.strategies[OURS]),
            }
            for name, folder in zip(self.names, self.folders, strict=True)
        }
        return {"runs": runs, "settings": {k: [*v] for k, v in self.differing.items()}}


def render_runs(content: RunsContent, target: Path) -> str:
    """Return the page; its links lead from the folder `target` to the runs."""
    ways = [
        (Path(os.path.relpath(folder.path / INDEX, target)).as_posix(), name)
        for name, folder in zip(content.names, content.folders, strict=True)
        if (folder.path / INDEX).is_file()
    ]
    return render_page(content.title, _SECTIONS, content, ways=ways)


def _flat(settings: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Return nested settings by dotted name."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        inner = _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else None
        flat |= {f"{before}{key}": value} if inner is None else inner
    return flat
