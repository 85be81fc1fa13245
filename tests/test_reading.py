"""Files are read bounded: no pipe is waited on, no size believed, no bomb decoded."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trm_bt.parquet import open_parquet, read_parquet
from trm_bt.reading import check_file, check_json, read_bytes, read_json, read_text
from trm_bt.text import iso_date, one_line, shorten, shown


def test_a_regular_file_is_read_through_a_link_too(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    assert read_bytes(tmp_path / "b", 5) == b"12345"
    with pytest.raises(ValueError, match="at most 4 bytes"):
        read_bytes(tmp_path / "a", 4)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/tty")):
        with pytest.raises((ValueError, OSError)):
            read_bytes(path, 10)
    with pytest.raises((ValueError, OSError)):
        read_bytes(tmp_path, 10)
    with pytest.raises(ValueError, match="regular file"):
        check_file(tmp_path / "pipe", 10)


def test_text_is_utf_8_with_or_without_a_mark(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfgr\xc3\xbcn")
    assert read_text(tmp_path / "a") == "grün"
    (tmp_path / "a").write_bytes(b"gr\xfcn")
    with pytest.raises(ValueError, match="UTF-8"):
        read_text(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "recursion"),
        ('{"a":' * 100_000, "recursion"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "has 'c' twice"),
        ("{", "EOF"),
        ("", "EOF"),
        ("9" * 5000, "number"),
        ('"\\ud800"', "hex escape"),
    ],
)
def test_json_is_shallow_and_has_no_key_twice(tmp_path, text, reason):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_json(tmp_path / "a.json")


def test_plain_json_passes():
    check_json('{"a": [1, 2.5, null, {"a": "b"}]}')


def write(path, frame):
    frame.to_parquet(path)
    return path


def test_a_table_is_what_pandas_reads(tmp_path):
    frame = pd.DataFrame(
        {"a": [1.0, np.nan], "b": ["x", None], "c": pd.array([1, None], "Int64")},
        pd.bdate_range("2020-01-01", periods=2, name="session"),
    )
    frame.attrs = {"schema": {"a": 1}}
    path = write(tmp_path / "a.parquet", frame)
    pd.testing.assert_frame_equal(read_parquet(path), pd.read_parquet(path))
    assert read_parquet(path).attrs == frame.attrs


def bomb_of_numbers(path):
    """More rows than any table of ours: kilobytes that become megabytes."""
    table = pa.table({"a": pa.array(np.zeros(3_000_000))})
    pq.write_table(table, path, compression="zstd")


def bomb_of_columns(path):
    table = pa.table({f"c{i}": pa.array([1.0]) for i in range(2000)})
    pq.write_table(table, path)


def nested(path):
    pq.write_table(pa.table({"a": [[1, 2], [3]]}), path)


def bytes_that_are_no_text(path):
    pq.write_table(pa.table({"a": [b"\xff", b"\xfe"]}), path)


def spans_of_time(path):
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.duration("ns"))}), path)


def not_parquet(path):
    path.write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")


def bad_metadata(path):
    table = pa.Table.from_pandas(pd.DataFrame({"a": [1.0]}))
    pq.write_table(table.replace_schema_metadata({"pandas": b'{"columns": 5}'}), path)


def bad_attributes(path):
    table = pa.Table.from_pandas(pd.DataFrame({"a": [1.0]}))
    metadata = {**table.schema.metadata, b"PANDAS_ATTRS": b"["}
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.parametrize(
    "make",
    [
        bomb_of_numbers,
        bomb_of_columns,
        nested,
        bytes_that_are_no_text,
        spans_of_time,
        not_parquet,
        bad_metadata,
        bad_attributes,
    ],
)
def test_a_bomb_or_a_damaged_table_is_one_reason(tmp_path, make):
    make(tmp_path / "a.parquet")
    with pytest.raises((ValueError, OSError)):
        read_parquet(tmp_path / "a.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("store_schema", [True, False], ids=["typed", "untyped"])
@pytest.mark.parametrize(
    "make",
    [
        lambda texts: texts,
        lambda texts: texts.cast(pa.string()),
        lambda texts: texts.cast(pa.string()).cast(pa.large_string()),
        lambda texts: texts.cast(pa.string()).cast(pa.string_view()),
    ],
    ids=["codes", "texts", "large texts", "views"],
)
def test_texts_are_counted_as_often_as_they_are_meant(tmp_path, make, store_schema):
    column = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(60_000, np.int32)), pa.array(["x" * 10_000])
    )
    table = pa.table({"a": make(column)})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=store_schema)
    content = (tmp_path / "a.parquet").read_bytes()
    assert len(content) < 100_000
    with pytest.raises(ValueError, match="600,000,000"):
        open_parquet(content)


@pytest.mark.slow
@given(st.text(max_size=300))
def test_shown_text_is_one_short_line_that_prints(text):
    for line in (shown(text), shorten(text)):
        assert len(line) <= 80
        assert line.isprintable()
    assert one_line(text).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "20200102",
        "2020-W01-1",
        "2020-1-2",
        " 2020-01-02",
        "2020-01-02\n",
        "2020-02-30",
        "0001-01-01",
        "9999-12-31",
        "2020-01-02T00:00:00",
        "٢٠٢٠-01-02",
        "",
    ],
)
def test_a_date_is_written_in_one_way(text):
    with pytest.raises(ValueError, match="must be a date as YYYY-MM-DD"):
        iso_date(text)
    assert iso_date("2020-01-02").isoformat() == "2020-01-02"
