"""Damaged inputs that fuzzing found to be no refusal: each is one sentence now.

`python -m tests.evidence.fuzz_inputs` draws more of them.
"""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from tests.command_line import invoke, without_stages
from tests.evidence.fuzz_cases import Inputs, reseal, seal_anew
from tests.evidence.fuzz_inputs import LONG, contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("corpus") / "sound")


def changed(path, change):
    """Change a table of parquet by a function of its frame."""
    change(pd.read_parquet(path)).to_parquet(path)


def retyped(path, name, values):
    """Put values of another type into a column of a table of parquet."""
    table = pq.read_table(path)
    at = table.column_names.index(name)
    pq.write_table(table.set_column(at, name, values(len(table))), path)


def rewritten(path, change):
    """Change a file of JSON by a function of its content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def spans(n_rows):
    return pa.array(np.arange(n_rows), pa.duration("ns"))


def no_text(n_rows):
    return pa.array([b"\xff"] * n_rows)


def whole_numbers(n_rows):
    return pa.array(np.arange(n_rows))


def resealed_store(values):
    """Return a damage: values of another type for the sessions of SPY, and its seal."""

    def damage(folder):
        retyped(folder / "SPY.yahoo.parquet", "session", values)
        seal_anew(folder)

    return damage


def in_tokyo(n_rows):
    days = pd.date_range("2001-01-02", periods=n_rows, tz="Asia/Tokyo")
    return pa.array(days.astype("datetime64[us, Asia/Tokyo]"))


def overflow(folder):
    path = folder / "model.safetensors"
    weights = {name: value * 1e30 for name, value in load_file(path).items()}
    save_file(weights, path)
    reseal(folder)


def add_a_long_key(record):
    record["request"]["config"]["training"]["y" * 300] = 1


def misname_a_type(path):
    table = pq.read_table(path)
    metadata = json.loads(table.schema.metadata[b"pandas"])
    metadata["columns"][0].update(pandas_type="categorical", numpy_type="x" * 500)
    metadata["columns"][-1]["numpy_type"] = "x" * 500
    named = {b"pandas": json.dumps(metadata).encode()}
    pq.write_table(table.replace_schema_metadata(named), path)


CASES = {
    "sessions of a store that are numbers": (
        ("validate", "--bars", "store"),
        resealed_store(whole_numbers),
    ),
    "sessions of a store in a time zone": (
        ("labels", "--bars", "store"),
        resealed_store(in_tokyo),
    ),
    "prices that are spans of time": (
        ("validate", "--bars", "parquet"),
        lambda f: retyped(f / "SPY.parquet", "close", spans),
    ),
    "prices that are bytes": (
        ("labels", "--bars", "parquet"),
        lambda f: retyped(f / "TLT.parquet", "open", no_text),
    ),
    "a member of commas": (
        ("validate", "--bars", "members"),
        lambda f: (f / "members.txt").write_text("M0\nM1" + "," * 900),
    ),
    "more cash than a float holds": (
        ("decide", "models/model", "--bars", "bars", "--portfolio", "portfolio"),
        lambda f: (f / "mine.json").write_text(f'{{"cash": 1{"0" * 400}}}'),
    ),
    "assets worth more than a float holds": (
        ("decide", "models/model", "--bars", "bars", "--portfolio", "portfolio"),
        lambda f: (f / "mine.json").write_text('{"cash": 1e308, "SPY": 1.7e308}'),
    ),
    "shares that are a long list": (
        ("config", "--allocations", "allocations"),
        lambda f: (f / "mine.json").write_text(json.dumps({"a": ["x" * 300] * 3})),
    ),
    "weights that overflow": (("decide", "models/model", "--bars", "bars"), overflow),
    "a long key of a run": (
        ("compare", "runs/walk"),
        lambda f: rewritten(f / "run.json", add_a_long_key),
    ),
    "no decision of the run": (
        ("compare", "runs/walk"),
        lambda f: changed(f / "decisions.parquet", lambda t: t.iloc[:0]),
    ),
    "an allocation that is none": (
        ("compare", "runs/walk"),
        lambda f: retyped(f / "decisions.parquet", "allocation", whole_numbers),
    ),
    "values without their sessions": (
        ("compare", "runs/walk"),
        lambda f: changed(f / "equity.parquet", lambda t: t.reset_index(drop=True)),
    ),
    "a run of numbers": (
        ("report", "runs/walk"),
        lambda f: retyped(f / "orders.parquet", "run", whole_numbers),
    ),
    "a type with a long name": (
        ("report", "runs/walk"),
        lambda f: misname_a_type(f / "orders.parquet"),
    ),
    "no fold": (
        ("decide", "runs/walk", "--bars", "bars"),
        lambda f: changed(f / "out_of_sample.parquet", lambda t: t.iloc[:0]),
    ),
}
"""A command whose last folder is damaged, or the first below another option."""
DAMAGED = (
    "portfolio",
    "allocations",
    "members",
    "store",
    "parquet",
    "runs/walk",
    "models/model",
)


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_input_is_refused_in_one_short_sentence(inputs, tmp_path, name):
    words, damage = CASES[name]
    kind = next(kind for kind in DAMAGED if kind in words)
    copy = tmp_path / "copy"
    shutil.copytree(inputs.folder / kind, copy)
    damage(copy)
    before = contents(copy)
    given = copy / "mine.json" if kind in ("portfolio", "allocations") else copy
    sound = {kind: str(inputs.folder / kind) for kind in ("bars", "models/model")}
    filled = [str(given) if w == kind else sound.get(w, w) for w in words]
    out = ["--out", tmp_path / "out"] * (words[0] == "labels")
    code, _, error = invoke(*filled, *out)
    said = without_stages(error)
    assert (code, len(said)) == (2, 1), error
    assert not LONG.search(said[0])
    assert contents(copy) == before
