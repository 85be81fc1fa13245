"""`trm-bt report`, as it is called."""

import json

import pandas as pd

from tests.fakes_run import write_fake_run
from tests.test_cli import call

TAPER = {"name": "=taper", "start": "2010-03-10", "end": "2010-03-24"}


def test_report_builds_the_pages_with_windows_of_ones_own(
    monkeypatch, capsys, tmp_path
):
    folder = write_fake_run(tmp_path / "run", start="2010-02-01", end="2010-06-01")
    windows = tmp_path / "own.json"
    windows.write_text(json.dumps([TAPER]))
    command = ("report", folder, "--jobs", 1, "--crises", windows)
    code, out, err = call(monkeypatch, capsys, *command)
    assert (code, out, err) == (0, f"{folder / 'index.html'}\n", "")
    assert "=taper" in (folder / "index.html").read_text()
    assert {path.name for path in (folder / "tearsheets").iterdir()} == {
        "out_of_sample.html",
        "flash_crash.html",
        "taper.html",
    }
    table = pd.read_csv(folder / "crises.csv")
    assert table["crisis"].iloc[-1] == "'=taper"


def test_a_bad_file_of_windows_touches_nothing(monkeypatch, capsys, tmp_path):
    folder = write_fake_run(tmp_path / "run", start="2010-02-01", end="2010-06-01")
    before = sorted(folder.rglob("*"))
    windows = tmp_path / "own.json"
    windows.write_text("[]")
    code, out, err = call(monkeypatch, capsys, "report", folder, "--crises", windows)
    assert (code, out) == (2, "")
    assert err == f"trm-bt: {windows}: must list at least one window, got none.\n"
    assert sorted(folder.rglob("*")) == before
