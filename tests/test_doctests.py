"""Every example in a docstring runs, under the name the module installs as."""

import doctest
from importlib import import_module

import pytest

from tests.test_architecture import MODULES

WITH_EXAMPLES = [name for name, path in MODULES.items() if ">>>" in path.read_text()]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_docstring_examples_hold(name):
    results = doctest.testmod(import_module(name), raise_on_error=False)
    assert results.attempted
    assert not results.failed
