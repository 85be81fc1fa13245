"""The page of a comparison: verdict, table, tests, breakdowns and pictures."""

from functools import partial
from typing import Final

import pandas as pd

from trm_bt.evaluation.assessment import ComparisonRecord
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.sections.benchmarks import benchmarks
from trm_bt.report.sections.confusion import confusion
from trm_bt.report.sections.performance import performance
from trm_bt.report.sections.regret import regret
from trm_bt.report.templating import Section, fill, render_page

_SECTIONS: Final = (
    Section(partial(fill, "comparison")),
    Section(benchmarks),
    Section(performance),
    Section(partial(fill, "significance")),
    Section(partial(fill, "costs")),
    Section(partial(fill, "periods")),
    Section(regret),
    Section(confusion),
)


def render_comparison(
    record: ComparisonRecord, equity: pd.DataFrame, excess: pd.DataFrame
) -> str:
    """Return the page of a comparison as one HTML document without outside links.

    Parameters
    ----------
    record, equity, excess
        As in `ComparisonContent`.
    """
    content = ComparisonContent(record, equity, excess)
    return render_page(content.title, _SECTIONS, content)
