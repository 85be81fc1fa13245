"""What the package promises by name: importable, documented, listed, and no more."""

import ast
import re
from pathlib import Path

import pytest

import trm_bt

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", trm_bt.__all__)
def test_a_public_name_is_ours_and_documented(name):
    found = getattr(trm_bt, name)
    assert found.__module__.startswith("trm_bt.")
    assert found.__doc__


def test_the_list_is_sorted_and_complete():
    assert trm_bt.__all__ == sorted(set(trm_bt.__all__)) == dir(trm_bt)
    assert len(trm_bt.__all__) > 40


def test_no_public_name_is_that_of_a_submodule():
    modules = {path.stem for path in (ROOT / "trm_bt").iterdir()}
    modules |= {"feeds", "strategies", "analyzers"}
    assert not modules & set(trm_bt.__all__)


def test_the_reference_lists_every_public_name_once():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(listed) == trm_bt.__all__


@pytest.mark.parametrize(
    "script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem
)
def test_examples_import_public_names_alone(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("trm_bt"):
            assert node.module == "trm_bt", script
            assert {alias.name for alias in node.names} <= set(trm_bt.__all__)
        elif isinstance(node, ast.Import):
            assert not [a for a in node.names if a.name.startswith("trm_bt")]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        trm_bt.Nothing  # noqa: B018
