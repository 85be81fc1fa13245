"""Five allocations of one's own, from bars to pages: label, train, backtest, report.

On the command line: trm-bt run --allocations five.json --out runs/five
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from trm_bt import LabelConfig, ModelConfig, RunRequest, TrainingConfig, TRMConfig, run

FIVE = {  # shares of equity and bond; the rest is cash
    "shelter": [0.0, 0.4],
    "careful": [0.3, 0.5],
    "even": [0.5, 0.5],
    "bold": [0.8, 0.1],
    "all_in": [1.0, 0.0],
}


def main() -> None:
    """Run through one crisis, and print what each of the five came to."""
    config = TRMConfig(
        labels=LabelConfig(allocations=FIVE),
        model=ModelConfig(hidden_dim=32, max_supervision_steps=1),
        training=TrainingConfig(epochs=1, n_supervision_steps=1),
    )
    request = RunRequest("sample", config, start="2013-01-02", end="2015-10-30")
    with TemporaryDirectory() as folder:
        out = Path(folder) / "five"
        summary = run(request, out, command="own_allocations.py", executor=1)
        page = (out / "index.html").read_text(encoding="utf-8")
        written = json.loads((out / "run.json").read_text(encoding="utf-8"))
    print(summary.bars.source)
    print(f"chooses from     {', '.join(summary.allocations)}")
    kept = [entry["name"] for entry in written["feature_schema"]["allocations"]]
    print(f"kept in schema   {kept == list(FIVE)}")
    print(f"on the page      {all(name in page for name in FIVE)}")
    print(f"orders rejected  {summary.orders.rejected}")
    for name in ("trm", "spy", *FIVE):
        print(f"{name:16} {summary.strategies[name].total_return:7.1%}")


if __name__ == "__main__":
    main()
