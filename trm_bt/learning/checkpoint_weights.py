"""Decode the parameters of a checkpoint, held to the model that its settings describe.

The header of a safetensors file is its length in 8 bytes and as many bytes of JSON. It
is checked here before the library sees the file: it must name the model's parameters,
their types and shapes, and nothing else.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from trm_bt.config import ModelConfig
from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint_json import parse_object, shown
from trm_bt.learning.model import TinyRecursiveModel

MAX_HEADER_BYTES: Final = 2**16
"""A header has some hundred bytes a parameter tensor."""
MAX_DATA_BYTES: Final = 2**30
"""Far more than any tiny model needs; larger settings are refused unbuilt."""

_LENGTH_BYTES: Final = 8
_BYTES_PER_ELEMENT: Final = 4
_DTYPE: Final = "F32"
_ENTRY_KEYS: Final = {"dtype", "shape", "data_offsets"}

Shapes = Mapping[str, tuple[int, ...]]


def parameter_shapes(path: Path, config: ModelConfig) -> Shapes:
    """Return the shape of each parameter of a model, without making the model.

    Parameters
    ----------
    path : Path
        Where the settings came from, for errors.
    config : ModelConfig
        Settings of the model.

    Raises
    ------
    CheckpointError
        If the parameters would take more than a gibibyte.
    """
    # Every architecture multiplies its states by a square matrix or more.
    if _BYTES_PER_ELEMENT * config.hidden_dim**2 <= MAX_DATA_BYTES:
        with torch.device("meta"):
            state = TinyRecursiveModel(config).state_dict()
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if n_data_bytes(shapes) <= MAX_DATA_BYTES:
            return shapes
    raise CheckpointError(
        f"{path}: `config.model` must describe a model of at most {MAX_DATA_BYTES} "
        f"bytes, got `hidden_dim` {shown(config.hidden_dim)}. Do not use this folder."
    )


def n_data_bytes(shapes: Shapes) -> int:
    """Return the bytes that parameters of these shapes take in float32."""
    return _BYTES_PER_ELEMENT * sum(map(math.prod, shapes.values()))


def max_file_bytes(shapes: Shapes) -> int:
    """Return the largest size of a file that holds parameters of these shapes."""
    return _LENGTH_BYTES + MAX_HEADER_BYTES + n_data_bytes(shapes)


def decode_weights(path: Path, content: bytes, shapes: Shapes) -> dict[str, Tensor]:
    """Decode a safetensors file whose header says exactly what the model needs.

    Parameters
    ----------
    path : Path
        Where the content came from, for errors.
    content : bytes
        The whole file.
    shapes : mapping of str to tuple of int
        What `parameter_shapes` returned.

    Returns
    -------
    dict of str to Tensor
        The parameters, float32, each of its shape and finite.

    Raises
    ------
    CheckpointError
        If the header is too long, cut, or no JSON; if it has an unknown or a missing
        name, another type or shape; if bytes are missing or left over; if an element
        is not finite.
    """
    header, n_found = _split(path, content)
    if set(header) != set(shapes):
        odd = ", ".join(sorted(set(header) ^ set(shapes)))
        raise CheckpointError(
            f"{path}: must hold the parameters of the model and no other, differs in "
            f"{shown(odd)}. Restore the folder from its source."
        )
    for name, shape in shapes.items():
        _check_entry(path, name, shape, header[name])
    if n_found != n_data_bytes(shapes):
        raise CheckpointError(
            f"{path}: must hold {n_data_bytes(shapes)} bytes of parameters behind its "
            f"header, got {n_found}. Restore the folder from its source."
        )
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path}: is no safetensors file: {shown(error)}. Restore the folder from "
            "its source."
        ) from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: `{name}` must be finite in every element, and is not. Train "
                "the model anew."
            )
    return tensors


def _split(path: Path, content: bytes) -> tuple[dict[str, object], int]:
    """Return the header, and how many bytes of data follow it."""
    n_header = int.from_bytes(content[:_LENGTH_BYTES], "little")
    n_rest = len(content) - _LENGTH_BYTES
    if n_header > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{path}: its header must have at most {MAX_HEADER_BYTES} bytes, claims "
            f"{n_header}. Do not use this folder."
        )
    if n_header > n_rest:
        raise CheckpointError(
            f"{path}: is no safetensors file: {len(content)} bytes, too short for its "
            f"length and a header of {n_header}. Restore the folder from its source."
        )
    header = parse_object(path, content[_LENGTH_BYTES : _LENGTH_BYTES + n_header])
    return header, n_rest - n_header


def _check_entry(path: Path, name: str, shape: tuple[int, ...], entry: object) -> None:
    """Hold what the header says of a parameter to what the model needs."""
    if not isinstance(entry, dict) or set(entry) != _ENTRY_KEYS:
        raise CheckpointError(
            f"{path}: the header must say {', '.join(sorted(_ENTRY_KEYS))} of `{name}` "
            f"and no more, got {shown(entry)}. Do not use this folder."
        )
    if entry["dtype"] != _DTYPE:
        raise CheckpointError(
            f"{path}: `{name}` must be of type {_DTYPE}, got {shown(entry['dtype'])}. "
            "Do not use this folder."
        )
    if entry["shape"] != list(shape):
        raise CheckpointError(
            f"{path}: `{name}` must have shape {list(shape)}, got "
            f"{shown(entry['shape'])}. Do not use this folder."
        )
