"""Results to pages: tearsheets, the index of a run, and pictures.

The only place where QuantStats and matplotlib are; public names are imported late.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trm_bt.report.cards import hub_card as hub_card
    from trm_bt.report.cards import model_card as model_card
    from trm_bt.report.notebook import show as show
    from trm_bt.report.pages import build as build
    from trm_bt.report.pictures import feature_picture as feature_picture
    from trm_bt.report.pictures import loss_curve as loss_curve
    from trm_bt.report.tearsheets import tearsheet as tearsheet

_HOMES = {
    "build": "pages",
    "feature_picture": "pictures",
    "hub_card": "cards",
    "loss_curve": "pictures",
    "model_card": "cards",
    "show": "notebook",
    "tearsheet": "tearsheets",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
