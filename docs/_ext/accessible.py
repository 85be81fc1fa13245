"""What the theme leaves out for a keyboard and a screen reader, added to every page."""

from pathlib import Path

from sphinx.application import Sphinx

MENDS = {
    # regions that scroll sideways must be reachable by the keyboard
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper ': '<div tabindex="0" class="table-wrapper ',
    '<div class="cell_output ': '<div tabindex="0" class="cell_output ',
    # the dash behind the types of a parameter
    "</em>) -- ": "</em>) – ",  # noqa: RUF001
    "</strong> -- ": "</strong> – ",  # noqa: RUF001
    "</em> -- ": "</em> – ",  # noqa: RUF001
    "</a>) -- ": "</a>) – ",  # noqa: RUF001
    "</a> -- ": "</a> – ",  # noqa: RUF001
    # a cell without a text heads nothing
    "<th></th>": "<td></td>",
    '<th class="head"><p></p></th>': '<td class="head"></td>',
    '<th class="head text-right"><p></p></th>': '<td class="head"></td>',
    # a page needs a heading of the first level
    '<div id="search-results">': '<h1>Search</h1>\n<div id="search-results">',
    # a heading needs a level, and two landmarks of one kind need names
    '<p class="caption" role="heading">': '<p class="caption">',
    '<aside class="sidebar-drawer"': '<aside aria-label="Site" class="sidebar-drawer"',
    '<aside class="toc-drawer': '<aside aria-label="Page" class="toc-drawer',
}


def mend_pages(app: Sphinx, error: Exception | None) -> None:
    """Rewrite the pages that were built."""
    if error or app.builder.name != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for old, new in MENDS.items():
            text = text.replace(old, new)
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Run after the last page."""
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
