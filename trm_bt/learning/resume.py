"""The folder that keeps the state of an unfinished training: `--resume` reads it.

It is replaced whole after every epoch, so that a kill at any moment leaves the state
after one epoch or the next. It holds everything that later steps depend on: a resumed
training ends in the same bits as one that was never stopped.
"""

import hashlib
import json
from collections.abc import Mapping
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
from trm_bt.learning.fit import Course, TrainingState
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import EpochRecord
from trm_bt.reading import check_file

STATE_FILE: Final = "state.safetensors"
_MAX_BYTES: Final = 2**33
_FACTS, _DIGEST = "training", "sha256"

_State = TrainingState[TinyRecursiveModel]


def is_unfinished(folder: Path) -> bool:
    """Return whether `folder` holds the state of a training."""
    return (folder / STATE_FILE).is_file()


def fingerprint(samples: Samples, config: TRMConfig, name: str) -> str:
    """Return a digest of everything that decides the bits of a training."""
    digest = hashlib.sha256()
    for text in (name, config.to_json(), torch.__version__, *samples.pooled):
        digest.update(text.encode())
    for rows in samples.universes:
        arrays = [
            rows.sessions.to_numpy("datetime64[ns]"),
            rows.known_on.to_numpy("datetime64[ns]"),
            rows.features,
            rows.returns,
            rows.winners,
        ]
        if rows.variances is not None:
            arrays.append(rows.variances)
        for array in arrays:
            digest.update(array.tobytes())
    return digest.hexdigest()


def save_state(folder: Path, state: _State, mark: str) -> None:
    """Write the state after an epoch, whole or not at all.

    Parameters
    ----------
    folder : Path
        Where; replaced if it exists.
    state : TrainingState
        What to keep.
    mark : str
        The `fingerprint` of the training.
    """
    facts = {
        "mark": mark,
        "best": state.course.best,
        "history": [epoch.model_dump() for epoch in state.course.history],
        "step": state.step,
        "position": state.position,
        "n_taken": state.batches.n_taken,
        "generator": state.generator.bit_generator.state,
    }
    text, tensors = json.dumps(facts), _tensors(state)
    content = safetensors.torch.save(
        tensors, metadata={_FACTS: text, _DIGEST: _digest(text, tensors)}
    )
    with staged_folder(folder) as draft:
        (draft / STATE_FILE).write_bytes(content)


def load_state(folder: Path, state: _State, mark: str) -> None:
    """Restore the state that `save_state` wrote; do nothing where there is none.

    Raises
    ------
    CheckpointError
        If the state cannot be read, or belongs to another training.
    """
    if not is_unfinished(folder):
        return
    facts, tensors = _read(folder)
    if facts["mark"] != mark:
        raise CheckpointError(
            f"{folder}: belongs to a training with other rows, settings or torch "
            "version. Use those again, or remove the folder and train from the "
            "start."
        )
    state.model.load_state_dict(_named(tensors, "model."))
    state.average.load_state_dict(_named(tensors, "average."))
    means = _named(tensors, "filter.")
    parameters = state.model.parameters()
    state.filter.means = [
        means[str(i)].to(parameter.device)
        for i, parameter in zip(range(len(means)), parameters, strict=False)
    ]
    by_parameter: dict[int, dict[str, Tensor]] = {}
    for name, value in _named(tensors, "optimizer.").items():
        i, key = name.split(".")
        by_parameter.setdefault(int(i), {})[key] = value
    state.optimizer.load_state_dict(
        state.optimizer.state_dict() | {"state": by_parameter}
    )
    state.batches.order = tensors["order"].numpy()
    state.batches.n_taken = facts["n_taken"]
    state.generator.bit_generator.state = facts["generator"]
    state.step, state.position = facts["step"], facts["position"]
    history = [EpochRecord.model_validate(epoch) for epoch in facts["history"]]
    state.course = Course(history, facts["best"], _named(tensors, "best."))


def _tensors(state: _State) -> dict[str, Tensor]:
    """Return every tensor of the state, by a name that says whose it is."""
    parts: dict[str, Mapping[str, Tensor]] = {
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "filter": {str(i): mean for i, mean in enumerate(state.filter.means)},
        "optimizer": {
            f"{i}.{key}": value
            for i, values in state.optimizer.state_dict()["state"].items()
            for key, value in values.items()
        },
        "best": state.course.best_parameters,
    }
    named = {
        f"{part}.{name}": value.cpu()
        for part, values in parts.items()
        for name, value in values.items()
    }
    return {**named, "order": torch.from_numpy(state.batches.order)}


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a state and check its digest."""
    try:
        check_file(folder / STATE_FILE, _MAX_BYTES)
        with safetensors.safe_open(folder / STATE_FILE, framework="pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name).clone() for name in names}
            written = file.metadata() or {}
        text, digest = written[_FACTS], written[_DIGEST]
    except (OSError, ValueError, safetensors.SafetensorError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: must be the state of an unfinished training, cannot be read: "
            f"{error}. Remove it and train from the start."
        ) from error
    if digest != _digest(text, tensors):
        raise CheckpointError(
            f"{folder}: its SHA-256 must be the one it was written with, the state is "
            "damaged. Remove it and train from the start."
        )
    facts: dict[str, Any] = json.loads(text)
    return facts, tensors


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of everything that a state holds."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name].numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
