"""What this package did not write is neither replaced nor removed, and names itself."""

import os
import shutil

import pytest

from trm_bt.errors import RunError
from trm_bt.files import (
    exclusive_lock,
    remove_folder,
    staged_files,
    staged_folder,
    write_text_atomically,
)
from trm_bt.manifest import (
    MANIFEST,
    check_replaceable,
    check_target,
    check_unchanged,
    first_foreign,
    read_manifest,
)


@pytest.fixture
def folder(tmp_path):
    """A folder of ours with a file, and a folder in it."""
    with staged_folder(tmp_path / "run") as new:
        (new / "a.txt").write_text("ours")
        (new / "pages").mkdir()
        (new / "pages" / "b.txt").write_text("ours too")
    return tmp_path / "run"


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def add(name, text="mine"):
    def change(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return change


def link(name, target):
    def change(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


FOREIGN = {
    "a file": (add("notes.md"), "notes.md"),
    "a hidden file": (add(".notes"), ".notes"),
    "a file of a name of ours elsewhere": (add("pages/a.txt"), "pages/a.txt"),
    "a file in a folder of ours": (add("pages/notes.md"), "pages/notes.md"),
    "a folder": (add("mine/notes.md"), "mine"),
    "an empty folder": (lambda folder: (folder / "mine").mkdir(), "mine"),
    "a changed file": (add("a.txt"), "a.txt"),
    "a changed file below": (add("pages/b.txt"), "pages/b.txt"),
    "a folder where a file was": (
        lambda folder: ((folder / "a.txt").unlink(), (folder / "a.txt").mkdir()),
        "a.txt",
    ),
    "a link to what was there": (link("a.txt", "pages/b.txt"), "a.txt"),
    "a link of another name": (link("newest", "."), "newest"),
    "a pipe": (lambda folder: os.mkfifo(folder / "pipe"), "pipe"),
    "a copy of a work folder without a lock": (
        add(".run.12345678.draft/a.txt"),
        ".run.12345678.draft",
    ),
    "a lost manifest": (lambda folder: (folder / MANIFEST).unlink(), "a.txt"),
    "a damaged manifest": (add(MANIFEST, "{"), "a.txt"),
    "a manifest of another kind": (add(MANIFEST, '{"sha256": 5}'), "a.txt"),
    "a manifest with a key twice": (
        add(MANIFEST, '{"format_version": 1, "sha256": {}, "sha256": {"a.txt": null}}'),
        "a.txt",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_folder_with_anything_foreign_stays_and_names_it(folder, case):
    change, first = FOREIGN[case]
    change(folder)
    before = sorted(path.name for path in folder.rglob("*"))

    assert first_foreign(folder) == folder / first
    with pytest.raises(RunError, match=first.rpartition("/")[2]):
        check_replaceable(folder, force=True)
    with pytest.raises(RunError), staged_folder(folder) as new:
        (new / "a.txt").write_text("newer")
    with pytest.raises(RunError):
        remove_folder(folder)

    assert sorted(path.name for path in folder.rglob("*")) == before
    assert names(folder.parent) == [folder.name]


def test_what_is_put_there_while_the_new_folder_is_made_stays(folder):
    def write():
        with staged_folder(folder) as new:
            (new / "a.txt").write_text("newer")
            (folder / "notes.md").write_text("mine")

    with pytest.raises(RunError, match=r"notes\.md"):
        write()
    assert (folder / "notes.md").read_text() == "mine"
    assert (folder / "a.txt").read_text() == "ours"


def test_a_folder_of_ours_alone_is_replaced_and_removed(folder):
    assert first_foreign(folder) is None
    with pytest.raises(RunError, match="already exists"):
        check_replaceable(folder, force=False)
    with staged_folder(folder) as new:
        (new / "c.txt").write_text("newer")
    assert contents(folder).keys() == {"c.txt", MANIFEST}
    remove_folder(folder)
    assert names(folder.parent) == []
    remove_folder(folder)


def test_force_keeps_to_results_of_the_kind(folder):
    check_replaceable(folder, force=True, marker="a.txt")
    with pytest.raises(RunError, match=r"or one that holds features\.json"):
        check_replaceable(folder, force=True, marker="features.json")


def test_files_go_into_a_folder_beside_what_is_foreign(folder):
    (folder / "notes.md").write_text("mine")
    with staged_files(folder) as new:
        (new / "a.txt").write_text("newer")
        (new / "c.txt").write_text("new")
    assert (folder / "a.txt").read_text() == "newer"
    assert read_manifest(folder).keys() == {"a.txt", "c.txt", "pages/", "pages/b.txt"}
    assert first_foreign(folder) == folder / "notes.md"
    (folder / "notes.md").unlink()
    assert first_foreign(folder) is None


@pytest.mark.parametrize(
    "change",
    [add("c.txt"), add("a.txt"), link("c.txt", "a.txt"), add(MANIFEST, "mine")],
    ids=["foreign", "changed", "a link", "a manifest of the user's"],
)
def test_no_file_takes_the_place_of_one_that_is_not_ours(folder, change):
    change(folder)
    before = contents(folder)

    def write():
        with staged_files(folder) as new:
            (new / "a.txt").write_text("newer")
            (new / "c.txt").write_text("new")

    with pytest.raises(RunError, match="Move it away"):
        write()
    assert contents(folder) == before


def test_a_file_that_failed_to_get_its_hash_is_still_ours(folder, monkeypatch):
    """A kill between the files and the last manifest."""
    from trm_bt import files

    replace, calls = files._replace_manifest, []

    def fail_later(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError("killed")
        replace(*arguments)

    monkeypatch.setattr(files, "_replace_manifest", fail_later)
    with pytest.raises(OSError, match="killed"), staged_files(folder) as new:
        (new / "a.txt").write_text("newer")
    assert (folder / "a.txt").read_text() == "newer"
    assert first_foreign(folder) is None


def test_an_unfinished_folder_is_completed_only_as_it_was_left(folder):
    check_unchanged(folder)
    (folder / "notes.md").write_text("mine")
    (folder / "a.txt").unlink()
    check_unchanged(folder)
    add("a.txt")(folder)
    with pytest.raises(RunError, match=r"a\.txt: must be what this package wrote"):
        check_unchanged(folder)
    (folder / "a.txt").unlink()
    shutil.rmtree(folder / "pages")
    (folder / "pages").symlink_to(folder.parent)
    with pytest.raises(RunError, match="pages: must be what this package wrote"):
        check_unchanged(folder)


def test_nothing_is_written_through_a_link(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "link").symlink_to(mine)
    (tmp_path / "text").symlink_to(tmp_path / "nothing.txt")
    for use in (staged_folder, exclusive_lock):
        with (
            pytest.raises(RunError, match="must not be a symbolic link"),
            use(tmp_path / "link"),
        ):
            raise AssertionError("never gets here")
    with pytest.raises(RunError, match="must not be a symbolic link"):
        write_text_atomically(tmp_path / "text", "new")
    assert names(tmp_path) == ["link", "mine", "text"]


def loop(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path / "loop" / "run"


def below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "deep" / "run"


BAD = {
    "the root": lambda tmp_path: tmp_path / tmp_path.root,
    "the parent": lambda tmp_path: tmp_path / "..",
    "too long a name": lambda tmp_path: tmp_path / ("x" * 240),
    "a loop": loop,
    "below a file": below_a_file,
}


@pytest.mark.parametrize("case", BAD)
def test_a_target_that_could_not_be_written_is_refused(tmp_path, case):
    with pytest.raises(RunError, match=r": (must|cannot)"):
        check_target(BAD[case](tmp_path))


def test_the_working_folder_is_not_replaced(folder, monkeypatch):
    monkeypatch.chdir(folder / "pages")
    with pytest.raises(RunError, match="must not hold the working folder"):
        check_replaceable(folder, force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="must be in a writable folder"):
        check_target(tmp_path / "run")


def test_a_lock_goes_with_its_process_and_a_file_of_that_name_stays(tmp_path):
    lock = tmp_path / ".run.lock"
    with exclusive_lock(tmp_path / "run"):
        assert lock.exists()
    assert not lock.exists()
    lock.write_text("mine")
    with exclusive_lock(tmp_path / "run"):
        pass
    assert lock.read_text() == "mine"
