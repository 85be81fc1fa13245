"""The crises of a run: a small chart of each, and the table of their figures."""

from markupsafe import Markup

from trm_bt.report.colours import LINES
from trm_bt.report.contents import RunContent
from trm_bt.report.small_charts import small_chart
from trm_bt.report.templating import fill


def crises(page: RunContent) -> Markup:
    """Return the section; crises without data have a row, and no chart."""
    pictures = {
        window.crisis.name: small_chart(
            window.context / window.context.loc[window.equity.index[0]],
            LINES,
            window.span,
        )
        for window in page.windows
        if not window.reason
    }
    missing: dict[str, list[str]] = {}
    for window in page.windows:
        if window.reason:
            missing.setdefault(window.reason, []).append(window.title)
    return fill("crises", page, pictures=pictures, missing=missing)
