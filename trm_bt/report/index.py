"""The page of a run: verdict, crises, strategies, charts, models and provenance."""

from functools import partial
from typing import Final

from trm_bt.report.charts import live_charts
from trm_bt.report.contents import RunContent
from trm_bt.report.sections.calendar import calendar
from trm_bt.report.sections.crises import crises
from trm_bt.report.sections.decisions import decisions
from trm_bt.report.sections.models import models
from trm_bt.report.sections.opening import opening
from trm_bt.report.sections.reliability import reliability
from trm_bt.report.sections.seen import seen
from trm_bt.report.sections.weights import weights
from trm_bt.report.sections.whole_run import whole_run
from trm_bt.report.templating import Section, fill, render_page

_SECTIONS: Final = (
    Section(opening),
    Section(whole_run, "run", "Growth"),
    Section(crises, "crises-head", "Crises"),
    Section(calendar, "months-head", "Months and years"),
    Section(weights, "weights", "Weights"),
    Section(decisions, "decided", "Decisions"),
    Section(seen, "saw", "Model inputs"),
    Section(reliability, "sure", "Calibration"),
    Section(partial(fill, "orders")),
    Section(partial(fill, "schedules")),
    Section(models, "trained", "Models"),
    Section(partial(fill, "provenance"), "origin", "Provenance"),
    Section(partial(fill, "making"), "made", "How it was made"),
)


def render_index(content: RunContent) -> str:
    """Return the index of a run as one HTML document without outside links."""
    return render_page(content.title, _SECTIONS, content, script=live_charts(content))
