"""A Tiny Recursive Model that allocates between equity, bond and cash in Backtrader.

Public names are loaded when first used, so that importing the package stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trm_bt.analyzers.allocation_labeler import AllocationLabeler
    from trm_bt.backtest import run_backtest
    from trm_bt.config import TRMConfig
    from trm_bt.feeds import load_bars
    from trm_bt.indicators import MarketFeatures
    from trm_bt.learning.model import TinyRecursiveModel
    from trm_bt.learning.policy import TRMPolicy
    from trm_bt.market.label_table import load_labels
    from trm_bt.report import tearsheet
    from trm_bt.strategies.baselines import FixedMix
    from trm_bt.strategies.trm_allocator import TRMAllocator

__all__ = [
    "AllocationLabeler",
    "FixedMix",
    "MarketFeatures",
    "TRMAllocator",
    "TRMConfig",
    "TRMPolicy",
    "TinyRecursiveModel",
    "load_bars",
    "load_labels",
    "run_backtest",
    "tearsheet",
]

_HOMES = {
    "AllocationLabeler": "trm_bt.analyzers.allocation_labeler",
    "FixedMix": "trm_bt.strategies.baselines",
    "MarketFeatures": "trm_bt.indicators",
    "TRMAllocator": "trm_bt.strategies.trm_allocator",
    "TRMConfig": "trm_bt.config",
    "TRMPolicy": "trm_bt.learning.policy",
    "TinyRecursiveModel": "trm_bt.learning.model",
    "load_bars": "trm_bt.feeds",
    "load_labels": "trm_bt.market.label_table",
    "run_backtest": "trm_bt.backtest",
    "tearsheet": "trm_bt.report",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'trm_bt' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
