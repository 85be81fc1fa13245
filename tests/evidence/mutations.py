"""Ways to damage what users and this package write, each by its structure."""

import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Rng = np.random.Generator

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30)),
    *(0.5, -0.5, 1e-300, 1e300, 1e30, 16_000_000, "", " ", "0", "1e5", "NaN"),
    *("x" * 500, "\x1b[31m", "a\nb", "\u202e", "\ud7ff", "../../../../etc/passwd", "/"),
    *("0001-01-01", "9999-12-31", "2020-02-30", "20200101", "1990-01-01", "2001-01-01"),
    *([], {}, [[]], {"a": 1}, [1, "2"], ["2001-01-02"] * 3, 10**400, 1.7e308),
    *(2, 3, 5, 16, 32, 60, 0.1, 0.9, "risk", "close", "blend", "weekly", "2001-08-20"),
)
TEXTS = (
    *(
        "",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "1,5",
        "x",
        '"',
        "\x00",
        "\x1b[31m",
    ),
    *("2001-02-30", "20010105", "9999-12-31", "0001-01-01", "1e400", "9" * 400),
)


def pick(rng: Rng, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def damaged_bytes(content: bytes, rng: Rng) -> bytes:
    """Flip, cut, repeat, insert or replace some bytes."""
    at = int(rng.integers(len(content) + 1))
    to = min(len(content), at + int(rng.integers(1, 40)))
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: content[:at],
        lambda: content[at:],
        lambda: content[:at] + content[to:],
        lambda: content[:to] + content[at:],
        lambda: content[:at] + rng.bytes(8) + content[to:],
        lambda: content[:at] + bytes([content[at % len(content)] ^ 1]) + content[to:],
        lambda: b"",
        lambda: rng.bytes(200),
        lambda: b"[" * 100_000,
        lambda: b'{"a":' * 50_000,
        lambda: content + content,
    )
    return pick(rng, ways)() if content else rng.bytes(20)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value of JSON."""
    found = [path] if path else []
    children = node.items() if isinstance(node, dict) else []
    if isinstance(node, list):
        children = list(enumerate(node[:5]))
    for key, child in children:
        found += places(child, (*path, key))
    return found


def damaged_json(text: str, rng: Rng) -> str:
    """Change, remove, add, or repeat one or two entries."""
    content = json.loads(text)
    for _ in range(int(rng.integers(1, 3))):
        found = places(content)
        if not found:
            break
        *above, key = pick(rng, found)
        node = content
        for part in above:
            node = node[part]
        kind = int(rng.integers(8))
        if kind <= 4:
            node[key] = pick(rng, VALUES)
        elif kind == 5:
            del node[key]
        elif isinstance(node, dict):
            node[pick(rng, ("x", "", "\x1b", "y" * 300))] = pick(rng, VALUES)
        else:
            node.append(pick(rng, VALUES))
    written = json.dumps(content, indent=1)
    if rng.random() < 0.1:  # a key twice
        written = written.replace("{", '{"twice": 1, "twice": 2, ', 1)
    return written


def damaged_csv(text: str, rng: Rng) -> str:
    """Change a cell, a line, the header or the separators."""
    lines = text.splitlines() or [""]
    row = int(rng.integers(len(lines)))
    cells = lines[row].split(",")
    kind = int(rng.integers(9))
    if kind <= 3:
        cells[int(rng.integers(len(cells)))] = pick(rng, TEXTS)
        lines[row] = ",".join(cells)
    elif kind == 4:
        lines.insert(row, pick(rng, lines))
    elif kind == 5:
        del lines[row]
    elif kind == 6:
        lines[0] = lines[0].replace(pick(rng, lines[0].split(",")), pick(rng, TEXTS))
    elif kind == 7:
        lines = [line.replace(",", pick(rng, (";", "\t", ",,", " "))) for line in lines]
    else:
        lines[row] = lines[row] + "," * int(rng.integers(1, 5000))
    return "\n".join(lines) + "\n"


def damaged_parquet(content: bytes, rng: Rng) -> bytes:
    """Change a column, its type, its name, the rows or the metadata."""
    table = pq.read_table(BytesIO(content))
    kind = int(rng.integers(9))
    at = int(rng.integers(table.num_columns))
    name = table.column_names[at]
    if kind <= 1:
        values: Any = pick(
            rng,
            (
                pa.nulls(len(table)),
                pa.array(["x"] * len(table)),
                pa.array([[1.0]] * len(table)),
                pa.array(np.arange(len(table))),
                pa.array([b"\xff"] * len(table)),
                pa.array(np.full(len(table), np.inf)),
                pa.array([True] * len(table)),
                pa.array(np.arange(len(table)), pa.timestamp("us", "Asia/Tokyo")),
                pa.array(np.full(len(table), 2**62), pa.timestamp("s")),
                pa.array(np.arange(len(table)), pa.duration("ns")),
            ),
        )
        table = table.set_column(at, name, values)
    elif kind == 2:
        table = table.remove_column(at)
    elif kind == 3:
        names = list(table.column_names)
        names[at] = pick(rng, ("", "x", names[0], "__index_level_0__", "\x1b"))
        table = table.rename_columns(names)
    elif kind == 4:
        table = table.slice(int(rng.integers(len(table) + 1)), int(rng.integers(3)))
    elif kind == 5:
        order = rng.permutation(len(table))
        table = table.take(pa.array(order))
    else:
        metadata = dict(table.schema.metadata or {b"a": b"{}"})
        key = pick(rng, list(metadata))
        if rng.random() < 0.6:
            try:
                text = damaged_json(metadata[key].decode(), rng)
                metadata[key] = text.encode("utf-8", "replace")
            except ValueError:
                metadata[key] = damaged_bytes(metadata[key], rng)[:10_000]
        elif rng.random() < 0.5:
            metadata[key] = damaged_bytes(metadata[key], rng)[:10_000]
        else:
            del metadata[key]
        table = table.replace_schema_metadata(metadata)
    written = BytesIO()
    try:
        pq.write_table(table, written)
    except (pa.ArrowException, OSError):
        return damaged_bytes(content, rng)
    return written.getvalue()


def damaged_name(path: Path, rng: Rng) -> None:
    """Put something else where a file is: nothing, a folder, a pipe, a link."""
    path.unlink()
    kind = int(rng.integers(7))
    if kind == 1:
        path.mkdir()
    elif kind == 2:
        os.mkfifo(path)
    elif kind >= 3:
        targets = ("/dev/zero", path.name, "../notes of mine.txt", "..")
        path.symlink_to(targets[kind - 3])


def damage(path: Path, rng: Rng) -> None:
    """Damage one file as befits it, or its place in the folder."""
    kind = rng.random()
    if kind < 0.08:
        damaged_name(path, rng)
        return
    content = path.read_bytes()
    if kind < 0.2:
        path.write_bytes(damaged_bytes(content, rng))
        return
    try:
        if path.suffix == ".json":
            text = damaged_json(content.decode(), rng)
            path.write_bytes(text.encode("utf-8", "replace"))
        elif path.suffix == ".parquet":
            path.write_bytes(damaged_parquet(content, rng))
        elif path.suffix in {".csv", ".txt"}:
            path.write_text(damaged_csv(content.decode(), rng))
        else:
            path.write_bytes(damaged_bytes(content, rng))
    except (ValueError, pa.ArrowException):  # what was damaged before
        path.write_bytes(damaged_bytes(content, rng))
