"""`cerebro.plot()` of a run with our feeds, indicators and Backtrader's observers."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CASES = {
    f"{engine} {kind}": (settings, has_options)
    for engine, settings in (("runonce", {}), ("step", {"runonce": False}))
    for kind, has_options in (("core", False), ("all", True))
}
SCRIPT = """
import backtrader as bt
import backtrader.plot  # it chooses a backend, and another is chosen again
import matplotlib

matplotlib.use("agg", force=True)

from tests.conftest import make_bars
from tests.fakes import FakePolicy
from tests.test_plot import CASES
from trm_bt.feeds.backtrader import add_bars
from trm_bt.strategies.trm_allocator import TRMAllocator

for name, (settings, has_options) in CASES.items():
    bars = make_bars(320, has_options=has_options)
    cerebro = bt.Cerebro(**settings)
    add_bars(cerebro, bars)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))
    cerebro.addobserver(bt.observers.DrawDown)
    strategy = cerebro.run()[0]
    (figures,) = cerebro.plot(iplot=False, use="agg")
    assert len(figures[0].axes) >= 5, (name, len(figures[0].axes))
    volumes = [d.volume.array for d in strategy.datas if d._name == "volatility"]
    assert all(value != value for value in volumes[0]), "the line itself stays NaN"
    figures[0].savefig(rf"{out}/{{name}}.png")
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The plot of each case, drawn one after another in a process of their own."""
    out = tmp_path_factory.mktemp("plots")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.format(out=out)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("case", CASES)
def test_a_run_with_our_feeds_is_plotted(pictures, case):
    assert (pictures / f"{case}.png").stat().st_size > 10_000
