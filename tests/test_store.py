"""A store is whole: after a full disk, a damaged byte, and two writers at once."""

import multiprocessing
import subprocess
import sys

import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.test_adjustment import raw_history
from trm_bt.errors import BarsError
from trm_bt.feeds.store import BarStore, default_store, is_store

WHEN = "2026-11-20T22:00:00+00:00"


@pytest.fixture
def store(tmp_path):
    return BarStore(tmp_path / "store")


def save(store, symbol, raw):
    return store.write(symbol, raw, source="a test", retrieved_at=WHEN)


def test_what_is_written_is_read(store):
    raw = raw_history(300, {20: (0.5, 0.0)})
    entry = save(store, "^VIX", raw)
    pd.testing.assert_frame_equal(store.read("^VIX"), raw, check_freq=False)
    assert (entry.rows, entry.source, entry.retrieved_at) == (300, "a test", WHEN)
    assert (entry.start, entry.end) == ("2001-01-02", str(raw.index[-1].date()))
    assert store.symbols() == ("^VIX",)
    assert is_store(store.folder)
    assert not is_store(store.folder.parent)


def test_one_file_a_symbol_is_left(store):
    for n_sessions in (100, 110, 120):
        for symbol in ("SPY", "TLT"):
            save(store, symbol, raw_history(n_sessions, {}))
    names = sorted(path.name.split(".")[0] for path in store.folder.glob("*.parquet"))
    assert names == ["SPY", "TLT"]


def test_pages_have_checksums(store):
    entry = save(store, "SPY", raw_history(300, {}))
    path = store.folder / entry.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum"):
        pd.read_parquet(path, page_checksum_verification=True)


def test_a_damaged_byte_is_found(store):
    entry = save(store, "SPY", raw_history(300, {}))
    path = store.folder / entry.file
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(BarsError, match="its SHA-256 differs from the manifest's"):
        store.read("SPY")


@pytest.mark.parametrize("symbol", ["../x", "a/b", "", ".hidden", "A" * 21, "^", "A B"])
def test_what_is_no_symbol_is_refused(store, symbol):
    with pytest.raises(BarsError, match="A symbol is at most 20 letters"):
        save(store, symbol, raw_history(10, {}))
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        ('{"format": "another"}', "must be the manifest of a store"),
        ('{"format": "trm_bt bar store", "version": 9}', "must be of version 1, got 9"),
        ('{"format": "trm_bt bar store", "version": 1}', "is damaged"),
    ],
)
def test_a_damaged_manifest_is_named(store, text, message):
    store.folder.mkdir()
    (store.folder / "bars-manifest.json").write_text(text)
    with pytest.raises(BarsError, match=message):
        store.symbols()


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.test_adjustment import raw_history
from tests.test_store import save
from trm_bt.feeds.store import BarStore
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
save(BarStore(Path(sys.argv[1])), "SPY", raw_history(3000, {}))
"""


def test_a_full_disk_is_an_error_and_the_old_bars_stay(store):
    old = raw_history(50, {})
    save(store, "SPY", old)
    before = sorted(path.name for path in store.folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(store.folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OSError" in done.stderr
    assert done.returncode == 1
    pd.testing.assert_frame_equal(store.read("SPY"), old, check_freq=False)
    assert sorted(path.name for path in store.folder.iterdir()) == before


def write_often(folder, symbol):
    store = BarStore(folder)
    for n_sessions in range(30, 60):
        with store.updating(symbol):
            save(store, symbol, raw_history(n_sessions, {}))
            assert len(store.read(symbol)) == n_sessions


def test_two_processes_write_and_a_third_reads(store):
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=write_often, args=(store.folder, symbol))
        for symbol in ("SPY", "TLT", "SPY")
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        for symbol in store.symbols():
            raw = store.read(symbol)
            entry = store.entry(symbol)
            assert entry is not None
            assert 30 <= len(raw) < 60
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert [len(store.read(symbol)) for symbol in ("SPY", "TLT")] == [59, 59]


@pytest.mark.skipif(sys.platform != "linux", reason="follows the desktop's rules")
def test_the_default_store_is_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store() == tmp_path / "trm-bt" / "bars"


def test_a_write_removes_what_a_killed_one_left_and_nothing_else(store):
    save(store, "SPY", raw_history(30, {}))
    left = store.folder / "SPY.0123456789ab.parquet"
    draft = store.folder / f".{left.name}.x_1" / left.name
    draft.parent.mkdir()
    others = [
        store.folder / "TLT.0123456789ab.parquet",
        store.folder / "putcall.parquet",
        store.folder / ".my.own.notes" / "a",
    ]
    others[2].parent.mkdir()
    for path in (left, draft, *others):
        path.write_bytes(b"x")
    save(store, "SPY", raw_history(31, {}))
    assert not left.exists()
    assert not draft.parent.exists()
    assert all(path.exists() for path in others)


def test_bars_of_other_columns_are_refused(store):
    with pytest.raises(BarsError, match="a store takes rows of open, high, low, close"):
        save(store, "SPY", make_bars(20).equity)
