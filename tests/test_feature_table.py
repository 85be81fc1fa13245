"""One table says what there is to say of a feature, in code, pictures and docs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from trm_bt.config import FeatureConfig
from trm_bt.market import formulas, proxies
from trm_bt.market.feature_table import FEATURES
from trm_bt.report.templating import label

DOCS = Path(__file__).parents[1] / "docs" / "features.md"
ADDED = """
import numpy as np
from trm_bt.market import feature_table
from trm_bt.market.feature_table import Feature, Formula
from trm_bt.market.windows import Column

def bond_level(bond, lookback):
    return Column.sure(bond[lookback - 1 :])

added = Formula(bond_level, ("bond",), ("breadth_lookback",))
feature_table.FEATURES += (
    Feature("bond_level", "Level of the bond", "share", added),
)

import backtrader as bt
from tests.conftest import make_bars
from tests.fakes import FakePolicy
from trm_bt import MarketFeatures, TRMAllocator, run_backtest
from trm_bt.config import FeatureConfig
from trm_bt.feeds.backtrader import add_bars
from trm_bt.market.features import FEATURE_NAMES, compute_features, schema_for
from trm_bt.market.labels import compute_labels
from trm_bt.report.templating import label

assert len(FEATURE_NAMES) == 11
bars, lookbacks = make_bars(130, 0), FeatureConfig(breadth_lookback=71)
computed = compute_features(bars, lookbacks)
assert computed.frame.index[0] == bars.sessions[70]
closes = bars.bond["close"].iloc[70:]
assert computed.frame["bond_level"].tolist() == closes.tolist()
assert computed.schema.status_by_name["bond_level"] == "observed"
labels = compute_labels(bars, computed)
assert labels["bond_level"].tolist() == closes[: len(labels)].tolist()
policy = FakePolicy(computed.schema)
ran = run_backtest(bars, TRMAllocator, params={"policy": policy})
assert ran.decisions["bond_level"].tolist() == closes.tolist()
assert ran.decisions["z_bond_level"].isna().all()
assert "bond_level" in MarketFeatures.lines.getlinealiases()
assert label("bond_level") == "Level of the bond"
"""


@pytest.mark.slow
def test_a_feature_is_added_by_one_entry_and_one_function():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ADDED],
        cwd=DOCS.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_names_and_labels_are_unique():
    for values in ([f.name for f in FEATURES], [f.label for f in FEATURES]):
        assert len(set(values)) == len(FEATURES)
    assert [label(f.name) for f in FEATURES] == [f.label for f in FEATURES]


def test_every_lookback_setting_is_read_and_no_other():
    used = {
        name
        for feature in FEATURES
        for formula in (feature.formula, feature.proxy)
        if formula
        for name in formula.lookbacks
    }
    assert used == set(FeatureConfig.model_fields)


def test_every_formula_of_the_two_modules_stands_in_the_table():
    used = {f.formula.compute for f in FEATURES}
    used |= {f.proxy.compute for f in FEATURES if f.proxy}
    written = {
        function
        for module in (formulas, proxies)
        for name, function in vars(module).items()
        if getattr(function, "__module__", "") == module.__name__
        and not name.startswith("_")
    }
    assert used == written - {formulas.gini}


def table_rows(heading: str) -> dict[str, list[str]]:
    """Return the cells of the table of the docs whose head begins with `heading`."""
    text = DOCS.read_text(encoding="utf-8")
    lines = text[text.index(f"| feature | {heading}") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip(" `"): row for row in cells[2:]}


@pytest.mark.parametrize("heading", ["formula", "proxy"])
def test_the_docs_list_what_the_table_has(heading):
    told = table_rows(heading)
    listed = {
        feature.name: getattr(feature, heading)
        for feature in FEATURES
        if getattr(feature, heading)
    }
    assert list(told) == list(listed)
    for name, formula in listed.items():
        lookbacks = formula.sessions_looked_back(FeatureConfig())
        newest = str(lookbacks[-1]) if lookbacks else "–"  # noqa: RUF001 # as printed
        assert told[name][-1].strip() == newest, name
        if len(lookbacks) > 1:
            assert re.search(rf"\b{lookbacks[0]} sessions", told[name][1]), name
    if heading == "formula":
        assert [row[3] for row in told.values()] == [f.unit for f in FEATURES]
