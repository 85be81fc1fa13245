"""The whole run: growth and drawdown, and the figures of every strategy."""

from typing import Final

from markupsafe import Markup

from trm_bt.evaluation.benchmarks import MATCHED
from trm_bt.report.colours import LINES
from trm_bt.report.contents import RunContent
from trm_bt.report.csv_tables import CSV_TABLES
from trm_bt.report.return_charts import growth_chart
from trm_bt.report.templating import fill
from trm_bt.runfolder.records import COMPARISON, COMPARISON_PAGE

NO_COMPARISON: Final = Markup(
    '<span id="comparison">With every benchmark: <code>trm-bt compare</code>.</span>'
)
"""What an index says until its run has been compared."""
COMPARISON_LINK: Final = Markup(
    f'<span id="comparison"><a href="{COMPARISON}/{COMPARISON_PAGE}">'
    "Compared with every benchmark</a>.</span>"
)
"""What it says then."""


def whole_run(page: RunContent) -> Markup:
    """Return the section."""
    named = [
        (window.title, window.span) for window in page.windows if not window.reason
    ]
    table = page.allocations
    mixes = {
        name: "/".join(f"{weight:.0%}".rstrip("%") for weight in weights)
        for name, weights in zip(table.names, table.weights, strict=True)
    }
    equity = page.folder.equity[list(LINES)]
    compared = page.folder.path / COMPARISON / COMPARISON_PAGE
    return fill(
        "whole_run",
        page,
        mixes=mixes,
        matched=MATCHED,
        comparison=COMPARISON_LINK if compared.is_file() else NO_COMPARISON,
        tables=CSV_TABLES,
        picture=growth_chart(equity, LINES, named),
    )
