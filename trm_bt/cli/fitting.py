"""Tables that leave columns out rather than cut a number."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table


class FittedTable(Table):
    """A table that knows which of its columns a narrow terminal can do without."""

    def __init__(self, title: str) -> None:
        super().__init__(title=title)
        self._spare: list[str] = []

    def add(self, column: str) -> None:
        """Add a column; `?` marks one to spare, `>` one that is aligned to the right.

        The first column, and those on the right, are never wrapped.
        """
        name = column.removeprefix("?").removeprefix(">")
        if column.startswith("?"):
            self._spare.append(name)
        is_number = ">" in column[:2]
        self.add_column(
            name,
            justify="right" if is_number else "left",
            no_wrap=is_number or not self.columns,
            min_width=len(name),
        )

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Render what there is room for: first lines go, then columns to spare."""
        self._fit(console, options.max_width)
        yield from super().__rich_console__(console, options)

    def _fit(self, console: Console, width: int) -> None:
        if self._narrowest(console) > width:
            self.box, self.pad_edge, self.padding = SIMPLE_HEAD, False, (0, 1, 0, 0)
        while self._spare and self._narrowest(console) > width:
            spared = self._spare.pop()
            at = next(i for i, it in enumerate(self.columns) if it.header == spared)
            del self.columns[at]
            for place, column in enumerate(self.columns):
                column._index = place  # which edges are padded depends on it

    def _narrowest(self, console: Console) -> int:
        """Return how wide the table must be so that no word and no number is cut."""
        options = console.options.update(max_width=10_000)
        return self.__rich_measure__(console, options).minimum


def fitted(title: str, *columns: str) -> FittedTable:
    """Return a table with these columns, spelled as `FittedTable.add` takes them."""
    table = FittedTable(title)
    for column in columns:
        table.add(column)
    return table
