"""A table of allocations of one's own: followed from labels to pages, and kept."""

import json
from dataclasses import replace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.command_line import SMALL, invoke, write_folder, write_settings
from tests.conftest import make_bars
from trm_bt import TRMDecision, decide
from trm_bt.audit.api import AuditSettings, audit_policy
from trm_bt.backtest import run_backtest
from trm_bt.config import LabelConfig, TRMConfig
from trm_bt.errors import CheckpointError, ConfigError, RunError
from trm_bt.evaluation.benchmarks import DecisionRecord, fixed_mixes
from trm_bt.evaluation.comparison import calibration_and_confusion, run_comparison
from trm_bt.feeds.backtrader import add_bars
from trm_bt.learning.checkpoint import load_checkpoint, save_checkpoint
from trm_bt.learning.dataset import samples_from_labels
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.trainer import train
from trm_bt.market.allocations import ALLOCATIONS, Allocations, read_allocations
from trm_bt.market.features import compute_features
from trm_bt.market.label_table import load_labels
from trm_bt.market.labels import compute_labels
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.backtest import backtest_checkpoint
from trm_bt.strategies.trm_allocator import TRMAllocator

# no order of the alphabet, and a name that is one of the eight's
FIVE = {
    "shelter": [0.0, 0.4],
    "growth": [0.3, 0.5],
    "even": {"equity": 0.5, "bond": 0.5},
    "bold": [0.8, 0.1],
    "all_in": [1.0, 0.0],
}
WEIGHTS = [(0, 0.4, 0.6), (0.3, 0.5, 0.2), (0.5, 0.5, 0), (0.8, 0.1, 0.1), (1, 0, 0)]
EIGHT = {name: list(weights[:2]) for name, weights in ALLOCATIONS.items()}


def config_of(table):
    return TRMConfig.model_validate(SMALL | {"labels": {"allocations": table}})


@pytest.fixture(scope="module")
def bars():
    return make_bars(420, 7)


@pytest.fixture(scope="module")
def features(bars):
    return compute_features(bars)


def trained_on(bars, features, table, name="mine"):
    config = config_of(table)
    seen = bars.between(None, bars.sessions[300])
    labels = compute_labels(seen, features, config.labels)
    samples = samples_from_labels(labels)
    return train(samples, features.schema, config, name=name)


@pytest.fixture(scope="module")
def model(bars, features):
    return trained_on(bars, features, FIVE)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("own") / "mine"
    save_checkpoint(model, out)
    return out


@pytest.fixture(scope="module")
def labels(bars, features):
    return compute_labels(bars, features, LabelConfig(allocations=FIVE))


def test_labels_are_of_the_table_by_a_plain_loop(bars, labels):
    opens = [frame["open"].to_numpy() for frame in (bars.equity, bars.bond)]
    rate, names = bars.cash_rate.to_numpy(), list(FIVE)
    assert [c for c in labels if c.startswith("return_")] == [
        f"return_{name}" for name in names
    ]
    for session in labels.index[::37]:
        t = bars.sessions.get_loc(session)
        cash = 1.0
        for k in range(t + 2, t + 7):
            cash *= 1 + rate[k - 1] / 252
        grown = [o[t + 6] / o[t + 1] - 1 for o in opens] + [cash - 1]
        earned = [
            sum(w * g for w, g in zip(row, grown, strict=True)) for row in WEIGHTS
        ]
        found = labels.loc[session, [f"return_{name}" for name in names]].tolist()
        assert found == pytest.approx(earned, abs=1e-12)
        assert labels.loc[session, "winner"] == int(np.argmax(earned))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_command_line_labels_by_a_table_that_can_be_read_back(
    bars, features, tmp_path, suffix
):
    inputs = write_folder(tmp_path / "bars", bars)
    table = write_settings(tmp_path / "five.json", FIVE)
    code, out, error = invoke(
        *("labels", "--bars", inputs, "--allocations", table),
        *("--out", tmp_path / "labels", "--json"),
    )
    assert code == 0, error
    assert list(json.loads(out)["by_class"]) == list(FIVE)
    path = tmp_path / "labels" / f"labels.{suffix}"
    read = load_labels(path)
    unpaid = replace(bars, cash_rate=None)  # the folder has no rates
    expected = compute_labels(unpaid, features, LabelConfig(allocations=FIVE))
    assert read["winner"].tolist() == expected["winner"].tolist()
    damaged = read.drop(columns="return_bold")
    damaged.attrs = read.attrs
    damaged.to_parquet(tmp_path / "labels" / "labels.parquet")
    if suffix == "parquet":
        with pytest.raises(RunError, match="`return_bold`"):
            load_labels(path)


def test_a_checkpoint_keeps_the_table_in_its_schema_and_order(model, folder):
    again = load_checkpoint(folder)
    assert again.schema.table.names == tuple(FIVE)
    np.testing.assert_allclose(again.schema.table.weights, WEIGHTS, atol=1e-15)
    np.testing.assert_allclose(again.schema.table.weights.sum(axis=1), 1, rtol=1e-15)
    assert again.schema == model.schema
    heads = [t for t in again.parameters.values() if t.shape[:1] == (5,)]
    assert heads


class Reader(bt.Strategy):
    """Read the lines of the decision."""

    params = (("checkpoint", None),)

    def __init__(self):
        self.signal = TRMDecision(*self.datas[:3], checkpoint=self.p.checkpoint)
        self.rows = []

    def next(self):
        lines = self.signal.lines
        self.rows.append(
            [getattr(lines, f"prob_{name}")[0] for name in FIVE]
            + [lines.halt_prob[0], lines.allocation[0]]
        )


@pytest.mark.slow
@pytest.mark.parametrize("runonce", [True, False])
def test_the_indicator_has_the_lines_of_the_table(bars, folder, runonce):
    cerebro = bt.Cerebro(stdstats=False, runonce=runonce)
    add_bars(cerebro, bars)
    cerebro.addstrategy(Reader, checkpoint=folder)
    (ran,) = cerebro.run()
    assert isinstance(ran.signal, TRMDecision)
    last = ran.rows[-1]
    assert sum(last[:5]) == pytest.approx(1)
    assert int(last[-1]) == int(np.argmax(last[:5]))
    assert not hasattr(ran.signal.lines, "prob_defensive")
    assert np.isnan(ran.rows[0]).all()


@pytest.mark.parametrize("decision", ["argmax", "blend"])
def test_the_allocator_trades_the_table(bars, folder, decision):
    policy = TRMPolicy.load(folder)
    ran = run_backtest(
        bars,
        TRMAllocator,
        params={"policy": policy, "decision": decision, "n_averaged": 1},
        decide_from=bars.sessions[330],
    )
    log = ran.decisions
    assert set(log["allocation_name"]) <= set(FIVE)
    probabilities = log[[f"prob_{name}" for name in FIVE]].to_numpy()
    chosen = np.eye(5)[log["allocation"].astype(int)]
    shares = probabilities if decision == "blend" else chosen
    targets = log[["target_equity", "target_bond", "target_cash"]].to_numpy()
    np.testing.assert_allclose(targets, shares @ np.array(WEIGHTS), atol=1e-12)
    assert ran.n_rejected == 0
    report = decide(folder, bars)
    assert list(report.probabilities) == list(FIVE)


@pytest.mark.slow
def test_a_backtest_of_the_checkpoint_holds_its_allocations_beside_it(
    bars, folder, tmp_path
):
    inputs = write_folder(tmp_path / "bars", bars)
    summary = backtest_checkpoint(RunRequest(str(inputs)), folder, tmp_path / "out")
    named = ["trm", "spy", "sixty_forty", *FIVE, "exposure_matched"]
    assert list(summary.strategies) == named
    assert summary.allocations == tuple(FIVE)
    assert list(summary.schedules) == ["bar", "weekly", "monthly", "change"]
    each, month = summary.schedules["bar"], summary.schedules["monthly"]
    assert month.trading_sessions < each.trading_sessions
    assert month.costs_annual < each.costs_annual
    assert each.turnover_annual == summary.strategies["trm"].turnover_annual
    assert each.costs_annual == pytest.approx(2 * 5e-4 * each.turnover_annual)


def test_the_eight_given_as_a_table_are_the_eight_to_the_bit(bars, features):
    default = trained_on(bars, features, None)
    given = trained_on(bars, features, EIGHT)
    assert default.schema.allocations is None
    for name, tensor in default.parameters.items():
        assert tensor.numpy().tobytes() == given.parameters[name].numpy().tobytes()
    rows = features.frame[-50:]
    sessions = pd.DatetimeIndex(rows.index)
    made = [TRMPolicy([m]).decide(sessions, rows.to_numpy()) for m in (default, given)]
    for ours, theirs in zip(*made, strict=True):
        assert ours.probabilities.tobytes() == theirs.probabilities.tobytes()
        assert ours.allocation == theirs.allocation
    assert default.schema.table.is_same(given.schema.table)


def test_a_checkpoint_of_the_defaults_holds_no_key_that_came_later(
    bars, features, tmp_path
):
    """So that what an earlier version wrote is read, byte for byte."""
    default = trained_on(bars, features, None)
    earlier = replace(default, scaler=replace(default.scaler, low=None, high=None))
    save_checkpoint(earlier, tmp_path / "earlier")
    text = (tmp_path / "earlier" / "checkpoint.json").read_text()
    assert not {"allocations", "schedule", "low", "high"} & set(_keys(json.loads(text)))
    report = decide(tmp_path / "earlier", bars)
    assert {r.is_outside for r in report.features.values()} == {None}
    assert report.outside == ()


def _keys(value):
    """Yield every key of nested JSON."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield key
        yield from _keys(inner)


def test_models_that_choose_from_others_are_refused(bars, features, model):
    other = trained_on(bars.between(None, bars.sessions[-2]), features, None, "eight")
    known = other.record.last_label_known_on.replace(year=2000)
    other = replace(
        other, record=other.record.model_copy(update={"last_label_known_on": known})
    )
    with pytest.raises(CheckpointError, match="choose from the same allocations"):
        TRMPolicy([other, model])


def test_labels_of_another_table_are_not_trained_on(bars, features, labels):
    samples = samples_from_labels(labels)
    with pytest.raises(ConfigError, match="the labels have 5 and"):
        train(samples, features.schema, config_of(None), name="mine")


def test_the_audit_reads_the_table(bars, folder):
    policy = TRMPolicy.load(folder)
    result = audit_policy(lambda _: policy, bars, AuditSettings(n_cuts=3), n_rows=8)
    assert result.difference is None


@pytest.mark.slow
def test_a_comparison_is_held_on_the_table(bars, folder):
    policy = TRMPolicy.load(folder)
    log = run_backtest(
        bars, TRMAllocator, params={"policy": policy}, decide_from=bars.sessions[310]
    ).decisions.set_index("session")
    weights = log[[f"target_{name}" for name in ("equity", "bond", "cash")]]
    known = pd.Timestamp(policy.models[0].record.last_label_known_on)
    decisions = DecisionRecord(
        weights.set_axis(["equity", "bond", "cash"], axis=1),
        log["allocation"].to_numpy(np.int64),
        log["confidence"].to_numpy(),
        pd.Series(known, log.index),
    )
    compared = run_comparison(bars, decisions, config_of(FIVE))
    assert set(FIVE) < set(compared.strategies)
    assert "defensive" not in compared.strategies
    held = compared.strategies["mean_variance_of_eight"].weights.to_numpy()
    allowed = {tuple(np.round(row, 9)) for row in np.array(WEIGHTS, dtype=float)}
    assert {tuple(np.round(row, 9)) for row in held} <= allowed | {(0.0, 0.0, 1.0)}
    _, counts = calibration_and_confusion(compared)
    assert np.shape(counts) == (5, 5)
    assert compared.regret["oracle"].abs().max() < 1e-12


@pytest.mark.parametrize("name", ["spy", "trm", "oracle", "lightgbm", "equal_weight"])
def test_an_allocation_is_not_named_as_another_strategy(bars, tmp_path, name):
    table = {name: [1, 0], "other": [0, 1]}
    with pytest.raises(ConfigError, match=f"got '{name}'"):
        fixed_mixes(Allocations.of(config_of(table).labels.allocations))
    inputs = write_folder(tmp_path / "bars", bars)
    path = write_settings(tmp_path / "two.json", table)
    code, _, error = invoke(
        *("train", "--bars", inputs, "--allocations", path, "--out", tmp_path / "m")
    )
    assert code == 2
    assert f"got '{name}'" in error


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"one": [1, 0]}, "at least 2 items"),
        ({"a": [0.6, 0.5], "b": [0, 1]}, "sum to at most 1, got 0.6 of equity"),
        ({"a": [-0.1, 0.5], "b": [0, 1]}, "`allocations.0.equity`"),
        ({"A b": [0, 1], "b": [0, 1]}, "got 'A b'"),
        ({"a": [1], "b": [0, 1]}, "`a` must have shares of equity and bond, got [1]"),
        ({"a": {"equity": 1, "bonds": 0}, "b": [1, 0]}, "`allocations.0.bond`"),
        (
            [{"name": "a", "equity": 1, "bond": 0}] * 2,
            "must be named once, got 'a' again",
        ),
        (None, "got null"),
    ],
)
def test_a_table_that_is_none_is_explained(tmp_path, table, message):
    path = write_settings(tmp_path / "table.json", table)
    with pytest.raises(ConfigError) as caught:
        read_allocations(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
