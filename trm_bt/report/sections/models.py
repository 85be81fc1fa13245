"""The models of a run: what each was trained on, its losses, and its card."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trm_bt.report.cards import card_html
from trm_bt.report.colours import LIGHT
from trm_bt.report.contents import RunContent
from trm_bt.report.drawing import WIDTH, as_svg, small_panels
from trm_bt.report.models import ModelText
from trm_bt.report.templating import fill, label

_MAX_PANELS: Final = 24
_COLUMNS: Final = 4


def models(page: RunContent) -> Markup:
    """Return the section; losses and cards of the models that have a checkpoint."""
    trained = [model.name for model in page.folder.run.models]
    texts = [page.models[name] for name in trained if name in page.models]
    drawn = texts[:_MAX_PANELS]
    return fill(
        "models",
        page,
        picture=_chart(drawn) if drawn else "",
        n_drawn=len(drawn),
        cards=[(text.name, card_html(text.card)) for text in texts if text.card],
    )


@as_svg
def _chart(texts: Sequence[ModelText]) -> Figure:
    """Draw the losses of each model by epoch, with a dot on the epoch that was kept."""
    figure, grid = small_panels(len(texts), _COLUMNS, WIDTH / _COLUMNS, 2.1)
    for axes, text in zip(grid, texts, strict=True):
        history = text.history
        for column, colour in (("train_loss", "trm"), ("validation_loss", "spy")):
            losses = history[column]
            axes.plot(history["epoch"], losses, color=LIGHT[colour], linewidth=1.2)
        kept = history[history["epoch"] == text.best_epoch]
        axes.plot(kept["epoch"], kept["validation_loss"], "o", color=LIGHT["spy"])
        axes.set_title(label(text.name), fontsize=9.5, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return figure
