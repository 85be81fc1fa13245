"""Several finished runs, read again and put side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trm_bt.errors import ConfigError
from trm_bt.files import staged_folder
from trm_bt.manifest import check_replaceable
from trm_bt.report.runs_page import MAX_RUNS, RunsContent, render_runs
from trm_bt.runfolder.store import read_run, write_json

MARKER: Final = "runs.json"
PAGE: Final = "index.html"


def place_beside(folders: Sequence[Path]) -> Path:
    """Return where the page of several runs goes: next to the first of them."""
    names = "_".join(folder.absolute().name for folder in folders)
    return folders[0].absolute().parent / f"side_by_side_{names}"


def place_runs_beside(
    folders: Sequence[Path], *, out: Path | None = None, force: bool = False
) -> RunsContent:
    """Put runs side by side: settings that differ, figures, crises and equity.

    Parameters
    ----------
    folders : sequence of Path
        Two to six folders of finished runs.
    out : Path, optional
        Folder of the result; None for `place_beside`.
    force : bool
        Replace an earlier result.

    Returns
    -------
    RunsContent
        What the page shows.

    Raises
    ------
    ConfigError, RunError
        If there are too few or too many, a run is given twice, or one cannot be read.
    """
    if not 2 <= len(folders) <= MAX_RUNS:
        raise ConfigError(
            f"A side-by-side page needs 2 to {MAX_RUNS} runs, got {len(folders)}."
        )
    paths = [folder.resolve() for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"{path}: each run must be given once, got it twice.")
    target = out or place_beside(folders)
    check_replaceable(target, marker=MARKER, force=force)
    content = RunsContent([read_run(folder) for folder in folders])
    page = render_runs(content, target)
    with staged_folder(target) as folder:
        write_json(folder / MARKER, content.to_dict())
        (folder / PAGE).write_text(page, encoding="utf-8")
    return content
