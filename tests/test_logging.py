"""What a strategy does is logged under `trm_bt`, and printed only if you ask."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_bars
from tests.fakes import FakePolicy
from tests.test_rebalancing import Scripted, five_bars, run
from trm_bt.backtest import run_backtest
from trm_bt.cli.terminal import Terminal
from trm_bt.strategies.trm_allocator import TRMAllocator

REFUSED = """
from tests.test_rebalancing import Scripted, five_bars, run
bars = five_bars(open_=[10, 10, 20, 10, 10], close=[10, 10, 10, 10, 10])
ran = run(bars, Scripted, coo=False, script=[None, (0.9, 0.0), *[None] * 3], max_gap=0)
assert ran.n_rejected == 1
"""


@pytest.fixture(autouse=True)
def fresh_loggers():
    """Forget what the command line has set in this process."""
    for name in ("trm_bt", "trm_bt.strategies"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.mark.slow
@pytest.mark.parametrize(
    "setup", ["", "import logging; logging.basicConfig(level=logging.INFO)"]
)
def test_nothing_is_printed_unless_logging_is_set_up(setup):
    done = subprocess.run(
        [sys.executable, "-c", f"{setup}\n{REFUSED}"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert bool(done.stderr) == bool(setup)
    assert ("refused" in done.stderr) == bool(setup)


def test_decisions_and_orders_are_logged_one_by_one(caplog):
    bars = make_bars(90)
    caplog.set_level(logging.INFO, "trm_bt")
    policy = FakePolicy.reading(bars)
    ran = run_backtest(bars, TRMAllocator, params={"policy": policy})
    lines = [record.getMessage() for record in caplog.records]
    assert {record.name.split(".")[0] for record in caplog.records} == {"trm_bt"}
    decided = [line for line in lines if "the policy decides" in line]
    names = [re.search(r"decides (\w+)", line)[1] for line in decided]
    assert names == ran.decisions["allocation_name"].tolist()
    days = [line[:10] for line in decided]
    assert days == ran.decisions["session"].dt.strftime("%Y-%m-%d").tolist()
    targets = [line for line in lines if ": decided equity" in line]
    assert len(targets) == len(ran.decisions)
    assert sum(line.endswith(" sent") for line in lines) == ran.n_submitted
    assert sum(": Completed, " in line for line in lines) == ran.n_completed > 0


def test_refusals_warn_and_holds_say_why(caplog):
    caplog.set_level(logging.DEBUG, "trm_bt")
    bars = five_bars(open_=[10, 10, 20, 10, 10], close=[10, 10, 10, 10, 10])
    script = [None, (0.9, 0.0), (0.1, 0.0), None, None]
    run(
        bars, Scripted, coo=False, script=script, max_gap=0, schedule={"monthdays": [2]}
    )
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [line.split(":")[0] for line in warned] == ["equity"]
    lines = [record.getMessage() for record in caplog.records]
    assert any("not due, kept equity 0.900" in line for line in lines)
    assert any("kept equity" in line and "not due" not in line for line in lines)
    run(bars, Scripted, coo=True, script=[(0.5, 0.0)] * 5, rebalance_band=0.9)
    held = [r.getMessage() for r in caplog.records if "and held" in r.getMessage()]
    assert held


@pytest.mark.parametrize(("verbose", "is_shown"), [(0, 0), (1, 0), (2, 0), (3, 1)])
def test_the_command_line_prints_bars_one_by_one_with_three_v_alone(verbose, is_shown):
    loggers = [logging.getLogger(n) for n in ("trm_bt", "trm_bt.strategies")]
    before = [(logger.level, logger.handlers) for logger in loggers]
    try:
        Terminal(verbose=verbose).start_logging()
        bar_by_bar = logging.getLogger("trm_bt.strategies.rebalancing")
        assert bar_by_bar.isEnabledFor(logging.INFO) == bool(is_shown)
        assert bar_by_bar.isEnabledFor(logging.WARNING)
    finally:
        for logger, (level, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers = handlers
