"""The model card: what a checkpoint is, what it saw, and how far to trust it.

References
----------
Mitchell, M. et al. (2019). Model Cards for Model Reporting. arXiv:1810.03993.
"""

import re
from collections.abc import Mapping

from trm_bt.report.templating import environment, number, percent


def model_card(facts: Mapping[str, object]) -> str:
    """Return the card of a trained model as markdown.

    Parameters
    ----------
    facts : mapping
        What `trm_bt.training.card_facts` returns.
    """
    templates = environment().overlay(autoescape=False)
    templates.filters |= {
        "plain": plain,
        "percent": lambda value: percent(value),
        "basis_points": lambda value: f"{number(value * 1e4)} bp",
    }
    return templates.get_template("model_card.md").render(**facts)


def plain(text: object) -> str:
    r"""Return text that markdown shows as it is, on one line.

    Examples
    --------
    >>> print(plain("a | <b> *c*"))
    a \| &lt;b> \*c\*
    """
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*_`\[\]])", r"\\\1", line)
