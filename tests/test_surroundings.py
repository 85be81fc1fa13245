"""Users without rights, a clock set back and a plain locale: what a machine may be."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.command_line import without_stages
from tests.evidence.fuzz_cases import Inputs
from tests.evidence.fuzz_inputs import contents
from tests.evidence.kill_commands import TIMED
from trm_bt.evaluation.trials import LOG_NAME, read_trials

pytestmark = pytest.mark.slow

NOBODY = 65534
CALLS = """
import json, sys
from tests.command_line import invoke
print(json.dumps([invoke(*words) for words in json.load(sys.stdin)]))
"""
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FAKE_TIMES = [
    *Path("/usr/lib").glob("*/faketime/libfaketime.so.1"),
    *Path("/usr/local/lib/faketime").glob("libfaketime.so.1"),
]


def invoke_all(commands, *, before=(), cwd, **environment):
    """Run command lines in one new process; return code, stdout and stderr of each."""
    words = [[str(word) for word in command] for command in commands]
    hidden = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [*before, sys.executable, "-c", CALLS],
        input=json.dumps(words),
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=kept | {"PYTHONPATH": root} | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("surroundings") / "sound")


@pytest.fixture
def given(inputs):
    return ("--bars", inputs.bars, "--config", inputs.settings)


@pytest.fixture
def place(inputs):
    """A folder that any user may reach, with sound inputs in it."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(inputs.folder, Path(folder) / "sound")
        yield Path(folder)


@pytest.fixture
def user(place):
    """Call commands as a user who is not root and whose home cannot be written to."""
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root has no setpriv to become another user")
        # who may read all, since Python may lie below the home of root
        one = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        before = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}")
        before = (*before, "--clear-groups", *one)
    (place / "home").mkdir(mode=0o555)
    (place / "work").mkdir()

    def call(*commands):
        if before:
            for path in (place, *place.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        places = {"HOME": str(place / "home"), "TMPDIR": str(place / "work")}
        found = invoke_all(commands, before=before, cwd=place, **places)
        assert list((place / "home").iterdir()) == []
        return found

    return call


@pytest.mark.evidence
def test_a_user_whose_home_cannot_be_written_to_makes_a_run(user, given, place):
    made, fetched = user(("run", *given, "--out", "work/run"), ("fetch",))
    assert made[0] == 0, made[2]
    said = [line for line in without_stages(made[2]) if line.startswith("trm-bt")]
    assert said == []  # Matplotlib says where its cache is
    assert (place / "work" / "run" / "index.html").is_file()
    assert fetched[0] == 1
    denied = f"trm-bt: The job failed: Permission denied: {place / 'home'}"
    assert fetched[2].startswith(denied)
    assert fetched[2].count("\n") == 1


def test_a_folder_that_cannot_be_written_to_is_refused_as_a_target(user, place):
    run, closed = place / "sound" / "runs" / "walk", place / "closed"
    given = ("--bars", "sound/bars", "--config", "sound/settings/small.json")
    out = ("--out", "closed/made")
    (place / "sound" / "grid.json").write_text('{"training.epochs": [1, 2]}')
    closed.mkdir()
    (closed / "notes.txt").write_text("mine")
    for folder in (closed, run, *(p for p in run.rglob("*") if p.is_dir())):
        folder.chmod(0o555)
    before = contents(place)
    commands = [
        *((name, *given, *out) for name in ("run", "walkforward", "train", "labels")),
        ("features", "--bars", "sound/bars", *out),
        ("sample", *out),
        ("backtest", "--checkpoint", "sound/models/model", *given, *out),
        ("sweep", "--grid", "sound/grid.json", *given, *out),
        ("compare", run, "--draws", "100"),
        ("compare", run, "--draws", "100", *out),
        ("report", run, "--jobs", "1"),
        ("fetch", "--store", "closed/store"),
    ]
    found = user(*commands)
    assert contents(place) == before
    for words, (code, stdout, error) in zip(commands, found, strict=True):
        (said,) = [line for line in error.splitlines() if line.startswith("trm-bt")]
        is_store = words[0] == "fetch"
        assert (code, stdout) == (1 if is_store else 2, ""), words
        folder = run if run in words and "--out" not in words else "closed"
        where = "Permission denied: closed/store." if is_store else f"{folder} is not"
        assert where in said, words


@pytest.mark.evidence
@pytest.mark.skipif(not FAKE_TIMES, reason="libfaketime is not installed")
def test_a_clock_that_is_set_back_stops_nothing(inputs, given, tmp_path):
    """Records, seals and locks of tomorrow; and bars, which are then of tomorrow."""
    work = tmp_path / "work"
    shutil.copytree(inputs.run.parent, work)
    clock = {"LD_PRELOAD": str(FAKE_TIMES[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    commands = [
        ("compare", work / "walk", "--draws", "100"),
        ("report", work / "walk", "--jobs", "1"),
        ("run", *given, "--out", work / "earlier", "--seed", "5"),
        ("compare", work / "earlier", "--draws", "100"),
        ("validate", "--bars", inputs.folder / "store"),
    ]
    found = invoke_all(commands, cwd=tmp_path, FAKETIME="@2010-01-01 00:00:00", **clock)
    for code, _, error in found:
        assert (code, without_stages(error)) == (0, []), error
    years = sorted(trial.recorded_at.year for trial in read_trials(work / LOG_NAME))
    assert years == [2010, datetime.now(UTC).year]
    out = ("--out", tmp_path / "labels")
    commands = [("validate", "--bars", inputs.bars), ("labels", *given, *out)]
    found = invoke_all(commands, cwd=tmp_path, FAKETIME="@2001-06-01 00:00:00", **clock)
    for code, stdout, error in found:
        assert code == 0, error
        assert "a bar is final when its session has closed" in stdout + error


@pytest.mark.evidence
def test_a_locale_without_utf_8_makes_the_same_run(inputs, given, tmp_path):
    texts = {}
    for name, locale in {"plain": C_LOCALE, "utf-8": {"PYTHONUTF8": "1"}}.items():
        work = tmp_path / name
        work.mkdir()
        commands = [
            ("run", *given, "--out", "made"),
            ("compare", "made", "--draws", "100"),
            ("decide", "made", *given),
        ]
        found = invoke_all(commands, cwd=work, **locale)
        for code, _, error in found:
            assert (code, without_stages(error)) == (0, []), error
        texts[name] = {
            path: text
            for path, text in contents(work / "made").items()
            if Path(path).name not in TIMED
        }
    assert texts["plain"] == texts["utf-8"]
