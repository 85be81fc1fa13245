"""How every parquet file is read: its decoded size is known before it is decoded."""

from io import BytesIO
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trm_bt.reading import TABLE_BYTES, read_bytes
from trm_bt.text import shorten

_MAX_ROWS: Final = 2**21
_MAX_COLUMNS: Final = 2**10
_MAX_DECODED_BYTES: Final = 2**29
_MAX_METADATA: Final = 2**24
_IS_TEXT: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
)
_IS_PLAIN: Final = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    *(pa.types.is_date, pa.types.is_time, pa.types.is_timestamp),
    *(pa.types.is_boolean, pa.types.is_null),
)
_LONGEST_REASON: Final = 160
_DAMAGES: Final = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError),
    *(NotImplementedError, RecursionError, TypeError),
)
"""What pyarrow and pandas raise, next to `ValueError`, at metadata that is damaged."""


def read_parquet(path: Path) -> pd.DataFrame:
    """Return the table of a parquet file, its index and `attrs` included.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, is damaged, or would be too large when decoded.
    """
    return decode_parquet(read_bytes(path, TABLE_BYTES))


def decode_parquet(content: bytes) -> pd.DataFrame:
    """Return the table that the content of a parquet file holds.

    Raises
    ------
    OSError, ValueError
        If it is damaged, or would be too large when decoded.
    """
    try:
        open_parquet(content)
        return pd.read_parquet(BytesIO(content), engine="pyarrow", use_threads=False)
    except ValueError as error:
        raise ValueError(shorten(error, _LONGEST_REASON)) from error
    except _DAMAGES as error:
        reason = shorten(f"{type(error).__name__}: {error}")
        raise ValueError(f"its schema or metadata are damaged: {reason}") from error


def open_parquet(content: bytes) -> pq.ParquetFile:
    """Open a parquet file that may be decoded whole; raise as `decode_parquet` does."""
    file = _opened(content)
    metadata, schema = file.metadata, file.schema_arrow
    if metadata.num_rows > _MAX_ROWS or len(schema) > _MAX_COLUMNS:
        raise ValueError(
            f"must have at most {_MAX_ROWS:,} rows of {_MAX_COLUMNS:,} columns, has "
            f"{metadata.num_rows:,} of {len(schema):,}"
        )
    for field in schema:
        if not any(test(_values_of(field)) for test in (*_IS_TEXT, *_IS_PLAIN)):
            raise ValueError(
                "must have columns of numbers, texts and dates, has "
                f"{shorten(field.type)}"
            )
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    n_bytes = sum(group.total_byte_size for group in groups)
    _check_size(max(n_bytes, 8 * metadata.num_rows * len(schema)))
    _check_size(_text_bytes(content, schema))
    return file


def _opened(content: bytes, **options: list[str]) -> pq.ParquetFile:
    return pq.ParquetFile(
        pa.BufferReader(content),
        thrift_string_size_limit=_MAX_METADATA,
        thrift_container_size_limit=_MAX_METADATA,
        **options,
    )


def _values_of(field: pa.Field) -> pa.DataType:
    is_coded = pa.types.is_dictionary(field.type)
    return field.type.value_type if is_coded else field.type


def _text_bytes(content: bytes, schema: pa.Schema) -> int:
    """Return the decoded size of all texts; encoded, each may be there once only."""
    names = [f.name for f in schema if any(test(_values_of(f)) for test in _IS_TEXT)]
    if not names:
        return 0
    table = _opened(content, read_dictionary=names).read(names, use_threads=False)
    n_bytes = 0
    for column in table.columns:
        for chunk in column.chunks:
            lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
            n_bytes += pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0
    return n_bytes


def _check_size(n_bytes: int) -> None:
    if n_bytes > _MAX_DECODED_BYTES:
        raise ValueError(
            f"must have at most {_MAX_DECODED_BYTES:,} bytes when decoded, has "
            f"{n_bytes:,}"
        )
