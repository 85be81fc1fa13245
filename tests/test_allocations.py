"""One table says what the allocations are; everything else derives from it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS, ALLOCATIONS

OTHERS = """
from types import MappingProxyType
import numpy as np
from trm_bt.market import allocations

table = {"all_in": (1.0, 0.0, 0.0), "half": (0.5, 0.5, 0.0), "out": (0.0, 0.1, 0.9)}
allocations.ALLOCATIONS = MappingProxyType(table)
allocations.ALLOCATION_NAMES = tuple(table)
allocations.N_ALLOCATIONS = 3
allocations.ALLOCATION_WEIGHTS = np.array(list(table.values()))

from tests.conftest import make_bars
from tests.fakes import FakePolicy
from trm_bt import TRMAllocator, run_backtest
from trm_bt.evaluation.benchmarks import FIXED
from trm_bt.market.features import compute_features
from trm_bt.market.label_table import summarize_labels
from trm_bt.market.labels import compute_labels
from trm_bt.report.sections.confusion import confusion_chart
from trm_bt.strategies import learned_rules, rules

bars = make_bars(130, 0)
features = compute_features(bars)
labels = compute_labels(bars, features)
assert [n for n in labels if n.startswith("return_")] == [
    "return_all_in", "return_half", "return_out"
]
assert set(labels["winner"]) == {0, 1, 2}
counted = summarize_labels(labels).by_class
assert sum(row.n_wins for row in counted.values()) == len(labels)
policy = FakePolicy(features.schema)
ran = run_backtest(bars, TRMAllocator, params={"policy": policy, "decision": "argmax",
                                               "n_averaged": 1})
assert set(ran.decisions["allocation_name"]) == set(table)
assert {"spy", "sixty_forty", *table} < set(FIXED)
assert (learned_rules.CALM_CLASS, learned_rules.ROUGH_CLASS) == (0, 2)
held = rules.mean_variance_of_eight(rules.history_of(make_bars(400, 0)))
assert {tuple(row) for row in held[300:]} <= set(table.values())
assert "<svg" in confusion_chart([[1, 0, 2], [0, 3, 0], [1, 1, 1]])
"""


def test_weights_are_shares_in_the_order_of_the_names():
    assert tuple(ALLOCATIONS) == ALLOCATION_NAMES
    assert [tuple(row) for row in ALLOCATION_WEIGHTS] == list(ALLOCATIONS.values())
    np.testing.assert_allclose(ALLOCATION_WEIGHTS.sum(axis=1), 1.0, rtol=1e-15)
    assert (ALLOCATION_WEIGHTS >= 0).all()


def test_the_table_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        ALLOCATION_WEIGHTS[0, 0] = 1.0
    with pytest.raises(TypeError, match="does not support item assignment"):
        ALLOCATIONS["defensive"] = (1.0, 0.0, 0.0)


@pytest.mark.slow
def test_another_table_is_followed_everywhere():
    done = subprocess.run(
        [sys.executable, "-c", OTHERS],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
