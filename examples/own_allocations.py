"""Five allocations of your own, from bars to pages: label, train, backtest, report.

On the command line: trm-bt run --allocations five.json --out runs/five
Run: python examples/own_allocations.py [folder]
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from small_model import SMALL

from trm_bt import LabelConfig, RunRequest, load_labels, run

FIVE = {  # shares of equity and bond; the rest is cash
    "shelter": [0.0, 0.4],
    "careful": [0.3, 0.5],
    "even": [0.5, 0.5],
    "bold": [0.8, 0.1],
    "all_in": [1.0, 0.0],
}


def main() -> None:
    """Run through one crisis, and print what each of the five came to."""
    labels = LabelConfig(allocations=FIVE)
    config = SMALL.model_copy(update={"labels": labels})
    request = RunRequest("sample", config, start="2013-01-02", end="2015-10-30")
    with TemporaryDirectory() as folder:
        out = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/five")
        summary = run(request, out, command="own_allocations.py", executor=1)
        winners = load_labels(out / "labels.parquet")["winner"]
        decisions = pd.read_parquet(out / "decisions.parquet")
        page = (out / "index.html").read_text(encoding="utf-8")

    span = summary.out_of_sample
    print(summary.bars.source)
    print(f"labels           {len(winners)}, decided {span.start} to {span.end}")
    print(f"{'':10}equity bond cash   best in labels   probability   return if held")
    for number, (name, (equity, bond)) in enumerate(FIVE.items()):
        shares = f"{equity:6.0%}{bond:5.0%}{1 - equity - bond:5.0%}"
        best, mean = (winners == number).mean(), decisions[f"prob_{name}"].mean()
        earned = summary.strategies[name].total_return
        print(f"{name:10}{shares}{best:17.0%}{mean:14.0%}{earned:17.1%}")
    mixed = summary.strategies["trm"].total_return
    print(f"{'allocator, which holds them mixed by probability':64}{mixed:8.1%}")
    print(f"orders rejected  {summary.orders.rejected}")
    print(f"on the page      {sum(name in page for name in FIVE)} of the five")
    print(f"Shown: {len(FIVE)} allocations of your own through every stage of a run.")


if __name__ == "__main__":
    main()
