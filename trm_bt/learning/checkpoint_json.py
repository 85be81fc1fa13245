"""The JSON of a checkpoint: strict, and in one canonical form.

One content has one sequence of bytes, compared byte for byte, so that no byte of a file
can change unnoticed. What comes from a file is shown in errors on one short line.
"""

import json
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from trm_bt.errors import CheckpointError

FORMAT_VERSION: Final = 1
"""Version of the layout that this package writes, and the only one that it reads."""

_N_SHOWN: Final = 80

_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of what the files hold: no unknown keys, no NaN, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def canonical_json(model: BaseModel) -> bytes:
    """Return sorted, indented JSON of a model: one content, one sequence of bytes."""
    text = json.dumps(
        model.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False
    )
    return (text + "\n").encode()


def parse_canonical(path: Path, model: type[_Model], content: bytes) -> _Model:
    """Parse a file of a checkpoint.

    Parameters
    ----------
    path : Path
        Where the content came from, for errors.
    model : type
        What the content must be; it has a `format_version`.
    content : bytes
        The whole file.

    Returns
    -------
    model
        The content, validated.

    Raises
    ------
    CheckpointError
        If the content is no JSON object, names a key twice, was written in a newer
        format, has an unknown key, lacks one, breaks a rule of the model, or is not in
        canonical form.
    """
    _check_version(path, parse_object(path, content))
    try:
        parsed = model.model_validate_json(content)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {_explain(error)}") from error
    if canonical_json(parsed) != content:
        raise CheckpointError(
            f"{path}: must be in canonical form, byte for byte. Restore the folder "
            "from its source."
        )
    return parsed


def parse_object(path: Path, content: bytes) -> dict[str, object]:
    """Parse a JSON object of which no key, at any depth, is there twice.

    Raises
    ------
    CheckpointError
        If it is anything else.
    """
    try:
        document = json.loads(content.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: must be JSON: {shown(error)}. Restore the folder from its source."
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(
            f"{path}: must be a JSON object, got {type(document).__name__}. Restore "
            "the folder from its source."
        )
    return document


def shown(value: object) -> str:
    r"""Return text from a file as one short line that can be printed anywhere.

    Examples
    --------
    >>> shown("readout.bias")
    'readout.bias'
    >>> shown("two" + chr(10) + "lines")
    "'two\\nlines'"
    """
    text = str(value)
    text = text if len(text) <= _N_SHOWN else text[:_N_SHOWN] + "..."
    return text if text.isascii() and text.isprintable() else ascii(text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make the dict of a JSON object, unless a key comes twice."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {shown(key)} is there twice")
        found[key] = value
    return found


def _check_version(path: Path, document: dict[str, object]) -> None:
    """Say that a file of tomorrow needs the package of tomorrow."""
    version = document.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: written by a newer trm-bt, format {shown(version)}; this one "
            f"reads {FORMAT_VERSION}: upgrade."
        )


def _explain(error: ValidationError) -> str:
    """Turn the first validation error into a sentence or two."""
    first = error.errors()[0]
    key = shown(".".join(map(str, first["loc"])))
    if first["type"] == "extra_forbidden":
        return (
            f"unknown key `{key}`, this format has none of that name. Load the folder "
            "with the trm-bt that wrote it."
        )
    where = f"`{key}`: " if key else ""
    return f"{where}{shown(first['msg'])}. Restore the folder from its source."
