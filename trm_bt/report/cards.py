"""The model card: what a checkpoint is, what it saw, and how far to trust it.

References
----------
Mitchell, M. et al. (2019). Model Cards for Model Reporting. arXiv:1810.03993.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from markdown_it import MarkdownIt
from markupsafe import Markup

from trm_bt.config import TRMConfig
from trm_bt.figures import number, percent
from trm_bt.market.features import FeatureSchema
from trm_bt.market.label_table import LabelSummary
from trm_bt.report.templating import environment
from trm_bt.runfolder.records import BarsRecord, ModelRecord

_FOLDED: Final = re.compile(r"^<details>.*?^</details>$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class CardFacts:
    """What a model card says.

    Parameters
    ----------
    model, bars, schema, config
        The model, its settings, and the bars up to the last session that it knows.
    train_end, validation_start, validation_end : date
        Deciding sessions at the edges of its rows.
    n_epochs, n_parameters : int
    mean_steps : float
        Supervision steps on the validation rows.
    features : sequence of (name, status, mean, standard deviation)
    labels : LabelSummary
        Of the training rows.
    crises : sequence of (name, labels trained on, labels validated on, verdict)
    versions : dict of str to str
    """

    model: ModelRecord
    bars: BarsRecord
    train_end: date
    validation_start: date
    validation_end: date
    n_epochs: int
    mean_steps: float
    schema: FeatureSchema
    features: Sequence[tuple[str, str, float, float]]
    labels: LabelSummary
    crises: Sequence[tuple[str, int, int, str]]
    config: TRMConfig
    n_parameters: int
    versions: dict[str, str]


def model_card(facts: CardFacts) -> str:
    """Return the card of a trained model as markdown."""
    return _filled("model_card", **vars(facts))


def hub_card(model: ModelRecord, card: str) -> str:
    """Return the README of a model on a hub: front matter in YAML, then its card.

    Parameters
    ----------
    model : ModelRecord
        What the front matter says.
    card : str
        The model card, or nothing.
    """
    return _filled("hub_card", model=model, card=card)


def _filled(name: str, **facts: object) -> str:
    """Return a template of markdown, filled in."""
    templates = environment().overlay(autoescape=False)
    templates.filters = templates.filters | {
        "plain": plain,
        "percent": lambda value: percent(value),
        "basis_points": lambda value: f"{number(value * 1e4)} bp",
    }
    return templates.get_template(f"templates/{name}.md").render(facts)


def card_html(card: str) -> Markup:
    r"""Return a model card as HTML that holds text and tables, and nothing live.

    The settings that the card folds away are left out: the page shows them itself.

    Parameters
    ----------
    card : str
        Markdown of any origin; raw HTML in it is shown as text, links are not followed.

    Examples
    --------
    >>> print(card_html("**Bold** <script>[x](http://x)").strip())
    <p><strong>Bold</strong> &lt;script&gt;[x](http://x)</p>
    >>> "<th></th>" in card_html("| | a |\n|-|-|\n| b | 1 |")
    False
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.disable(["link", "image", "autolink", "reference", "html_inline"])
    html = markdown.render(_FOLDED.sub("", card))
    return Markup(html.replace("<th></th>", "<td></td>"))  # a head must say something


def plain(text: object) -> str:
    r"""Return text that markdown shows as it is, on one line.

    Examples
    --------
    >>> print(plain("a | <b> *c*"))
    a \| &lt;b> \*c\*
    """
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*_`\[\]])", r"\\\1", line)
