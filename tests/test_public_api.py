"""What the package promises by name can be imported, and nothing else is promised."""

import pytest

import trm_bt


@pytest.mark.parametrize("name", trm_bt.__all__)
def test_public_names_are_importable_and_documented(name):
    assert getattr(trm_bt, name).__doc__


def test_the_list_is_sorted_and_complete():
    assert sorted(trm_bt._HOMES) == sorted(trm_bt.__all__) == dir(trm_bt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        trm_bt.Nothing  # noqa: B018
