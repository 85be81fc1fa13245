"""The folder in which a training waits to be gone on with: `--resume` reads it.

It is replaced whole after every epoch, so that a kill at any moment leaves the state
after one epoch or the next. It holds all that later steps depend on, so a training gone
on with ends in the same bits as one that was never stopped.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from trm_bt.config import TRMConfig
from trm_bt.errors import CheckpointError
from trm_bt.files import staged_folder
from trm_bt.learning.dataset import Samples
from trm_bt.learning.fit import Fit
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import EpochRecord

_KEY: Final = "training"
_BEST: Final = "best."
_DIGEST: Final = "sha256"
_STATE: Final = "state.safetensors"


@dataclass
class Course:
    """How a training has gone so far.

    Parameters
    ----------
    history : list of EpochRecord
        All epochs made.
    best : int
        Position in `history` of the epoch with the lowest validation loss.
    best_parameters : dict of str to Tensor
        Averaged parameters after that epoch.
    """

    history: list[EpochRecord]
    best: int
    best_parameters: dict[str, Tensor]


def is_unfinished(path: Path) -> bool:
    """Return whether `path` holds the state of a training."""
    return (path / _STATE).is_file()


def fingerprint(samples: Samples, config: TRMConfig, name: str) -> str:
    """Return a digest of all that decides the bits of a training."""
    digest = hashlib.sha256()
    for text in (name, config.to_json(), torch.__version__):
        digest.update(text.encode())
    arrays = [
        samples.sessions.to_numpy("datetime64[ns]"),
        samples.known_on.to_numpy("datetime64[ns]"),
        samples.features,
        samples.returns,
        samples.winners,
        samples.shares,
    ]
    if samples.variances is not None:
        arrays.append(samples.variances)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


class Unfinished:
    """The state of one training in a folder.

    Parameters
    ----------
    path : Path
        The folder.
    mark : str
        What `fingerprint` returns for the training.
    """

    def __init__(self, path: Path, mark: str) -> None:
        self.path = path
        self.mark = mark

    def save(self, fit: Fit[TinyRecursiveModel], course: Course) -> None:
        """Write the state after an epoch, whole or not at all."""
        best = {f"{_BEST}{k}": v for k, v in course.best_parameters.items()}
        facts = {
            "mark": self.mark,
            "best": course.best,
            "history": [epoch.model_dump() for epoch in course.history],
            "counters": fit.counters(),
        }
        text, tensors = json.dumps(facts), {**fit.tensors(), **best}
        content = safetensors.torch.save(
            tensors, metadata={_KEY: text, _DIGEST: _digest(text, tensors)}
        )
        with staged_folder(self.path) as draft:
            (draft / _STATE).write_bytes(content)

    def load(self, fit: Fit[TinyRecursiveModel]) -> Course | None:
        """Put `fit` where it was when the folder was written.

        Returns
        -------
        Course or None
            What was done before; None where there is no state.

        Raises
        ------
        CheckpointError
            If the state cannot be read, or belongs to another training.
        """
        if not is_unfinished(self.path):
            return None
        facts, tensors = self._read()
        if facts["mark"] != self.mark:
            raise CheckpointError(
                f"{self.path}: belongs to a training on other rows or settings, or "
                "with another torch. Give those again, or remove the folder and train "
                "from the start."
            )
        fit.restore(tensors, facts["counters"])
        best = {
            name.removeprefix(_BEST): value
            for name, value in tensors.items()
            if name.startswith(_BEST)
        }
        history = [EpochRecord.model_validate(epoch) for epoch in facts["history"]]
        return Course(history, facts["best"], best)

    def _read(self) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
        try:
            with safetensors.safe_open(self.path / _STATE, framework="pt") as file:
                names = file.keys()
                tensors = {name: file.get_tensor(name).clone() for name in names}
                written = file.metadata() or {}
            text, digest = written[_KEY], written[_DIGEST]
        except (OSError, safetensors.SafetensorError, KeyError) as error:
            raise CheckpointError(
                f"{self.path}: must be the state of an unfinished training, cannot be "
                f"read: {error}. Remove it and train from the start."
            ) from error
        if digest != _digest(text, tensors):
            raise CheckpointError(
                f"{self.path}: its SHA-256 must be the one it was written with, the "
                "state is damaged. Remove it and train from the start."
            )
        return json.loads(text), tensors


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of all that a state holds."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name].numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
