"""`cerebro.plot()` of a run with our feeds, indicators and Backtrader's observers."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import backtrader as bt
import backtrader.plot  # it chooses a backend, and another is chosen again
import matplotlib

matplotlib.use("agg", force=True)

from tests.conftest import make_bars
from tests.fakes import FakePolicy
from trm_bt.feeds.backtrader import add_bars
from trm_bt.strategies.trm_allocator import TRMAllocator

bars = make_bars(320, has_options={has_options})
cerebro = bt.Cerebro(**{settings})
add_bars(cerebro, bars)
cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))
cerebro.addobserver(bt.observers.DrawDown)
strategy = cerebro.run()[0]
(figures,) = cerebro.plot(iplot=False, use="agg")
assert len(figures[0].axes) >= 5, len(figures[0].axes)
volumes = [feed.volume.array for feed in strategy.datas if feed._name == "volatility"]
assert all(value != value for value in volumes[0]), "the line itself stays NaN"
figures[0].savefig(r"{out}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"runonce": False}], ids=["runonce", "step"])
@pytest.mark.parametrize("has_options", [False, True])
def test_a_run_with_our_feeds_is_plotted(settings, has_options, tmp_path):
    out = tmp_path / "plot.png"
    script = SCRIPT.format(settings=settings, out=out, has_options=has_options)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 10_000
