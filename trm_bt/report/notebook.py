"""Pages shown inside a notebook."""

import html
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from trm_bt.errors import RunError
from trm_bt.reading import TABLE_BYTES, read_text
from trm_bt.report.tearsheets import tearsheet_html
from trm_bt.runfolder.records import INDEX


@dataclass(frozen=True)
class InlinePage:
    """A page that a notebook shows in place, apart from the notebook's own styles.

    Parameters
    ----------
    html : str
        The whole document.
    height : int
        Pixels of the frame.
    """

    html: str = field(repr=False)  # a notebook keeps the text of what it shows as well
    height: int

    def _repr_html_(self) -> str:
        """Return a frame that holds the document and may run only its own scripts."""
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" '
            f'width="100%" height="{self.height}" style="border:0"></iframe>'
        )


def show(
    source: object,
    *,
    benchmark: pd.Series | str | None = None,
    title: str = "Tearsheet",
    height: int = 900,
) -> InlinePage:
    """Show a tearsheet in a notebook: make it the last expression of a cell.

    Parameters
    ----------
    source : str, Path, bt.Strategy or Series of shape (n_sessions,)
        A run folder, a page of one, or whatever `trm_bt.report.tearsheet` takes.
    benchmark : Series of shape (n_benchmark,) or str, optional
        What `trm_bt.report.tearsheet` takes; not for a page that is there.
    title : str
        Heading of the tearsheet; not for a page that is there.
    height : int
        Pixels of the frame.

    Raises
    ------
    RunError
        If there is no such page, or no daily returns are found.
    """
    if not isinstance(source, str | Path):
        return InlinePage(tearsheet_html(source, benchmark, title), height)
    page = Path(source)
    try:
        page = page / INDEX if page.is_dir() else page
        return InlinePage(read_text(page, TABLE_BYTES), height)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{page}: cannot be read as a page: {error}. Make it with "
            "`trm-bt report` or `trm_bt.report.tearsheet`."
        ) from error
