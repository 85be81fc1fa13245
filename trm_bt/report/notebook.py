"""Pages shown inside a notebook."""

import html
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trm_bt.errors import RunError
from trm_bt.reading import TABLE_BYTES, read_text
from trm_bt.report.tearsheets import tearsheet_html


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

    html: str
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
    benchmark: pd.Series | None = None,
    title: str = "Tearsheet",
    height: int = 900,
) -> InlinePage:
    """Show a tearsheet in a notebook: make it the last expression of a cell.

    Parameters
    ----------
    source : str, Path, bt.Strategy or Series of shape (n_sessions,)
        A page of a run folder, or whatever `trm_bt.report.tearsheet` takes.
    benchmark : Series of shape (n_benchmark,), optional
        Daily returns to compare with; not for a page that is there.
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
    try:
        return InlinePage(read_text(Path(source), TABLE_BYTES), height)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{source}: cannot be read as a page: {error}. Make it with "
            "`trm-bt report` or `trm_bt.report.tearsheet`."
        ) from error
