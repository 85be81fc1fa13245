"""What a strategy must remember across restarts, as one small file."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, Literal

import backtrader as bt
import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from trm_bt.errors import CheckpointError, ConfigError
from trm_bt.files import write_text_atomically
from trm_bt.text import key_path

_WHAT_TO_DO: Final = "Give another path, or remove the file to start again."


@dataclass(frozen=True, slots=True)
class Working:
    """An order that a broker may still be working on.

    Parameters
    ----------
    asset : {"equity", "bond"}
        What was ordered.
    size : float
        Shares, negative for a sale.
    held_before : float
        Shares held when it was sent.
    """

    asset: Literal["equity", "bond"]
    size: FiniteFloat
    held_before: FiniteFloat

    def left(self, held: float) -> float:
        """Return the shares that are still to come, by what is held now.

        Examples
        --------
        >>> bought = Working("equity", size=100.0, held_before=20.0)
        >>> [bought.left(held) for held in (20.0, 60.0, 120.0, 150.0)]
        [100.0, 60.0, 0.0, 0.0]
        """
        to_come = self.held_before + self.size - held
        low, high = sorted((0.0, self.size))
        return min(max(to_come, low), high)


@dataclass(frozen=True, slots=True)
class Sent:
    """An order without a final state, of the asset of this number."""

    decided_on: float
    asset: int
    order: bt.Order
    working: Working


class _Saved(BaseModel):
    """The file: whose state it is, and the fields of `Memory`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    feeds: list[str]
    models: list[str]
    decided_on: date | None = None
    is_traded: bool = True
    must_trade: bool = False
    targets: tuple[FiniteFloat, FiniteFloat] | None = None
    recent: list[list[FiniteFloat]] = []
    working: list[Working] = []


@dataclass
class Memory:
    """What was decided and sent, in a file where there is to be one.

    Parameters
    ----------
    decided_on : float
        Date number of the last session that was decided, 0 for none.
    is_traded : bool
        Whether its orders were sent, or none were needed.
    must_trade : bool
        Whether what was refused or cut is to be made up whatever the band.
    targets : (float, float) or None
        Weights of equity and bond in force.
    recent : deque of ndarrays of shape (n_allocations,)
        Probabilities that the next decision is averaged with, oldest first.
    restored_on : int
        Session up to which an earlier process has decided, as a date number.
    earlier : list of Working
        Orders of an earlier process that a broker may still fill.
    """

    decided_on: float = 0.0
    is_traded: bool = True
    must_trade: bool = False
    targets: tuple[float, float] | None = None
    recent: deque[np.ndarray] = field(default_factory=deque)
    restored_on: int = 0
    earlier: list[Working] = field(default_factory=list)

    def open(
        self, path: str | Path, *, feeds: Sequence[str], models: Sequence[str]
    ) -> None:
        """Go on from what a file holds, and see that it can be written.

        Parameters
        ----------
        path : str or Path
            The file, there or not.
        feeds : sequence of str
            Names of the equity and the bond feed.
        models : sequence of str
            Who decides: a fingerprint a model, or the name of a rule. A set may have
            grown since: those of the file must be among them.

        Raises
        ------
        CheckpointError
            If it is the state of other models or feeds.
        ConfigError
            If it is no state, or cannot be read or written.
        """
        self._path = Path(path).expanduser()
        self._new = _Saved(feeds=[*feeds], models=[*models])
        saved = _read(self._path, self._new)
        _write(self._path, saved)
        if saved.decided_on is not None:
            self.restored_on = saved.decided_on.toordinal()
            self.decided_on = float(self.restored_on)
        self.is_traded, self.must_trade = saved.is_traded, saved.must_trade
        self.targets, self.earlier = saved.targets, saved.working
        self.recent.extend(np.array(row) for row in saved.recent)
        self._n_later = 0

    def save(self, working: Sequence[Working]) -> None:
        """Keep all, and the orders that this process has not seen end."""
        last = int(self.decided_on)
        state = {
            "decided_on": date.fromordinal(last) if last else None,
            "is_traded": self.is_traded,
            "must_trade": self.must_trade,
            "targets": self.targets,
            "recent": [row.tolist() for row in self.recent],
            "working": [
                Working(one.asset, float(one.size), float(one.held_before))
                for one in [*self.earlier, *working]
            ],
        }
        _write(self._path, self._new.model_copy(update=state))

    def note_session(self, session: float) -> None:
        """Take what is left of an earlier process's orders for dead, a session later.

        They are market orders: those that were taken are filled in the session that
        follows. Asking for the same shares before that would buy them twice.
        """
        if self.earlier and session >= self.restored_on + 1:
            self._n_later += 1
            if self._n_later > 1:
                self.earlier = []

    def still_to_come(self, asset: str, held: float) -> float:
        """Return the shares of an asset that an earlier process's orders may bring."""
        if not self.earlier:
            return 0.0
        return sum(one.left(held) for one in self.earlier if one.asset == asset)


def _read(path: Path, new: _Saved) -> _Saved:
    """Return what `path` holds if `new` may continue it; `new` if there is none."""
    try:
        saved = _Saved.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return new
    except OSError as error:
        raise ConfigError(
            f"`state` {path}: cannot be read: {error.strerror}."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = key_path(first["loc"]) or "the file"
        raise ConfigError(
            f"`state` {path}: must be a file that this parameter wrote, but {where}: "
            f"{first['msg']}. {_WHAT_TO_DO}"
        ) from error
    if saved.feeds != new.feeds:
        raise CheckpointError(
            f"`state` {path}: must be of the feeds {new.feeds}, is of {saved.feeds}. "
            f"{_WHAT_TO_DO}"
        )
    others = [model[:12] for model in saved.models if model not in new.models]
    if others:
        mine = [model[:12] for model in new.models]
        raise CheckpointError(
            f"`state` {path}: must be of the models that decide now ({mine}), but was "
            f"written with {others}. {_WHAT_TO_DO}"
        )
    return saved


def _write(path: Path, saved: _Saved) -> None:
    """Make `path` hold a state, whole or as it was."""
    try:
        write_text_atomically(path, saved.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise ConfigError(
            f"`state` {path}: must be a file that can be written: {error.strerror}."
        ) from error
