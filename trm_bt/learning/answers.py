"""What a trained network answers to rows of features, computed once and kept.

An answer follows from the model, the row and the kernels that multiply: it is kept
under all three. It is kept in memory, and in a folder of the user's cache for the next
process.
"""

import hashlib
import logging
import os
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from platformdirs import user_cache_path

from trm_bt.errors import TRMError
from trm_bt.executors import n_free_cpus
from trm_bt.files import write_atomically
from trm_bt.learning.devices import cpu_threads, full_precision
from trm_bt.learning.model import TinyRecursiveModel, kernel_bits
from trm_bt.learning.nets import Weights
from trm_bt.learning.records import TrainedModel
from trm_bt.reading import read_bytes

SWITCH: Final = "TRM_BT_CACHE"
"""Variable of the environment: "off", or the folder to keep answers in."""
MAX_ROWS: Final = 100_000
"""Answers kept of a model, the newest."""
MAX_BYTES: Final = 2**28
"""Size of all files, of which the oldest go first."""
_MIN_AT_ONCE: Final = 16
_MIN_UNWRITTEN: Final = 256
"""New answers that are worth writing a file for: at once, or one by one."""
_SUFFIX: Final = ".answers"
_N_SEAL: Final = 32
_VERSION: Final = b"1"
_LOG = logging.getLogger(__name__)


class Answers:
    """A network, built when it is needed, and what it has answered before.

    Parameters
    ----------
    trained : TrainedModel
        Whose network it is.
    device : torch.device
        Where it computes; answers of a processor alone are kept.
    is_kept : bool
        Whether answers are kept and earlier ones reused.
    """

    def __init__(
        self, trained: TrainedModel, device: torch.device, *, is_kept: bool
    ) -> None:
        self._trained, self._device = trained, device
        self._n_allocations = len(trained.schema.table)
        self._network: tuple[TinyRecursiveModel, Weights] | None = None
        self._name = ""
        folder = _folder()
        self._is_kept = is_kept and device.type == "cpu" and folder is not None
        self._folder = folder or Path()

    def to(self, rows: np.ndarray) -> np.ndarray:
        """Return what the network answers.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features), float32
            Standardised features.

        Returns
        -------
        ndarray of shape (n_rows,)
            With the fields `row`, `step_logits` of shape (max_steps, n_allocations),
            NaN after the row has halted, `halt_logit` and `n_steps`.
        """
        if not self._is_kept:
            return self._compute(rows)
        self._name = self._name or self._named(rows)
        kept = _kept(self._folder / self._name, self._kind(rows))
        known = kept.get(rows)
        is_new = np.array([answer is None for answer in known], dtype=bool)
        new = self._compute(rows[is_new])
        found = np.empty(len(rows), self._kind(rows))
        found[~is_new] = np.frombuffer(b"".join(filter(None, known)), found.dtype)
        found[is_new] = new
        kept.add(new)
        return found

    def _compute(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty(len(rows), self._kind(rows))
        if not len(rows):
            return found
        with cpu_threads(1), full_precision():
            given = torch.from_numpy(rows).to(self._device)
            network, weights = self._built()
            made = network.predict(given, weights=weights, n_threads=n_free_cpus())
        found["row"] = rows
        found["step_logits"] = made.step_logits.movedim(1, 0).cpu().numpy()
        found["halt_logit"] = made.halt_logits.cpu().numpy()
        found["n_steps"] = made.n_steps.cpu().numpy()
        return found

    def _built(self) -> tuple[TinyRecursiveModel, Weights]:
        if self._network is None:
            config = self._trained.config.model
            network = TinyRecursiveModel(config, n_allocations=self._n_allocations)
            network.load_state_dict(self._trained.parameters)
            network = network.eval().to(self._device)
            with torch.inference_mode():
                self._network = network, network.weights()
        return self._network

    def _kind(self, rows: np.ndarray) -> np.dtype[np.void]:
        shape = self._trained.config.model.max_supervision_steps, self._n_allocations
        return np.dtype(
            [
                ("row", np.float32, (rows.shape[1],)),
                ("step_logits", np.float32, shape),
                ("halt_logit", np.float32),
                ("n_steps", np.int32),
            ]
        )

    def _named(self, rows: np.ndarray) -> str:
        """Name the file after all that an answer follows from but the row."""
        with cpu_threads(1), full_precision():
            config = self._trained.config.model
            bits = kernel_bits(config, (rows.shape[1], self._n_allocations))
        parts = _VERSION, config.model_dump_json().encode(), bits
        found = hashlib.sha256(b"\n".join(parts))
        found.update(model_fingerprint(self._trained).encode())
        return found.hexdigest() + _SUFFIX


class Kept:
    """Answers by row, in memory and in one file, which is read once.

    Parameters
    ----------
    path : Path
        The file; one that is damaged counts as none, and is written again.
    kind : dtype
        Of an answer, with the field `row`.
    """

    def __init__(self, path: Path, kind: np.dtype[np.void]) -> None:
        self._path = path
        self._n_unwritten = 0
        answers = _read(path, kind)
        self._by_row = dict(zip(_bytes(answers["row"]), _bytes(answers), strict=True))

    def get(self, rows: np.ndarray) -> list[bytes | None]:
        """Return the bytes of the answer to each row, None where there is none."""
        return [self._by_row.get(row) for row in _bytes(rows)]

    def add(self, answers: np.ndarray) -> None:
        """Keep answers; write the file if there are enough new ones."""
        if not len(answers):
            return
        new = zip(_bytes(answers["row"]), _bytes(answers), strict=True)
        self._by_row.update(new)
        for row in list(islice(self._by_row, max(0, len(self._by_row) - MAX_ROWS))):
            del self._by_row[row]
        self._n_unwritten += len(answers)
        if len(answers) >= _MIN_AT_ONCE or self._n_unwritten >= _MIN_UNWRITTEN:
            self._n_unwritten = 0
            _write(self._path, b"".join(self._by_row.values()))


def model_fingerprint(model: TrainedModel) -> str:
    """Return the SHA-256 of a model's parameters and of what it takes for usual."""
    found = hashlib.sha256()
    for name, values in sorted(model.parameters.items()):
        found.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
    for moments in (model.scaler.mean, model.scaler.std):
        found.update(moments.tobytes())
    return found.hexdigest()


@lru_cache(maxsize=64)
def _kept(path: Path, kind: np.dtype[np.void]) -> Kept:
    """Return the answers of a file, the same ones for every policy of this process."""
    return Kept(path, kind)


def _folder() -> Path | None:
    """Return the folder of answers, None if none are to be kept."""
    given = os.environ.get(SWITCH, "")
    if given == "off":
        return None
    return Path(given).expanduser() if given else user_cache_path("trm_bt") / "answers"


def _bytes(rows: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in np.ascontiguousarray(rows)]


def _read(path: Path, kind: np.dtype[np.void]) -> np.ndarray:
    """Return the answers of a file whose digest is right, none of any other."""
    with suppress(OSError, ValueError):
        content = read_bytes(path, MAX_ROWS * kind.itemsize + _N_SEAL)
        seal, answers = content[:_N_SEAL], content[_N_SEAL:]
        if hashlib.sha256(answers).digest() == seal:
            return np.frombuffer(answers, kind)
    return np.empty(0, kind)


def _write(path: Path, answers: bytes) -> None:
    """Write a file, and remove the oldest ones if there are too many by now."""
    sealed = hashlib.sha256(answers).digest() + answers
    try:
        write_atomically(path, lambda draft: draft.write_bytes(sealed))
        files = [(one.stat(), one) for one in path.parent.glob(f"*{_SUFFIX}")]
        files.sort(key=lambda pair: -pair[0].st_mtime_ns)
        n_bytes = 0
        for status, one in files:
            n_bytes += status.st_size
            if n_bytes > MAX_BYTES:
                one.unlink(missing_ok=True)
    except (OSError, TRMError) as error:
        _LOG.debug("%s: answers are not kept: %s", path, error)
