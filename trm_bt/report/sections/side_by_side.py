"""Several runs side by side."""

from typing import TYPE_CHECKING

from markupsafe import Markup

from trm_bt.evaluation.benchmarks import OURS
from trm_bt.report.return_charts import growth_chart
from trm_bt.report.templating import fill
from trm_bt.runfolder.records import CrisisRecord

if TYPE_CHECKING:
    from trm_bt.report.runs_page import RunsContent


def side_by_side(page: "RunsContent") -> Markup:
    """Return the section."""
    equity = page.equity
    return fill(
        "side_by_side",
        page,
        rows=[
            (name, folder.summary.out_of_sample, folder.summary.strategies)
            for name, folder in zip(page.names, page.folders, strict=True)
        ],
        ours=OURS,
        growth=growth_chart(equity, page.colours) if len(equity) > 1 else "",
        first=equity.index[0].date() if len(equity) else None,
        crises=_crises(page),
    )


def _crises(page: "RunsContent") -> list[tuple[str, list[tuple[float, float] | None]]]:
    """Return return and drawdown of each run in the crises that one of them covers."""
    starts = {
        c.name: c.start for f in page.folders for c in f.summary.crises if c.covered
    }
    names = sorted(starts, key=lambda name: (starts[name], name))
    by_run = [{c.name: c for c in f.summary.crises} for f in page.folders]
    return [(name, [_cell(crises.get(name)) for crises in by_run]) for name in names]


def _cell(found: CrisisRecord | None) -> tuple[float, float] | None:
    if found is None or found.total_return is None or found.max_drawdown is None:
        return None
    return found.total_return[OURS], found.max_drawdown[OURS]
