"""`trm-bt run`, `report` and `config`, as they are called."""

import json

import pandas as pd
import pytest

from tests.command_line import invoke, without_stages, write_settings
from tests.fakes_run import write_fake_run
from trm_bt.config import TRMConfig
from trm_bt.setting_notes import NOTES, explained

TAPER = {"name": "=taper", "start": "2010-03-10", "end": "2010-03-24"}


@pytest.mark.slow
def test_report_builds_the_pages_with_windows_of_ones_own(tmp_path):
    folder = write_fake_run(tmp_path / "run", start="2010-02-01", end="2010-06-01")
    windows = tmp_path / "own.json"
    windows.write_text(json.dumps([TAPER]))
    command = ("report", folder, "--jobs", 1, "--crises", windows)
    code, out, err = invoke(*command)
    assert (code, out) == (0, f"{folder / 'index.html'}\n")
    assert without_stages(err) == []
    assert "=taper" in (folder / "index.html").read_text()
    assert {path.name for path in (folder / "tearsheets").iterdir()} == {
        "out_of_sample.html",
        "flash_crash.html",
        "taper.html",
        "manifest.json",
    }
    table = pd.read_csv(folder / "crises.csv")
    assert table["crisis"].iloc[-1] == "'=taper"


def test_report_passes_its_options_on(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(
        "trm_bt.report.build", lambda *given, **how: built.append((given, how))
    )
    windows = write_settings(tmp_path / "own.json", [TAPER])
    command = ("report", tmp_path, "--jobs", 3, "--crises", windows, "--json")
    code, out, err = invoke(*command)
    assert (code, err) == (0, "")
    assert json.loads(out) == {"page": str(tmp_path / "index.html")}
    [(given, how)] = built
    assert given == (tmp_path,)
    assert how["executor"].n_jobs == 3
    assert [crisis.name for crisis in how["crises"]] == ["=taper"]


def test_a_bad_file_of_windows_touches_nothing(tmp_path):
    folder = write_fake_run(tmp_path / "run", start="2010-02-01", end="2010-06-01")
    before = sorted(folder.rglob("*"))
    windows = tmp_path / "own.json"
    windows.write_text("[]")
    code, out, err = invoke("report", folder, "--crises", windows)
    assert (code, out) == (2, "")
    assert (
        err
        == f"trm-bt: {windows}: must list at least one window, at most 100, got none.\n"
    )
    assert sorted(folder.rglob("*")) == before


def test_config_prints_settings_that_load_back(tmp_path):
    code, out, _ = invoke("config", "--seed", 5)
    assert code == 0
    assert json.loads(out)["model"]["effective_depth"] == 42
    path = tmp_path / "config.json"
    path.write_text(out)
    assert TRMConfig.load(path) == TRMConfig(seed=5)


def test_config_prints_a_preset(tmp_path):
    path = tmp_path / "seed.json"
    code, out, _ = invoke("config", "--preset", "seed", "--seed", 5)
    assert code == 0
    path.write_text(out)
    assert TRMConfig.load(path) == TRMConfig.preset("seed").model_copy(
        update={"seed": 5}
    )
    code, _, err = invoke("config", "--preset", "seed", "--config", path)
    assert code == 2
    assert "--config and --preset both choose settings. Give one." in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bars", "none"), "none: must be a folder"),
        (("--config", "none.json"), "none.json: cannot be read"),
        (("--start", "2017-01-01"), "Labels need 66 sessions of bars, got 60"),
        (("--start", "2012-08-01", "--end", "2015-01-30"), "cover at least one crisis"),
        (("--observed", "put_call"), "has no observed 'put_call'"),
        (("--observed", "members"), "has no observed 'members'"),
        (("--start", "2015-02-30"), "`start` must be a date as YYYY-MM-DD, got '2015-"),
        (("--bars", ".", "--end", "soon"), "`end` must be a date as YYYY-MM-DD"),
    ],
)
def test_bad_requests_end_with_one_sentence(tmp_path, arguments, message):
    code, _, error = invoke("run", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert message in error
    assert not list(tmp_path.iterdir())


def dotted(settings, before=""):
    """Return every setting that a file of settings can hold, by dotted name."""
    names = []
    for key, value in settings.items():
        inner = isinstance(value, dict) and before == ""
        names += dotted(value, f"{key}.") if inner else [f"{before}{key}"]
    return names


def test_config_explains_every_setting_with_its_range():
    code, out, _ = invoke("config", "--explain", "--seed", 5)
    assert code == 0
    lines = out.splitlines()
    told = [line.split(" = ")[0] for line in lines if not line.startswith(" ")]
    expected = dotted(json.loads(TRMConfig().describe()))
    assert told == [name for name in expected if name != "model.effective_depth"]
    assert "seed = 5   (whole number, 0 to 9,223,372,036,854,775,807)" in lines
    assert "training.prior_sharpe = none   (number, above 0 to 1,000,000, or none)" in (
        lines
    )
    assert "model.hidden_dim = 512   (whole number, 16 to 4,096, a multiple of 16)" in (
        lines
    )
    assert "labels.fill = next_open   (next_open, close)" in lines
    assert all(len(line) <= 80 for line in lines)


def test_what_is_explained_is_what_is_there():
    names = {note.name for note in explained(TRMConfig())}
    assert names == set(NOTES)  # no sentence is left of a setting that is gone
