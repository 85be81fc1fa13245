"""Whose a run folder is: made for a run, found to be its own, or already done."""

from collections.abc import Iterable
from pathlib import Path

from trm_bt.errors import RunError
from trm_bt.files import staged_files, staged_folder
from trm_bt.manifest import (
    MANIFEST,
    check_replaceable,
    check_unchanged,
    manifest_text,
    names_in,
    read_manifest,
)
from trm_bt.runfolder.records import (
    CHECKPOINTS,
    COMPARISON,
    RUN,
    TEARSHEETS,
    RunRecord,
)
from trm_bt.runfolder.store import read_run_record, write_json


def claim(out: Path, record: RunRecord, models: Iterable[Path], *, force: bool) -> bool:
    """Make a folder a run's, or find that it is already; return whether it is done.

    Parameters
    ----------
    out : Path
        The run folder.
    record : RunRecord
        The run.
    models : iterable of Path
        Where in `out` its checkpoints go.
    force : bool
        Replace another run.

    Raises
    ------
    RunError
        If the folder is of another run, or holds what this package did not write.
    """
    try:
        earlier = read_run_record(out, may_be_unfinished=True)
    except RunError:  # no run, or an unreadable one
        pass
    else:
        if earlier.is_of(record):
            check_unchanged(out)
            check_replaceable(out / TEARSHEETS, force=True)
            files = [name for name in read_manifest(out) if name[-1] != "/"]
            return earlier.is_reported and all((out / name).is_file() for name in files)
        if earlier.finished and not (out / CHECKPOINTS).is_dir():
            raise RunError(
                f"{out}: holds a backtest, which no run replaces. Choose another --out."
            )
        if not force:
            raise RunError(
                f"{out}: holds a run with other settings, bars or versions. Choose "
                "another --out, or pass --force to replace it."
            )
    check_replaceable(out, marker=RUN, force=force)
    above = {parent for model in models for parent in (model, *model.parents)}
    own = [path for path in above if out in path.parents]
    with staged_folder(out) as draft:
        write_json(draft / RUN, record)
        announce(draft, [path.relative_to(out).as_posix() for path in own])
    return False


def announce(draft: Path, inner: Iterable[str] = ()) -> None:
    """Write a manifest that also names the folders that a run gets later.

    Parameters
    ----------
    draft : Path
        The new folder, with its files.
    inner : iterable of str
        Folders of it beside those of its pages, relative to it.
    """
    names = {f"{name}/": None for name in (TEARSHEETS, COMPARISON, *inner)}
    text = manifest_text(names_in(draft) | names)
    (draft / MANIFEST).write_text(text, encoding="utf-8")


def write_record(out: Path, record: RunRecord) -> None:
    """Write run.json again, with what became known of the run."""
    with staged_files(out) as new:
        write_json(new / RUN, record)
