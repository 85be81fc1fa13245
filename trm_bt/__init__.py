"""A Tiny Recursive Model that allocates between equity, bond and cash in Backtrader.

The public names are those that the stub next to this file imports. Each is loaded when
it is first used, so that importing the package loads no framework.
"""

import ast
import logging
from importlib import import_module

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent by default
_stub = ast.parse(__spec__.loader.get_data(f"{__file__}i"))
_HOMES = {
    alias.name: node.module
    for node in _stub.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'trm_bt' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
