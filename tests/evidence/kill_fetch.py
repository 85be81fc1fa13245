"""Kill a fetch again and again, and look whether the store is sound each time.

A local server speaks Yahoo's protocol, the real yfinance asks it for sixteen symbols of
up to 38 years. The vendor's history changes before every fetch, so that each one
rewrites all symbols. A fetch is killed by SIGKILL at a random moment; then every symbol
must be wholly of the state before or of the state after, and readable.
    python -m tests.evidence.kill_fetch
        [folder with SPY.csv ...] [--kills 200] [--seed 0]
"""

import argparse
import multiprocessing
import os
import signal
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd

from tests.yahoo_server import LocalSession, Vendor, serving
from trm_bt.feeds.fetch import fetch_all
from trm_bt.feeds.store import BarStore
from trm_bt.feeds.tables import read_table
from trm_bt.feeds.yahoo import Yahoo

SYMBOLS = Yahoo.default_symbols
NOW = pd.Timestamp("2024-01-02 12:00", tz="UTC")


def histories(folder: Path, factor: float) -> dict[str, pd.DataFrame]:
    """Return a history a symbol; another factor is another history."""
    frames = {}
    for symbol in SYMBOLS:
        name = {"^VIX": "VIX", "^IRX": "VIX"}.get(symbol, symbol)
        frame = read_table(folder / f"{name}.csv")
        frame = frame.reindex(columns=["open", "high", "low", "close", "volume"])
        frame[["open", "high", "low", "close"]] *= factor
        frames[symbol] = frame.fillna({"volume": 0.0})
    return frames


def fetch(folder: Path, port: int) -> None:
    """Fetch all symbols; runs in a process of its own."""
    import yfinance

    yfinance.set_tz_cache_location(str(folder.parent / "yfinance"))
    yahoo = Yahoo(folder, session=LocalSession(port))
    fetch_all(yahoo, SYMBOLS, now=NOW)


def run(folder: Path, port: int, seconds: float | None = None) -> bool:
    """Fetch in a child process, killed after `seconds`; tell whether it was."""
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=fetch, args=(folder, port))
    child.start()
    child.join(seconds)
    if child.is_alive():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
    return child.exitcode != 0


def states(folder: Path) -> dict[str, str]:
    """Read every symbol whole, digests checked, and return the digests."""
    store = BarStore(folder, Yahoo.key)
    digests = {}
    for symbol in SYMBOLS:
        raw = store.read(symbol)
        entry = store.entry(symbol)
        assert entry is not None
        assert entry.rows == len(raw)
        digests[symbol] = entry.sha256
    return digests


def main() -> None:
    """Kill, look, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path("../shared/market")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    # further from what the store holds, a history is doubted and nothing is rewritten
    market = [histories(options.folder, factor) for factor in (1.0, 1.1)]
    vendor = Vendor(market[0])
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as work, serving(vendor) as port:
        folder = Path(work) / "store"
        run(folder, port)
        wholes = [states(folder)]
        vendor.frames = market[1]
        begun = time.perf_counter()
        run(folder, port)
        seconds = time.perf_counter() - begun
        wholes.append(states(folder))
        same = [s for s in SYMBOLS if wholes[0][s] == wholes[1][s]]
        assert not same, f"not rewritten: {', '.join(same)}"
        print(f"a whole fetch takes {seconds:.1f} s", flush=True)
        for turn in count():
            before = states(folder)
            vendor.frames = market[turn % 2]
            was_killed = run(folder, port, rng.uniform(0, seconds))
            after = states(folder)
            for symbol, digest in after.items():
                assert digest in {whole[symbol] for whole in wholes}, symbol
            n_new = sum(after[symbol] != before[symbol] for symbol in after)
            counts["killed" if was_killed else "ended before its kill"] += 1
            counts["killed with some symbols new"] += was_killed and n_new > 0
            counts["symbols rewritten"] += n_new
            counts["files left behind"] += n_strays(folder)
            if counts["killed"] == options.kills:
                break
        run(folder, port)
        print(f"{options.kills} kills, every store sound: {dict(counts)}")
        print(f"after a last whole fetch {n_strays(folder)} files are left behind")


def n_strays(folder: Path) -> int:
    """Count the files of bars, finished or not, that are no symbol's."""
    n_symbols = len(BarStore(folder, Yahoo.key).symbols())
    return len(list(folder.rglob("*.parquet"))) - n_symbols


if __name__ == "__main__":
    main()
