"""Tables in Markdown."""

from collections.abc import Sequence


def header(titles: Sequence[str]) -> list[str]:
    """Return the two lines that begin a table."""
    return [row(titles), "|---" * len(titles) + "|"]


def row(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"
