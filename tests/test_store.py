"""A store is whole: after a full disk, a damaged byte, and two writers at once."""

import multiprocessing
import subprocess
import sys
import time

import pandas as pd
import pytest

import trm_bt.feeds.store as store_module
from tests.conftest import make_bars
from tests.test_adjustment import raw_history
from trm_bt.errors import BarsError
from trm_bt.feeds.store import BarStore, StoreEntry, _seal, default_store

WHEN = "2026-11-20T22:00:00+00:00"


@pytest.fixture
def store(tmp_path):
    return BarStore(tmp_path / "store", "yahoo")


def save(store, symbol, raw):
    store.write(symbol, raw, retrieved_at=WHEN)
    return store.path(symbol)


def test_what_is_written_is_read(store):
    raw = raw_history(300, {20: (0.5, 0.0)})
    path = save(store, "^VIX", raw)
    pd.testing.assert_frame_equal(store.read("^VIX"), raw, check_freq=False)
    entry = store.entry("^VIX")
    assert (entry.rows, entry.vendor, entry.retrieved_at) == (300, "yahoo", WHEN)
    assert (entry.start, entry.end) == ("2001-01-02", str(raw.index[-1].date()))
    assert store.symbols() == ("^VIX",)
    assert [path.name for path in store.folder.iterdir()] == [path.name]
    assert store.entry("SPY") is None


def test_other_tools_read_the_bars(store):
    raw = raw_history(300, {20: (0.5, 0.0)})
    frame = pd.read_parquet(save(store, "SPY", raw))
    pd.testing.assert_frame_equal(frame.set_index("session"), raw, check_freq=False)


def test_each_vendor_has_bars_of_its_own(store):
    other = BarStore(store.folder, "another")
    save(store, "SPY", raw_history(30, {}))
    save(other, "SPY", raw_history(40, {}))
    assert (len(store.read("SPY")), len(other.read("SPY"))) == (30, 40)
    assert store.symbols() == other.symbols() == ("SPY",)


def test_one_file_a_symbol_is_left(store):
    for n_sessions in (100, 110, 120):
        for symbol in ("SPY", "TLT"):
            save(store, symbol, raw_history(n_sessions, {}))
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == ["SPY.yahoo.parquet", "TLT.yahoo.parquet"]


@pytest.mark.evidence
def test_every_flipped_bit_is_refused(store):
    """One of each eight bits of a small file, bars and what is said of them alike."""
    path = save(store, "SPY", raw_history(20, {}))
    whole = path.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        for look in (store.read, store.entry):
            with pytest.raises(BarsError, match="its SHA-256 differs from what it"):
                look("SPY")


@pytest.mark.parametrize("size", [0, 1, 500, -1])
def test_a_file_cut_short_is_refused(store, size):
    path = save(store, "SPY", raw_history(300, {}))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BarsError, match="must be the file that was written"):
        store.read("SPY")


def test_bars_that_are_damaged_below_their_seal_are_refused(store):
    """Who makes a file anew can seal what no reader of parquet takes."""
    path = save(store, "SPY", raw_history(30, {}))
    whole, messages = path.read_bytes(), set()
    for place in range(4, len(whole) // 2, 8):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        start, digest = _seal(bytes(content))
        content[start : start + len(digest)] = digest
        path.write_bytes(content)
        try:
            store.read("SPY")
        except BarsError as error:
            messages.add(str(error).partition(": ")[2].partition(":")[0])
    assert "its bars are damaged" in messages


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.set_axis(range(len(raw))).rename_axis("session"),
        lambda raw: raw.tz_localize("UTC"),
        lambda raw: raw.astype({"close": str}),
        lambda raw: raw.drop(columns="high"),
    ],
    ids=["no dates", "a time zone", "text", "no highs"],
)
def test_a_sealed_table_of_another_kind_is_refused(store, monkeypatch, change):
    encode = store_module._encode
    monkeypatch.setattr(store_module, "_encode", lambda r, e: encode(change(r), e))
    save(store, "SPY", raw_history(30, {}))
    with pytest.raises(BarsError, match="its bars are damaged"):
        store.read("SPY")


def test_a_file_that_cannot_be_opened_is_named_and_not_taken_for_damaged(store):
    path = store.path("SPY")
    store.folder.mkdir()
    path.symlink_to(path)
    with pytest.raises(OSError, match=f"{path}: Too many levels of symbolic links"):
        store.read("SPY")


def test_a_file_under_the_name_of_another_is_refused(store):
    save(store, "SPY", raw_history(30, {})).rename(store.path("TLT"))
    with pytest.raises(BarsError, match="must be the bars of TLT from yahoo, got thos"):
        store.read("TLT")


def test_a_file_of_another_version_is_refused(store, monkeypatch):
    as_it_is = StoreEntry.model_dump_json
    monkeypatch.setattr(
        StoreEntry,
        "model_dump_json",
        lambda entry: as_it_is(entry).replace('"version":2', '"version":3,"more":[]'),
    )
    save(store, "SPY", raw_history(30, {}))
    with pytest.raises(BarsError, match="must be in format 2, but is in that of anoth"):
        store.read("SPY")


@pytest.mark.parametrize("symbol", ["../x", "a/b", "", ".hidden", "A" * 21, "^", "A B"])
def test_what_is_no_symbol_is_refused(store, symbol):
    with pytest.raises(BarsError, match="A symbol is at most 20 letters"):
        save(store, symbol, raw_history(10, {}))
    assert not store.folder.exists()


def test_a_store_of_an_older_version_is_refused_and_stays(store):
    store.folder.mkdir()
    manifest = store.folder / "bars-manifest.json"
    manifest.write_text('{"format": "trm_bt bar store", "version": 1}')
    with pytest.raises(BarsError, match=r"older version, .* Run `trm-bt fetch --store"):
        store.symbols()
    assert store.entry("SPY") is None
    save(store, "SPY", raw_history(10, {}))
    assert store.symbols() == ("SPY",)
    assert manifest.exists()


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.test_adjustment import raw_history
from tests.test_store import save
from trm_bt.feeds.store import BarStore
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
save(BarStore(Path(sys.argv[1]), "yahoo"), "SPY", raw_history(3000, {}))
"""


@pytest.mark.slow
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
    store = BarStore(folder, "yahoo")
    for n_sessions in range(30, 60):
        with store.updating(symbol):
            save(store, symbol, raw_history(n_sessions, {}))
            assert len(store.read(symbol)) == n_sessions


@pytest.mark.slow
def test_two_processes_write_and_a_third_reads(store):
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=write_often, args=(store.folder, symbol))
        for symbol in ("SPY", "TLT", "SPY")
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if not store.symbols():
            time.sleep(0.01)  # they are still importing
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
    path = save(store, "SPY", raw_history(30, {}))
    left = store.folder / f".{path.name}.0_23abcd.draft"
    left.mkdir()
    others = [
        store.folder / f".{store.path('TLT').name}.01234567.draft",
        store.folder / ".my.own.notes",
    ]
    for folder in (left, *others):
        folder.mkdir(exist_ok=True)
        (folder / ".lock").touch()
    putcall = store.folder / "putcall.parquet"
    putcall.write_bytes(b"x")
    save(store, "SPY", raw_history(31, {}))
    assert not left.exists()
    assert all(path.exists() for path in (*others, putcall))
    with store.updating("TLT"):
        assert [path.exists() for path in (*others, putcall)] == [False, True, True]


def test_bars_of_other_columns_are_refused(store):
    with pytest.raises(BarsError, match="a store takes rows of open, high, low, close"):
        save(store, "SPY", make_bars(20).equity)
