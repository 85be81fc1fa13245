"""The top of a run's page: what came out, in sentences."""

from markupsafe import Markup

from trm_bt.report.contents import RunContent
from trm_bt.report.headline import constant_mix, contrasts, habit, headline
from trm_bt.report.templating import fill


def opening(page: RunContent) -> Markup:
    """Return the section."""
    summary = page.folder.summary
    chosen = page.decisions["allocation"]
    shares = {
        name: float((chosen == allocation).sum()) / max(len(chosen), 1)
        for allocation, name in enumerate(page.allocations.names)
    }
    sentences = headline(
        contrasts(summary.strategies, summary.leads), summary.out_of_sample
    )
    targets = page.decisions.loc[chosen.notna(), ["target_equity", "target_bond"]]
    if constant := constant_mix(targets):
        sentences.insert(0, constant)
    elif habitual := habit(shares):
        sentences.append(habitual)
    return fill("opening", page, sentences=sentences)
