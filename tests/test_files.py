"""Files and folders are the old ones or the new ones, whatever happens between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from trm_bt.errors import RunError
from trm_bt.files import (
    _exchange,
    _rename_twice,
    exclusive_lock,
    many_files,
    staged_folder,
    write_atomically,
)
from trm_bt.manifest import MANIFEST, manifest_text, names_in


def test_a_folder_appears_when_its_block_ends(tmp_path):
    target = tmp_path / "deep" / "run"
    with staged_folder(target) as folder:
        (folder / "a.txt").write_text("new")
        assert not target.exists()
    assert (target / "a.txt").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_folder(tmp_path, error):
    target = tmp_path / "run"
    target.mkdir()
    (target / "a.txt").write_text("old")

    def fail():
        with staged_folder(target) as folder:
            (folder / "a.txt").write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert (target / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_replaced_folder_holds_nothing_of_the_old(tmp_path):
    target = make(tmp_path / "run")
    with staged_folder(target) as folder:
        (folder / "new.txt").write_text("new")
    assert names(target) == [MANIFEST, "new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(draft):
        draft.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


needs_posix = pytest.mark.skipif(
    os.name == "nt", reason="kills, locks and exchanges as POSIX does"
)
needs_exchange = pytest.mark.skipif(
    sys.platform not in {"linux", "darwin"}, reason="no exchange in one step"
)
WAITING = """
import sys, time
from pathlib import Path
from trm_bt.files import staged_folder
with staged_folder(Path(sys.argv[1])) as folder:
    (folder / "a.txt").write_text("new")
    Path(sys.argv[2]).touch()
    time.sleep(60)
"""
REPLACING = """
import sys
from pathlib import Path
from trm_bt.files import staged_folder
for turn in range(int(sys.argv[2])):
    with staged_folder(Path(sys.argv[1])) as folder:
        for name in ("a.txt", "b.txt"):
            (folder / name).write_text(sys.argv[3] + str(turn))
"""


def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


@pytest.fixture
def waiting(tmp_path):
    """A writer of `run` that has written its draft and waits."""
    written = tmp_path / "written"
    process = start(WAITING, tmp_path / "run", written)
    while not written.exists() and process.poll() is None:
        time.sleep(0.02)
    written.unlink()
    yield process
    process.kill()
    process.wait()


def make(target, text="old"):
    target.mkdir()
    (target / "a.txt").write_text(text)
    (target / MANIFEST).write_text(manifest_text(names_in(target)))
    return target


def replace(target, **options):
    with staged_folder(target, **options) as folder:
        (folder / "a.txt").write_text("newer")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@needs_posix
def test_what_a_killed_writer_leaves_goes_with_the_next_write(tmp_path, waiting):
    target = make(tmp_path / "run")
    waiting.send_signal(signal.SIGKILL)
    waiting.wait()
    assert (target / "a.txt").read_text() == "old"
    assert len(names(tmp_path)) == 2

    replace(target)

    assert (target / "a.txt").read_text() == "newer"
    assert names(tmp_path) == ["run"]


def test_a_work_folder_keeps_its_lock_until_all_else_is_gone(tmp_path, monkeypatch):
    target, left = make(tmp_path / "run"), []
    remove = shutil.rmtree

    def watch(path, **how):
        left.append({p.name for p in tmp_path.glob(".run.*.draft/*")})
        remove(path, **how)

    monkeypatch.setattr(shutil, "rmtree", watch)
    replace(target)

    assert left == [{".lock", "run"}, {".lock"}]


def test_an_empty_work_folder_goes_with_the_next_write(tmp_path):
    target = make(tmp_path / "run")
    (tmp_path / ".run.12345678.draft").mkdir()

    replace(target)

    assert names(tmp_path) == ["run"]


def test_a_work_folder_that_goes_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch
):
    """Another writer may take it for a leftover at that very moment."""
    taken = []

    class TakenLock(FileLock):
        def acquire(self, *arguments, **options):
            if not taken:
                taken.append(Path(self.lock_file).parent)
                taken[0].rmdir()
                raise FileNotFoundError(self.lock_file)
            return super().acquire(*arguments, **options)

    monkeypatch.setattr("trm_bt.files.FileLock", TakenLock)
    replace(tmp_path / "run")

    assert len(taken) == 1
    assert names(tmp_path) == ["run"]


@needs_posix
def test_what_a_living_writer_works_on_stays(tmp_path, waiting):
    replace(tmp_path / "run")

    drafts = [path for path in tmp_path.iterdir() if path.name != "run"]
    assert [(path / "run" / "a.txt").read_text() for path in drafts] == ["new"]
    assert waiting.poll() is None


WRITING = """
import sys, time
from pathlib import Path
from trm_bt.files import write_atomically
def write(draft):
    draft.write_text("new")
    Path(sys.argv[2]).touch()
    time.sleep(60)
write_atomically(Path(sys.argv[1]), write)
"""


@needs_posix
def test_a_half_written_file_goes_with_the_next_write_of_its_name(tmp_path):
    path, written = tmp_path / "a.txt", tmp_path / "written"
    writer = start(WRITING, path, written)
    while not written.exists() and writer.poll() is None:
        time.sleep(0.02)
    write_atomically(path, lambda draft: draft.write_text("living"))
    assert len(names(tmp_path)) == 3
    writer.kill()
    writer.wait()
    write_atomically(tmp_path / "b.txt", lambda draft: draft.write_text("other"))
    assert len(names(tmp_path)) == 4

    write_atomically(path, lambda draft: draft.write_text("newer"))

    assert path.read_text() == "newer"
    assert names(tmp_path) == ["a.txt", "b.txt", "written"]


MANY = """
import sys, time
from pathlib import Path
from trm_bt.files import many_files
with many_files(Path(sys.argv[1])) as write:
    write("a", b"one")
    Path(sys.argv[2]).touch()
    time.sleep(60)
"""


@needs_posix
def test_what_a_killed_writer_of_many_has_written_stays(tmp_path):
    folder, written = tmp_path / "many", tmp_path / "written"
    writer = start(MANY, folder, written)
    while not written.exists() and writer.poll() is None:
        time.sleep(0.02)
    assert len(names(tmp_path)) == 3
    writer.kill()
    writer.wait()

    with many_files(folder) as write:
        write("b", b"two")
        write("b", b"three")

    assert names(tmp_path) == ["many", "written"]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        "a": b"one",
        "b": b"three",
    }


@needs_posix
def test_one_that_is_at_work_keeps_others_off(tmp_path):
    again = exclusive_lock(tmp_path / "run")
    with (
        exclusive_lock(tmp_path / "run"),
        pytest.raises(RunError, match="another process is writing it"),
    ):
        again.__enter__()
    with exclusive_lock(tmp_path / "run"):
        assert names(tmp_path) == [".run.lock"]


@pytest.mark.skipif(sys.platform != "linux", reason="where no file can be made")
def test_a_lock_that_cannot_be_made_is_not_said_to_be_held():
    with (
        pytest.raises(RunError, match=r"\.run\.lock next to it cannot be written"),
        exclusive_lock(Path("/proc/run")),
    ):
        pass


@needs_posix
def test_hidden_folders_of_others_stay(tmp_path):
    others = [".run", ".run.12345678", ".run.2.12345678.draft", ".rum.12345678.draft"]
    for name in others:
        make(tmp_path / name)
        (tmp_path / name / ".lock").touch()
    others.append(".run.12345678.draft")  # without a lock it is none of ours
    make(tmp_path / others[-1])

    replace(tmp_path / "run")

    assert names(tmp_path) == sorted([*others, "run"])


@needs_posix
def test_a_draft_that_is_a_link_is_left_alone(tmp_path):
    kept = make(tmp_path / "kept")
    (kept / ".lock").touch()
    (tmp_path / ".run.12345678.draft").symlink_to(kept)

    replace(tmp_path / "run")

    assert (kept / "a.txt").read_text() == "old"


@pytest.mark.slow
@needs_exchange
def test_a_replaced_folder_is_never_missing(tmp_path):
    """Two writers replace one folder all the time, which is there at every look."""
    target = make(tmp_path / "run")
    writers = [start(REPLACING, target, 60, word) for word in ("one", "two")]
    n_looks = 0
    while any(writer.poll() is None for writer in writers):
        assert target.stat()
        n_looks += 1

    assert n_looks > 100
    assert [writer.returncode for writer in writers] == [0, 0]
    assert (target / "a.txt").read_text() == (target / "b.txt").read_text()
    assert names(tmp_path) == ["run"]


@needs_exchange
def test_an_exchange_gives_each_folder_the_name_of_the_other(tmp_path):
    one, other = make(tmp_path / "one", "1"), make(tmp_path / "other", "2")

    assert _exchange(one, other)

    assert (one / "a.txt").read_text() == "2"
    assert (other / "a.txt").read_text() == "1"


@needs_exchange
def test_an_exchange_with_nothing_is_an_error_that_says_where(tmp_path):
    with pytest.raises(FileNotFoundError, match="run"):
        _exchange(make(tmp_path / "run"), tmp_path / "nothing")


def test_two_renames_serve_where_there_is_no_exchange(tmp_path, monkeypatch):
    monkeypatch.setattr("trm_bt.files._EXCHANGING_CALLS", {})
    target = make(tmp_path / "run")

    replace(target)

    assert (target / "a.txt").read_text() == "newer"
    assert names(tmp_path) == ["run"]


def test_two_renames_are_undone_where_the_second_fails(tmp_path):
    target = make(tmp_path / "run")

    with pytest.raises(FileNotFoundError):
        _rename_twice(tmp_path / "nothing", target)

    assert (target / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_what_came_in_between_is_not_replaced_unless_it_may_be(tmp_path):
    target = tmp_path / "run"

    def write():
        with staged_folder(target, may_replace=False) as folder:
            (folder / "a.txt").write_text("new")
            make(target, "another writer's")

    with pytest.raises(RunError, match="already exists"):
        write()

    assert (target / "a.txt").read_text() == "another writer's"
    assert names(tmp_path) == ["run"]


def test_an_empty_folder_gives_way_in_any_case(tmp_path):
    (tmp_path / "run").mkdir()

    replace(tmp_path / "run", may_replace=False)

    assert (tmp_path / "run" / "a.txt").read_text() == "newer"
