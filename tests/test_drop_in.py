"""The allocator in set-ups of other people: optimisation, btrun, files, own rules."""

import subprocess
import sys
from pathlib import Path

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.engine import LiveFeed, closes_frame
from tests.fakes import FakePolicy
from trm_bt.errors import BarsError
from trm_bt.feeds.backtrader import TRMPandasData, add_bars
from trm_bt.report import tearsheet
from trm_bt.strategies.trm_allocator import TRMAllocator

ROOT = Path(__file__).parents[1]
OPTIMISE = """
import sys
import warnings

# Python 3.12 and later warn of every fork of a process with threads
warnings.filterwarnings("ignore", "This process .* is multi-threaded")
import backtrader as bt
import torch

torch.set_num_threads(2)
torch.nn.functional.gelu(torch.randn(2_000, 512) @ torch.randn(512, 512)).sum()

from tests.conftest import make_bars
from trm_bt import TRMAllocator
from trm_bt.feeds.backtrader import add_bars

bars = make_bars(700, seed=3).between("2003-01-02")
cerebro = bt.Cerebro(maxcpus=int(sys.argv[2]), stdstats=False)
add_bars(cerebro, bars)
cerebro.addanalyzer(bt.analyzers.TimeReturn, _name="returns")
cerebro.optstrategy(
    TRMAllocator,
    checkpoint=sys.argv[1],
    allow_in_sample=True,
    rebalance_band=[0.0, 0.05],
    min_confidence=[0.0, 0.5],
)
for (ran,) in cerebro.run():
    total = sum(ran.analyzers.returns.get_analysis().values())
    print(ran.params.rebalance_band, ran.params.min_confidence, repr(total))
"""


def optimise(checkpoint, maxcpus):
    done = subprocess.run(
        [sys.executable, "-c", OPTIMISE, str(checkpoint), str(maxcpus)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@pytest.fixture(scope="module")
def wide_checkpoint(tmp_path_factory):
    """Train a network wide enough for torch to share its work among threads."""
    from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
    from trm_bt.learning.checkpoint import save_checkpoint
    from trm_bt.learning.dataset import samples_from_labels
    from trm_bt.learning.trainer import train
    from trm_bt.market.features import compute_features
    from trm_bt.market.labels import compute_labels

    bars = make_bars(700, seed=3).between(end="2003-01-01")
    features = compute_features(bars)
    config = TRMConfig(
        model=ModelConfig(hidden_dim=512, max_supervision_steps=1),
        training=TrainingConfig(
            epochs=1, n_supervision_steps=1, max_batches_per_epoch=1, min_labels=300
        ),
    )
    samples = samples_from_labels(compute_labels(bars, features))
    trained = train(samples, features.schema, config, name="wide")
    folder = tmp_path_factory.mktemp("checkpoints") / "wide"
    save_checkpoint(trained, folder)
    return folder


@pytest.mark.slow
def test_optimising_in_processes_after_torch_was_used_does_not_hang(wide_checkpoint):
    together = optimise(wide_checkpoint, 2)
    assert len(together.splitlines()) == 4
    assert len(set(together.splitlines())) == 4
    assert optimise(wide_checkpoint, 1) == together


def write_yahoo_csv(frame, path):
    """Write a file as Yahoo's are, which `btrun` and Backtrader's feed read."""
    table = frame.reindex(columns=["open", "high", "low", "close", "volume"])
    table = table.fillna(0.0).rename_axis("Date").round(4)
    table.insert(4, "Adj Close", table["close"])
    table.to_csv(path)


@pytest.fixture
def csv_folder(tiny_checkpoint, tmp_path):
    bars, _ = tiny_checkpoint
    for role, name in (("equity", "SPY"), ("bond", "TLT"), ("volatility", "VIX")):
        write_yahoo_csv(getattr(bars, role), tmp_path / f"{name}.csv")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("form", ["its own", "one that re-exports"])
def test_btrun_runs_the_allocator_from_a_file(tiny_checkpoint, csv_folder, form):
    """The second is what someone who installed the package has."""
    _, checkpoint = tiny_checkpoint
    strategy = ROOT / "strategies" / "trm_allocator.py"
    if form != "its own":
        strategy = csv_folder / "allocator.py"
        strategy.write_text("from trm_bt import TRMAllocator\n")
    files = [
        part
        for name in ("VIX", "TLT", "SPY")  # found by name, whatever the order
        for part in ("--data", str(csv_folder / f"{name}.csv"))
    ]
    done = subprocess.run(
        [
            Path(sys.executable).with_name("btrun"),
            *files,
            *("--format", "yahoocsv", "--nostdstats", "--cash", "100000"),
            *("--analyzer", ":Transactions", "--ppranalyzer"),
            *("--strategy", f"{strategy}:TRMAllocator:checkpoint='{checkpoint}'"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'SPY'") >= 1
    assert "'VIX'" not in done.stdout


def test_files_without_names_are_found_by_what_they_are_called(bars, tmp_path):
    cerebro = bt.Cerebro(stdstats=False)
    for role, name in (("volatility", "^VIX"), ("bond", "tlt"), ("equity", "Spy")):
        write_yahoo_csv(getattr(bars, role), tmp_path / f"{name}.csv")
        feed = bt.feeds.YahooFinanceCSVData(dataname=str(tmp_path / f"{name}.csv"))
        cerebro.adddata(feed)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))
    (ran,) = cerebro.run()
    assert len(ran.decisions) == len(bars.sessions) - 59
    filled = ran.orders.dropna(subset=["filled_on"])
    on_equity = filled[filled["asset"] == "equity"]
    opens = bars.equity["open"].loc[on_equity["filled_on"]].round(4)
    np.testing.assert_allclose(on_equity["price"], opens, rtol=0.01)


def test_one_feed_does_not_play_two_roles(bars):
    cerebro = bt.Cerebro()
    for name in ("SPY", "TLT", "VIX"):
        cerebro.adddata(TRMPandasData(dataname=bars.equity), name=name)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars), bond="SPY")
    with pytest.raises(BarsError, match="equity and bond must have a feed each, got"):
        cerebro.run()


def test_a_rate_is_no_role_by_its_place(bars):
    cerebro = bt.Cerebro(stdstats=False)
    for role, name in (("equity", "a"), ("bond", "b"), ("volatility", "c")):
        if role == "volatility":
            rate = closes_frame(bars.cash_rate)
            cerebro.adddata(TRMPandasData(dataname=rate), name="cash_rate")
        cerebro.adddata(TRMPandasData(dataname=getattr(bars, role)), name=name)
    policy = FakePolicy.reading(bars)
    cerebro.addstrategy(TRMAllocator, policy=policy, roles="by_order")
    (ran,) = cerebro.run()
    closes = bars.volatility["close"].loc[ran.decisions["session"]]
    assert ran.decisions["vix_level"].tolist() == closes.tolist()


@pytest.mark.parametrize("kind", ["batch", "live"])
def test_optional_feeds_are_read_where_the_schema_needs_them(full_bars, kind):
    bars = full_bars.between(None, full_bars.sessions[299])
    policy = FakePolicy.reading(bars)
    cerebro = bt.Cerebro(stdstats=False)
    if kind == "batch":
        add_bars(cerebro, bars)
    else:
        frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": bars.volatility}
        optional = {name: bars.members[name] for name in bars.members}
        optional |= {"put_call": bars.put_call, "cash_rate": bars.cash_rate}
        frames |= {name: closes_frame(values) for name, values in optional.items()}
        for name, frame in frames.items():
            cerebro.adddata(LiveFeed(dataname=frame), name=name)
    cerebro.addstrategy(TRMAllocator, policy=policy)
    (ran,) = cerebro.run()
    assert len(ran.decisions) == 300 - policy.schema.n_lookback + 1
    assert policy.schema.has_put_call


class NoMoreThanHalf(TRMAllocator):
    """Hold at most half in the equity while it is below its average."""

    params = (("period", 100),)

    def __init__(self):
        super().__init__()
        self.average = bt.indicators.SMA(self.datas[0], period=self.p.period)

    def target_weights(self):
        weights = super().target_weights()
        if weights is None or self.datas[0].close[0] >= self.average[0]:
            return weights
        return min(weights[0], 0.5), weights[1]


@pytest.mark.slow
@pytest.mark.parametrize("runonce", [True, False], ids=["runonce", "next"])
def test_a_rule_of_ones_own_changes_the_targets_and_keeps_the_decisions(bars, runonce):
    runs = []
    for kind in (TRMAllocator, NoMoreThanHalf):
        cerebro = bt.Cerebro(stdstats=False, runonce=runonce)
        cerebro.broker.set_cash(1e6)
        add_bars(cerebro, bars)
        policy = FakePolicy.reading(bars)
        cerebro.addstrategy(kind, policy=policy, n_averaged=1)
        runs.append(cerebro.run()[0])
    plain, own = (ran.decisions.set_index("session") for ran in runs)
    assert own.index[0] == bars.sessions[99]  # when the average is there
    plain = plain.loc[own.index]
    assert own["allocation"].tolist() == plain["allocation"].tolist()
    closes = bars.equity["close"]
    is_below = closes < closes.rolling(100).mean()
    expected = plain["target_equity"].where(
        ~is_below.loc[own.index], np.minimum(plain["target_equity"], 0.5)
    )
    assert expected.tolist() == own["target_equity"].tolist()
    assert (own["target_equity"] < plain["target_equity"]).sum() > 20


def test_low_confidence_is_counted(bars):
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, bars)
    policy = FakePolicy.reading(bars)
    cerebro.addstrategy(TRMAllocator, policy=policy, n_averaged=1, min_confidence=0.5)
    (ran,) = cerebro.run()
    assert 0 < ran.n_kept == (ran.decisions["confidence"] < 0.5).sum()


@pytest.mark.slow
def test_a_tearsheet_is_made_of_any_such_run(bars, tmp_path):
    cerebro = bt.Cerebro()
    add_bars(cerebro, bars)
    cerebro.addstrategy(NoMoreThanHalf, policy=FakePolicy.reading(bars))
    (ran,) = cerebro.run()
    page = tearsheet(ran, tmp_path / "page.html", title="Half")
    assert "<h1>Half" in page.read_text(encoding="utf-8")


def test_a_wide_network_explains_each_step(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, bars)
    cerebro.addstrategy(TRMAllocator, checkpoint=folder, decide_from=bars.sessions[600])
    (ran,) = cerebro.run()
    log = ran.decisions
    steps = [name for name in log if name.startswith("step")]
    n_steps = log["n_steps"].max()
    assert len(steps) == 8 * n_steps
    for row in (0, 50):
        taken = int(log["n_steps"][row])
        last = log.loc[row, [s for s in steps if s.startswith(f"step{taken}_")]]
        probs = log.loc[row, [s.replace(f"step{taken}_", "") for s in last.index]]
        np.testing.assert_array_equal(last.astype(float), probs.astype(float))
    from trm_bt.learning.checkpoint import load_checkpoint

    scaler = load_checkpoint(folder).scaler
    z = (log["vix_level"] - scaler.mean[0]) / scaler.std[0]
    np.testing.assert_allclose(log["z_vix_level"], z, rtol=1e-6)
    assert log["z_correlation"].notna().all()


def test_decisions_of_a_fake_have_no_steps(bars):
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, bars)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))
    (ran,) = cerebro.run()
    assert not [name for name in ran.decisions if name.startswith("step")]
    assert ran.decisions["z_vix_level"].isna().all()
    assert isinstance(ran.halts, pd.DatetimeIndex)
