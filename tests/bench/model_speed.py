"""Time the network: its plain form, oneDNN and MKL, single rows, bfloat16.

The network has its default size and makes one pass over every row of features; the
plain form gets whole batches. Their logits are compared. Imports are timed in fresh
interpreters, start and end included.
    python -m tests.bench.model_speed [folder with SPY, TLT and VIX files]
"""

import copy
import resource
import subprocess
import sys

import torch
from torch import Tensor

from tests.bench.plain_model import PlainModel
from tests.bench.side_by_side import fastest, feature_rows
from trm_bt.config import ModelConfig
from trm_bt.learning import nets
from trm_bt.learning.model import TinyRecursiveModel

N_TURNS = 5
N_OTHER_TURNS = 20
N_IMPORTS = 10
BATCHES = (768, 1_024)


@torch.no_grad()
def plain_logits(plain: PlainModel, features: Tensor, batch: int) -> Tensor:
    """Make one pass over whole batches, shape (n_rows, 8)."""
    logits = []
    for rows in features.split(batch):
        start = rows.new_zeros(len(rows), plain.config.hidden_dim)
        logits.append(plain(rows, start, start)[0])
    return torch.cat(logits)


def count_clear(ours: Tensor, plain: Tensor) -> int:
    """Return the rows with a clear margin; on each both must decide alike."""
    top = plain.topk(2, dim=1).values
    is_clear = top[:, 0] - top[:, 1] > 1e-4
    assert torch.equal(ours.argmax(1)[is_clear], plain.argmax(1)[is_clear])
    return int(is_clear.sum())


def import_seconds(module: str) -> float:
    """Return the processor seconds of a fresh interpreter that imports a module."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_passes(model: TinyRecursiveModel, features: Tensor) -> None:
    """Print a line per batch size: both forms, batch by batch, fastest turns added."""
    plain = PlainModel(model).eval()
    found = model.predict(features).logits
    for n in BATCHES:
        ours = theirs = 0.0
        for rows in features.split(n):
            taken = fastest(
                {
                    "ours": lambda rows=rows: model.predict(rows),
                    "plain": lambda rows=rows, n=n: plain_logits(plain, rows, n),
                },
                N_TURNS,
            )
            ours, theirs = ours + taken["ours"], theirs + taken["plain"]
        n_clear = count_clear(found, plain_logits(plain, features, n))
        print(
            f"a pass over {len(features)} rows, batches of {n:5}: {ours:.2f} s, plain "
            f"form {theirs / ours:.2f} times as long; {n_clear} rows with a margin "
            "over 1e-4 decide alike"
        )


def print_libraries(model: TinyRecursiveModel, rows: Tensor) -> None:
    """Print what oneDNN's private operators bring over torch's own products."""

    def predict_by_mkl() -> None:
        has_onednn, nets.HAS_ONEDNN = nets.HAS_ONEDNN, False
        model.predict(rows)
        nets.HAS_ONEDNN = has_onednn

    taken = fastest(
        {"oneDNN": lambda: model.predict(rows), "MKL": predict_by_mkl}, N_OTHER_TURNS
    )
    print(
        f"{len(rows)} rows by oneDNN {1e3 * taken['oneDNN']:.0f} ms, by MKL "
        f"{taken['MKL'] / taken['oneDNN']:.2f} times as long"
    )


def print_others(model: TinyRecursiveModel, rows: Tensor) -> None:
    """Print a line for single rows and one for bfloat16, against a batch of rows."""
    half, first = copy.deepcopy(model).bfloat16(), rows[:1]
    with torch.inference_mode():
        weights = model.weights()
    taken = fastest(
        {
            "batch": lambda: model.predict(rows),
            "alone": lambda: model.predict(first, weights=weights),
            "half": lambda: half.predict(rows.bfloat16()),
        },
        N_OTHER_TURNS,
    )
    alone = len(rows) * taken["alone"] / taken["batch"]
    print(f"rows one at a time, not {len(rows)} together: {alone:.0f} times as long")
    print(f"bfloat16: {taken['half'] / taken['batch']:.2f} of float32")


def main() -> None:
    """Print all ratios."""
    torch.set_num_threads(1)
    model = TinyRecursiveModel(ModelConfig(max_supervision_steps=1))
    features = feature_rows()
    print_passes(model, features)
    print_libraries(model, features[: BATCHES[0]])
    print_others(model, features[: BATCHES[0]])
    names = ("trm_bt", "backtrader")
    turns = [[import_seconds(name) for name in names] for _ in range(N_IMPORTS)]
    ours, theirs = map(min, zip(*turns, strict=True))
    print(
        f"import trm_bt {1e3 * ours:.0f} ms, backtrader {1e3 * theirs:.0f} ms: "
        f"{ours / theirs:.2f} of it"
    )


if __name__ == "__main__":
    main()
