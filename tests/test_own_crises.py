"""Windows of one's own: read from JSON and CSV, and never believed."""

import json
import re

import pandas as pd
import pytest

from trm_bt.errors import ConfigError
from trm_bt.market.crises import CRISES, Crisis, read_crises
from trm_bt.report.crisis_windows import Window
from trm_bt.report.pages import crisis_frame

WIDE_SIGNS = (0xFF1D, 0xFF0B, 0xFF0D, 0xFF20)
"""Full-width forms of = + - @."""
TAPER = {"name": "taper tantrum", "start": "2013-05-22", "end": "2013-06-24"}


def test_json_and_csv_say_the_same(tmp_path):
    (tmp_path / "own.json").write_text(json.dumps([TAPER]))
    text = "\ufeffname,start,end\ntaper tantrum, 2013-05-22,2013-06-24\n"
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    day = pd.Timestamp
    expected = (Crisis("taper tantrum", day("2013-05-22"), day("2013-06-24")),)
    assert read_crises(tmp_path / "own.json") == expected
    assert read_crises(tmp_path / "own.csv") == expected


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ([], "must list at least one window"),
        ({"a": 1}, "must list at least one window"),
        (["x"], "window 1: must be an object, got str"),
        (
            [TAPER, {"name": "x", "start": "2013-01-01"}],
            "window 2: must have the text `end`",
        ),
        ([{**TAPER, "name": 7}], "must have the text `name`, got 7"),
        ([{**TAPER, "name": "a\nb"}], "`name` must be one line"),
        ([{**TAPER, "name": "a" * 81}], "at most 80 characters, got 81"),
        ([{**TAPER, "start": "22.5.2013"}], "must be a date as YYYY-MM-DD"),
        ([{**TAPER, "end": "2013-05-21"}], "2013-05-21 < 2013-05-22"),
        ([TAPER, TAPER], "the name 'taper tantrum' is taken"),
        ([{**TAPER, "name": CRISES[0].name}], "is taken"),
    ],
)
def test_a_bad_window_is_named(content, rule, tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=re.escape(rule)):
        read_crises(path)


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("own.json", b"{", "cannot be read as windows"),
        ("own.csv", b"\xff\xfe", "cannot be read as windows"),
        ("own.csv", b"a,b\n1,2\n", "window 1: must have the text `name`, got None"),
        ("own.txt", b"x", "must end in .json or .csv, got '.txt'"),
        ("own.json", b" " * 2**21, "must have at most"),
    ],
)
def test_a_bad_file_is_named(name, content, rule, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(rule)):
        read_crises(path)
    with pytest.raises(ConfigError, match="cannot be read as windows"):
        read_crises(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("first", "last", "missing"),
    [
        ("2013-05-21", "2013-06-24", ""),
        ("2013-05-22", "2013-06-24", "only in part: the bars' span begins 2013-05-22"),
        ("2013-05-21", "2013-06-21", "only in part: the bars' span ends 2013-06-21"),
        ("2013-07-01", "2013-08-01", "not within the bars' span"),
    ],
)
def test_what_is_missing_of_a_window_is_said(first, last, missing):
    day = pd.Timestamp
    taper = Crisis("taper tantrum", day("2013-05-22"), day("2013-06-24"))
    assert taper.missing(pd.bdate_range(first, last)) == missing


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", *map(chr, WIDE_SIGNS)])
def test_no_name_of_ones_own_becomes_a_formula(tmp_path, sign):
    name = f"{sign}HYPERLINK(1)"
    (tmp_path / "own.json").write_text(json.dumps([{**TAPER, "name": name}]))
    (crisis,) = read_crises(tmp_path / "own.json")
    window = Window(crisis, is_own=True, reason="not covered")
    assert crisis_frame([window])["crisis"].tolist() == [f"'{name}"]
