"""A checkpoint as a folder that model hubs show and serve, and back to the very bytes.

Such a folder has the files of the checkpoint, with its description as `config.json`,
and a `README.md` for people. Nothing is read from the README, so that it may be edited.
"""

from pathlib import Path
from typing import Final

from trm_bt import report
from trm_bt.errors import CheckpointError, RunError
from trm_bt.files import staged_folder
from trm_bt.learning.checkpoint import is_checkpoint, read_checkpoint, store_checkpoint
from trm_bt.learning.sealed import HUB, manifest_of
from trm_bt.manifest import DESCRIPTION_FILE, MANIFEST, check_replaceable
from trm_bt.runfolder.records import ModelRecord
from trm_bt.runs.results import model_record

(README,) = HUB.unread
_CARD: Final = "MODEL_CARD.md"
_SETS: Final = ("*", "*/*", "*/*/*")
"""Where the models of a set, of a set a seed, and of a run folder lie."""


def export_checkpoint(folder: Path, out: Path, *, force: bool = False) -> ModelRecord:
    """Write a checkpoint as a folder for model hubs; nothing is uploaded.

    Parameters
    ----------
    folder : Path
        A checkpoint.
    out : Path
        The new folder.
    force : bool
        Replace an earlier export, unless its README was edited.

    Returns
    -------
    ModelRecord
        What was exported.

    Raises
    ------
    CheckpointError, RunError
        If `folder` is no sound checkpoint, or `out` may not be replaced.
    """
    _check_apart(folder, out)
    check_replaceable(out, marker=HUB.description, force=force)
    _check_single(folder)
    trained, files = read_checkpoint(folder)
    record = model_record(trained)
    files[HUB.description] = files.pop(DESCRIPTION_FILE)
    card = files.get(_CARD, b"").decode(errors="replace").strip()
    files[README] = report.hub_card(record, card).encode()
    with staged_folder(out, may_replace=force) as draft:
        for name, content in {**files, MANIFEST: manifest_of(files)}.items():
            (draft / name).write_bytes(content)
    return record


def import_checkpoint(folder: Path, out: Path, *, force: bool = False) -> ModelRecord:
    """Make a checkpoint of what `export_checkpoint` wrote, equal to the first to a bit.

    Parameters
    ----------
    folder : Path
        The folder, with the files that its manifest lists and no other.
    out : Path
        The checkpoint folder.
    force : bool
        Replace an existing checkpoint.

    Returns
    -------
    ModelRecord
        What was imported.

    Raises
    ------
    CheckpointError, RunError
        If anything in `folder` breaks a rule, or `out` may not be replaced; nothing is
        written then.
    """
    _check_apart(folder, out)
    trained, files = read_checkpoint(folder, HUB)
    store_checkpoint(files, out, force=force)
    return model_record(trained)


def _check_apart(folder: Path, out: Path) -> None:
    """Refuse to write into the folder that is read, which would damage it."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise RunError(
            f"{out}: must lie outside {folder}, which is read. Choose another --out."
        )


def _check_single(folder: Path) -> None:
    """Refuse a folder of several models with the name of one of them."""
    if is_checkpoint(folder):
        return
    inner = [path for depth in _SETS for path in sorted(folder.glob(depth))]
    models = list(filter(is_checkpoint, inner))
    if models:
        raise CheckpointError(
            f"{folder}: must be one checkpoint, and holds {len(models)}. Export one of "
            f"them, such as {models[-1]}."
        )
