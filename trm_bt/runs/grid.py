"""What is swept: settings read from a file, checked, and drawn by a sampler."""

import json
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import JsonValue, ValidationError

from trm_bt.config import SamplerName, SweepUtility, TRMConfig, explain
from trm_bt.errors import ConfigError
from trm_bt.learning.memory import check_memory
from trm_bt.reading import TEXT_BYTES, read_json
from trm_bt.runfolder.records import RunRequest
from trm_bt.text import reason_of, shown

Point = dict[str, JsonValue]
"""Values of settings by dotted name."""
Batches = Generator[list[Point], list[float | None], None]
"""Yields what to try next, and is sent the utility of each, None if it failed."""
MAX_POINTS: Final = 100_000
BATCH: Final = 8
"""Points that optuna proposes before it sees utilities, for any number of workers:
the same seed proposes the same points."""
_OWN_OPTIONS: Final = {"seed": "--seed and --seeds"}


@dataclass(frozen=True)
class Grid:
    """What a file of settings offers.

    Parameters
    ----------
    choices : mapping of str to list
        The values of each setting by dotted name; empty for a list of points.
    listed : list of Point
        The points of a list; empty for a grid.
    """

    choices: Mapping[str, list[JsonValue]]
    listed: Sequence[Point] = ()

    @property
    def n_points(self) -> int:
        """How many points there are in all."""
        return len(self.listed) or math.prod(map(len, self.choices.values()))

    def points(self) -> list[Point]:
        """Return all points; of a grid the last setting changes first."""
        if self.listed:
            return list(self.listed)
        return [
            dict(zip(self.choices, values, strict=True))
            for values in product(*self.choices.values())
        ]


def read_grid(path: Path) -> Grid:
    """Read a grid, `{"name": [value, ...]}`, or a list of points, `[{"name": value}]`.

    Raises
    ------
    ConfigError
        If the file cannot be read, is neither, or has too many points or none.
    """
    try:
        content = json.loads(read_json(path, TEXT_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read as JSON: {reason_of(error)}."
        ) from error
    is_grid = isinstance(content, dict) and all(
        isinstance(values, list) and values for values in content.values()
    )
    is_list = isinstance(content, list) and all(
        isinstance(point, dict) for point in content
    )
    if not content or not (is_grid or is_list):
        raise ConfigError(
            f"{path}: must be a grid, with a list of values for each setting, or a "
            f"list of objects of settings, got {shown(content)}."
        )
    grid = Grid(content) if is_grid else Grid({}, content)
    if grid.n_points > MAX_POINTS:
        raise ConfigError(
            f"{path}: must have at most {MAX_POINTS:,} points, has {grid.n_points:,}. "
            "Take values out, or sweep in parts."
        )
    return grid


def settings_at(base: TRMConfig, point: Point) -> TRMConfig:
    """Return settings changed at dotted names, and checked.

    Raises
    ------
    ConfigError
        If a name is unknown, a value breaks a rule, or a walk-forward of these settings
        could not be.
    """
    tree: dict[str, Any] = base.model_dump(mode="json")
    for name, value in point.items():
        if name in _OWN_OPTIONS:
            raise ConfigError(f"`{name}` is not swept: give {_OWN_OPTIONS[name]}.")
        *sections, key = name.split(".")
        part = tree
        for section in sections:
            part = part.setdefault(section, {})
            if not isinstance(part, dict):
                raise ConfigError(f"`{name}`: `{section}` has no settings in it.")
        part[key] = value
    try:
        config = TRMConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise ConfigError(f"{describe(point)}: {explain(TRMConfig, error)}") from error
    config.check_walkable()
    check_memory(config)
    return config


def describe(point: Mapping[str, object]) -> str:
    """Return a point in words.

    Examples
    --------
    >>> describe({"labels.horizon": 5, "training.target": "label"})
    'labels.horizon 5, training.target label'
    """
    return ", ".join(f"{name} {value}" for name, value in point.items()) or "as given"


@dataclass(frozen=True)
class Sampler:
    """Which points are tried, and in which order.

    Parameters
    ----------
    name : {"grid", "random", "optuna"}
        All; a random draw without repetition; or what optuna's tree-structured Parzen
        estimator proposes in view of the utilities so far.
    n_points : int, optional
        Points tried by the last two.
    seed : int
        Of both.

    Raises
    ------
    ConfigError
        If a sampler that draws has no number of points, or one that does not has one.
    """

    name: SamplerName = "grid"
    n_points: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.name == "grid") != (self.n_points is None):
            needed = "takes no `--points`" if self.n_points else "needs `--points`"
            raise ConfigError(f"The sampler {self.name} {needed}.")

    def batches(self, grid: Grid) -> Batches:
        """Yield the points to try, a batch at a time."""
        if self.name == "optuna":
            assert self.n_points is not None
            yield from _proposed(grid, self.n_points, self.seed)
            return
        points = grid.points()
        if self.n_points is not None:
            rng = np.random.default_rng(self.seed)
            n_drawn = min(self.n_points, len(points))
            drawn = rng.choice(len(points), n_drawn, replace=False)
            points = [points[place] for place in drawn.tolist()]
        yield points


@dataclass(frozen=True)
class SweepRequest:
    """What is swept.

    Parameters
    ----------
    requests : tuple of RunRequest
        A walk-forward of each universe, all of the same settings.
    grid : Grid
        The points.
    sampler : Sampler
        Which of them are tried.
    n_seeds : int
        Seeds of each setting, so far apart that no model is in two of them.
    utility : {"sharpe", "mean_variance"}
        What settings are ranked by.
    """

    requests: tuple[RunRequest, ...]
    grid: Grid
    sampler: Sampler = field(default_factory=Sampler)
    n_seeds: int = 1
    utility: SweepUtility = "sharpe"

    @property
    def n_points(self) -> int:
        """How many points are tried, one that is proposed twice counted twice."""
        n_points, n_asked = self.grid.n_points, self.sampler.n_points
        if n_asked is None:
            return n_points
        return min(n_asked, n_points) if self.sampler.name == "random" else n_asked

    @property
    def n_trials(self) -> int:
        """How many trials there are, as many for each point."""
        return self.n_points * self.n_seeds * len(self.requests)


def _proposed(grid: Grid, n_points: int, seed: int) -> Batches:
    """Yield what optuna proposes; it chooses among the values by their places."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "The sampler optuna needs its extra: pip install -e '.[optuna]' in the "
            "clone."
        ) from error
    if not grid.choices:
        raise ConfigError(
            "The sampler optuna needs a grid with values for each setting, got a list "
            "of points. Choose the sampler grid or random."
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    places: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(range(len(values)))
        for name, values in grid.choices.items()
    }
    for first in range(0, n_points, BATCH):
        asked = [study.ask(places) for _ in range(min(BATCH, n_points - first))]
        utilities = yield [
            {name: grid.choices[name][place] for name, place in trial.params.items()}
            for trial in asked
        ]
        for trial, utility in zip(asked, utilities, strict=True):
            failed = optuna.trial.TrialState.FAIL if utility is None else None
            study.tell(trial, utility, state=failed)
