"""How the benchmarks of the network take time and rows; prints nothing itself.

Seconds are those of the processor, on one thread, and the fastest of several turns in
which all take part one after the other: other work on the machine then counts little.
"""

import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from trm_bt import load_bars
from trm_bt.executors import n_available_cpus
from trm_bt.learning.dataset import Scaler
from trm_bt.market.features import compute_features

N_ROWS = 7_500


def fastest(
    functions: Mapping[str, Callable[[], object]], n_turns: int
) -> dict[str, float]:
    """Return the processor seconds of the fastest of `n_turns` calls of each."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(n_turns):
        for name, function in functions.items():
            begun = time.process_time()
            function()
            taken[name].append(time.process_time() - begun)
    return {name: min(seconds) for name, seconds in taken.items()}


def feature_rows() -> Tensor:
    """Return the standardised features of the newest bars, (at most 7,500, 10)."""
    bars = load_bars(sys.argv[1] if len(sys.argv) > 1 else "sample")
    values = compute_features(bars).frame.to_numpy()[-N_ROWS:]
    return torch.from_numpy(Scaler.fit(values).transform(values))


def processor_name() -> str:
    """Return what the processor calls itself, and how many of it may be used."""
    facts = dict(
        re.findall(r"^(model name|cpu family|model)\s*: (.+)$", _cpu_info(), re.M)
    )
    name = facts.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in facts:  # a hypervisor may hide all but these two
        name += f" (family {facts['cpu family']}, model {facts['model']})"
    return f"{name}, {n_available_cpus()} cores"


def _cpu_info() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""
