"""What the folder of a sweep holds: the schema that writes it and reads it."""

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from trm_bt.config import SweepUtility
from trm_bt.errors import RunError
from trm_bt.reading import read_json
from trm_bt.runfolder.records import BarsRecord, RunRequest

SWEEP: Final = "sweep.json"
RESULTS: Final = "results"
FOLDS: Final = "folds"
RANKING: Final = "ranking.csv"


class SweepRecord(BaseModel):
    """`sweep.json`: what is swept, written before the first trial.

    Parameters
    ----------
    command : str
        The command line.
    requests : tuple of RunRequest
        A walk-forward of each universe, with the settings that the points change.
    points : list of Point
        All that the grid offers, by dotted name.
    sampler, n_points, sampler_seed : str, int or None, int
        As in `trm_bt.runs.grid.Sampler`.
    n_seeds : int
        Seeds of each setting.
    utility : str
        What settings are ranked by.
    bars : tuple of BarsRecord
        The bars of each universe.
    code : tuple of str
        Versions of the code that does the trials.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    command: str
    requests: tuple[RunRequest, ...]
    points: list[dict[str, JsonValue]]
    sampler: str
    n_points: int | None
    sampler_seed: int
    n_seeds: int
    utility: SweepUtility
    bars: tuple[BarsRecord, ...]
    code: tuple[str, ...]

    def is_of(self, other: "SweepRecord") -> bool:
        """Return whether both are one sweep, whatever the command line was."""
        return self.model_copy(update={"command": other.command}) == other


def read_sweep(folder: Path) -> SweepRecord:
    """Read `sweep.json`; raise `RunError` if that cannot be."""
    path = folder / SWEEP
    try:
        return SweepRecord.model_validate_json(read_json(path))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{path}: must be the record of a sweep: {reason}.") from error
