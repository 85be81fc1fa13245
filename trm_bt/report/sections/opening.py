"""The top of a run's page: what came out, in sentences."""

from markupsafe import Markup

from trm_bt.report.contents import RunContent
from trm_bt.report.headline import contrasts, habit, headline
from trm_bt.report.templating import fill


def opening(page: RunContent) -> Markup:
    """Return the section."""
    summary = page.folder.summary
    chosen = page.decisions["allocation"]
    shares = {
        name: float((chosen == allocation).sum()) / max(len(chosen), 1)
        for allocation, name in enumerate(page.allocations.names)
    }
    sentences = headline(contrasts(summary.strategies), summary.out_of_sample)
    if habitual := habit(shares):
        sentences.append(habitual)
    return fill("opening", page, sentences=sentences)
