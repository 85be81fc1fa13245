"""`trm-bt audit`: a table, an exit code, and one sentence for what is wrong."""

import json

import pytest

from tests.command_line import SMALL, invoke, without_stages, write_settings

MINE = """
import backtrader as bt
from trm_bt.feeds.backtrader import add_bars

NUMBER = 3

def trailing(bars):
    return bars.equity["close"].rolling(20).mean()

def centred(bars):
    return bars.equity["close"].rolling(5, center=True).mean()

def calm(bars):
    return bars.volatility["close"] < 20

def leaves(bars):
    raise SystemExit(0)

def dates(bars):
    return bars.sessions.to_series().dt.day_of_week

def fit(bars, frozen_on):
    return {"mean": bars.equity["close"].loc[:frozen_on].mean()}

class Average(bt.Strategy):
    def __init__(self):
        self.mean = bt.indicators.SMA(period=5)

    def next(self):
        self.order_target_size(target=int(self.data.close[0] > self.mean[0]))

def run(bars):
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, bars, roles=("equity",))
    cerebro.addstrategy(Average)
    return cerebro

def run_at_close(bars):
    cerebro = run(bars)
    cerebro.broker.set_coc(True)
    return cerebro
"""
SHORT = ("audit", "--start", "2016-01-01", "--cuts", "5")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module with functions of a user's, in the working folder."""
    name = f"audited_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MINE)
    (tmp_path / "broken_by_mistake.py").write_text("import no_such_thing\n")
    (tmp_path / "leaves_when_imported.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.slow
def test_sound_functions_end_with_exit_code_0(module):
    functions = ("--features", f"{module}:trailing", "--policy", f"{module}:calm")
    functions += ("--training", f"{module}:fit", "--cerebro", f"{module}:run")
    code, out, error = invoke(*SHORT, *functions)
    assert (code, without_stages(error)) == (0, [])
    for name in ("features", "decisions", "training", "trades", "fills"):
        assert f"│ {name} " in out
    assert out.count(" none ") == 5
    assert "derived from S&P 500" in out


@pytest.mark.slow
def test_a_leak_ends_with_exit_code_1_and_its_first_difference(module):
    arguments = (*SHORT, "--features", f"{module}:centred")
    code, out, error = invoke(*arguments, "--json")
    (check,) = json.loads(out)
    difference = check["difference"]
    assert code == 1
    assert error.count("\n") == 1
    found = "1 of 1 checks found values that depend on the future, first features"
    assert found in error
    assert difference["session"] in error
    assert (difference["column"], difference["other"]) == ("close", "nan")
    assert check["n_cuts"] == 1
    code, out, _ = invoke(*arguments)
    assert code == 1
    assert difference["session"] in out

    arguments = (*SHORT, "--cerebro", f"{module}:run_at_close", "--json")
    code, out, error = invoke(*arguments)
    assert code == 1
    assert [bool(check["difference"]) for check in json.loads(out)] == [False, True]
    assert "first fills: " in error


@pytest.mark.slow
def test_every_session_is_cut_after_if_asked(module):
    arguments = ("audit", "--start", "2017-01-01", "--cuts", "all", "--json")
    code, out, _ = invoke(*arguments, "--features", f"{module}:trailing")
    assert code == 0
    assert json.loads(out)[0]["n_cuts"] == 60 - 1 - 19


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--features", "trailing"), "--features: must be module:function, got 'tra"),
        (
            ("--policy", "nowhere:f"),
            "--policy: the module 'nowhere' must be importable",
        ),
        (
            ("--training", "broken_by_mistake:f"),
            "ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        (("--cerebro", "{}:nothing"), "'nothing' of the module"),
        (("--cerebro", "{}:NUMBER"), "must be a function, but is none"),
        (("--features", "{}:fit"), "features: must work on all bars"),
        (
            ("--features", "{}:leaves"),
            "features: must return a result, but ends the program with exit code 0",
        ),
        (("--features", "leaves_when_imported:f"), "importable from"),
        (("--features", "{}:dates"), "features: does not depend on the bars"),
        (("--cerebro", "{}:trailing"), "A Cerebro is needed, got Series"),
        (("--cuts", "many"), "`--cuts` must be a number above 0 or 'all', got 'many'"),
        (("--cuts", "0"), "`--cuts` must be a number above 0 or 'all', got '0'"),
        (
            ("--features", "{}:trailing", "--checkpoint", "models"),
            "`--checkpoint` is for this set-up",
        ),
        (("--checkpoint", "models"), "models"),
    ],
)
def test_bad_requests_end_with_one_sentence(module, arguments, message):
    named = [argument.format(module) for argument in arguments]
    code, out, error = invoke(*SHORT, *named)
    assert (code, out) == (2, "")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.slow
def test_a_checkpoint_is_audited_with_the_set_up(tmp_path):
    model = tmp_path / "mine"
    config = write_settings(tmp_path / "small.json", SMALL)
    shared = ("--config", config, "--start", "2015-09-01")
    train = ("train", *shared, "--end", "2016-06-30", "--out", model)
    assert invoke(*train)[0] == 0
    arguments = ("audit", *shared, "--checkpoint", model, "--cuts", 3, "--json")
    code, out, _ = invoke(*arguments)
    checks = {check["name"]: check for check in json.loads(out)}
    assert code == 0
    assert list(checks)[-2:] == ["decisions", "trades"]
    # the checkpoint decides from the first session after its last known label
    assert checks["decisions"]["detail"] > "cut, altered; 2016-07"
