"""When a crisis was made good, whatever money its run began with."""

import numpy as np
import pandas as pd
import pytest

from tests.fakes_run import write_fake_run
from tests.test_report_index import table_of
from trm_bt.report.pages import build

CRISIS = "flash_crash"


def first_day_back(closes, n_inside):
    """Go from close to close; the first `n_inside` + 1 are those of the crisis."""
    values, peak, deepest, goal, at = closes.tolist(), closes.iloc[0], 0.0, 0.0, 0
    for i, value in enumerate(values[: n_inside + 1]):
        peak = max(peak, value)
        if value / peak - 1 < deepest:
            deepest, goal, at = value / peak - 1, peak, i
    for day, value in closes.iloc[at + 1 :].items():
        if deepest < 0 and value >= goal * (1 - 1e-9):
            return day.date().isoformat()
    return None


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose allocator holds what SPY holds, with other money in the crisis."""
    folder = tmp_path_factory.mktemp("run")
    write_fake_run(folder, start="2010-02-01", end="2010-12-31")
    equity = pd.read_parquet(folder / "equity.parquet")
    crises = pd.read_parquet(folder / "crisis_equity.parquet")
    base, end = crises.loc[CRISIS].index[[0, -1]]
    # down a twentieth in the crisis, and back at its base to the cent 60 sessions later
    path = np.linspace(1.1, 1.0, 60)
    after = equity.index[equity.index > end]
    equity["spy"] = 1e6
    equity.loc[base:end, "spy"] = np.linspace(1e6, 0.95e6, len(equity.loc[base:end]))
    equity.loc[after[:60], "spy"] = 1e6 / path
    equity["trm"] = 3.0 * equity["spy"]
    inside = equity.loc[base:end]
    for name in ("trm", "spy"):
        crises.loc[(CRISIS, slice(None)), name] = inside[name].to_numpy()
    crises.loc[(CRISIS, slice(None)), "trm"] *= 0.4
    equity.to_parquet(folder / "equity.parquet")
    crises.to_parquet(folder / "crisis_equity.parquet")
    build(folder)
    return folder


def test_equal_weights_recover_on_equal_days(folder):
    equity = pd.read_parquet(folder / "equity.parquet")
    inside = pd.read_parquet(folder / "crisis_equity.parquet").loc[CRISIS]
    whole = equity.loc[inside.index[0] :]
    table = pd.read_csv(folder / "crises.csv", keep_default_na=False)
    found = table[table["crisis"] == CRISIS].set_index("strategy")["recovered_on"]
    for name in [name for name in found.index if name != "trm"]:
        expected = first_day_back(whole[name], len(inside) - 1)
        assert found[name] == (expected or ""), name
    assert found["trm"] == found["spy"] != ""
    page = (folder / "tearsheets" / f"{CRISIS}.html").read_text()
    shown = {row[0]: row[4] for row in table_of(page, "compared")[1:]}
    assert shown["TRM"] == shown["SPY"] == found["trm"]
