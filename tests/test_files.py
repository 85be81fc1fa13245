"""Files and folders are the old ones or the new ones, whatever happens between."""

import os
import signal
import subprocess
import sys
import time

import pytest

from trm_bt.errors import RunError
from trm_bt.files import check_replaceable, staged_folder, write_atomically


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
    target = tmp_path / "run"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with staged_folder(target) as folder:
        (folder / "new.txt").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new.txt"]
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


def test_only_a_marked_folder_may_be_replaced(tmp_path):
    check_replaceable(tmp_path / "new", marker="run.json", force=False)
    check_replaceable(tmp_path, marker="run.json", force=False)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"new folder or one that holds run\.json"):
        check_replaceable(tmp_path, marker="run.json", force=True)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="is there already"):
        check_replaceable(tmp_path, marker="run.json", force=False)
    check_replaceable(tmp_path, marker="run.json", force=True)


@pytest.mark.skipif(os.name == "nt", reason="needs a signal that cannot be caught")
def test_a_killed_write_leaves_the_old_folder(tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from trm_bt.files import staged_folder\n"
        "with staged_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'a.txt').write_text('new')\n"
        "    Path(sys.argv[2]).touch()\n"
        "    time.sleep(60)\n"
    )
    target, written = tmp_path / "run", tmp_path / "written"
    target.mkdir()
    (target / "a.txt").write_text("old")
    process = subprocess.Popen([sys.executable, "-c", code, target, written])
    while not written.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (target / "a.txt").read_text() == "old"
