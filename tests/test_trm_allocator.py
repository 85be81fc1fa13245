"""The allocator trades what its policy decides, in every engine mode."""

import math
from contextlib import nullcontext
from dataclasses import replace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from tests.engine import MODES
from tests.fakes import VIX, FakePolicy
from trm_bt.errors import (
    BarsError,
    CheckpointError,
    ConfigError,
    LookAheadError,
    UniverseWarning,
)
from trm_bt.feeds.backtrader import TRMPandasData, add_bars
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.market.bars import Bars, Provenance
from trm_bt.market.features import FEATURE_NAMES, compute_features
from trm_bt.strategies.broker import FractionalShares
from trm_bt.strategies.trm_allocator import TRMAllocator


def run(bars, *, coo=False, settings=None, names=None, **params):
    """Run the allocator as a user would; `names` renames feeds."""
    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo, **(settings or {}))
    cerebro.broker.set_cash(1e6)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=0.0005))
    add_bars(cerebro, bars)
    for feed in cerebro.datas:
        feed._name = (names or {}).get(feed._name, feed._name)
    cerebro.addstrategy(TRMAllocator, **{"n_averaged": 1, **params})
    return cerebro.run()[0]


def expected_classes(bars):
    """Derive the fake policy's choices from the volatility closes."""
    closes = bars.volatility["close"].to_numpy()[59:]
    return (10 * closes).astype(int) % 8


@pytest.mark.parametrize("coo", [False, True], ids=["plain", "coo"])
@pytest.mark.parametrize(("preload", "runonce", "exactbars"), MODES)
def test_every_mode_decides_the_same(bars, preload, runonce, exactbars, coo):
    bars = bars.between(None, bars.sessions[119])
    settings = {"preload": preload, "runonce": runonce, "exactbars": exactbars}
    policy = FakePolicy.reading(bars)
    ran = run(bars, coo=coo, settings=settings, policy=policy)
    features = compute_features(bars).frame
    log = ran.decisions
    assert log["session"].tolist() == features.index.tolist()
    np.testing.assert_array_equal(log[list(FEATURE_NAMES)], features)
    np.testing.assert_array_equal(log["allocation"].astype(int), expected_classes(bars))
    is_batched = preload and runonce and not exactbars
    # Of a batch, a few rows are decided alone once more.
    assert policy.batches == ([61, 1, 1, 1] if is_batched else [1] * 61)
    assert ran.n_rejected == 0


def test_the_decision_log_explains_each_row(bars):
    ran = run(bars, coo=True, policy=FakePolicy.reading(bars), decision="argmax")
    log = ran.decisions
    chosen = expected_classes(bars)
    assert log["allocation_name"].tolist() == [ALLOCATION_NAMES[i] for i in chosen]
    targets = log[["target_equity", "target_bond", "target_cash"]].to_numpy()
    np.testing.assert_allclose(targets, ALLOCATION_WEIGHTS[chosen], atol=1e-12)
    probs = log[[f"prob_{name}" for name in ALLOCATION_NAMES]].to_numpy()
    np.testing.assert_array_equal(probs.argmax(axis=1), chosen)
    np.testing.assert_array_equal(probs.max(axis=1), log["confidence"])
    assert set(log["model"]) == {"fake"}
    assert set(log["halt_prob"]) == {0.5}


def test_weights_reach_the_targets_at_the_next_close(bars):
    ran = run(bars, coo=True, policy=FakePolicy.reading(bars))
    targets = ran.decisions[["target_equity", "target_bond", "target_cash"]].iloc[:-1]
    weights = ran.weights.loc[ran.decisions["session"].iloc[1:]]
    # one session of drift lies between the fill at the open and the close
    assert np.abs(weights.to_numpy() - targets.to_numpy()).max() < 0.02


def test_blend_mixes_the_allocations_by_probability(bars):
    ran = run(bars, policy=FakePolicy.reading(bars), decision="blend")
    log = ran.decisions
    row = log.iloc[10]
    by_hand = [
        sum(
            row[f"prob_{name}"] * ALLOCATION_WEIGHTS[i, asset]
            for i, name in enumerate(ALLOCATION_NAMES)
        )
        for asset in range(3)
    ]
    targets = ["target_equity", "target_bond", "target_cash"]
    assert row[targets].tolist() == pytest.approx(by_hand)


class EvenPolicy(FakePolicy):
    """Say all are equally likely, and choose one all the same."""

    def decide(self, sessions, features):
        even = np.full(8, 1 / 8)
        decided = super().decide(sessions, features)
        return [replace(decision, probabilities=even) for decision in decided]


def test_of_equally_likely_allocations_the_policy_chooses(bars):
    log = run(bars, policy=EvenPolicy.reading(bars), decision="argmax").decisions
    expected = ALLOCATION_WEIGHTS[expected_classes(bars), 0]
    np.testing.assert_array_equal(log["target_equity"], expected)


@pytest.mark.parametrize("decision", ["argmax", "blend"])
def test_the_last_decisions_are_averaged(bars, decision):
    """Fewer are, after the start and after an abstention."""
    policy = FakePolicy.reading(bars)
    policy.abstains = (bars.sessions[100], bars.sessions[109])

    ran = run(bars, policy=policy, decision=decision, n_averaged=3)

    log, recent, expected = ran.decisions, [], []
    for row in log[[f"prob_{name}" for name in ALLOCATION_NAMES]].to_numpy().tolist():
        if math.isnan(row[0]):
            recent = []
            expected.append((0.0, 0.0))
            continue
        recent = [*recent, row][-3:]
        shares = [sum(column) / len(recent) for column in zip(*recent, strict=True)]
        best = max(range(8), key=shares.__getitem__)
        if decision == "argmax":
            shares = [float(k == best) for k in range(8)]
        expected.append(
            tuple(
                sum(
                    share * mix[asset]
                    for share, mix in zip(shares, ALLOCATION_WEIGHTS, strict=True)
                )
                for asset in range(2)
            )
        )
    assert len(set(expected)) > 10 if decision == "blend" else len(set(expected)) > 3
    np.testing.assert_allclose(
        log[["target_equity", "target_bond"]], expected, atol=1e-12
    )


def test_low_confidence_keeps_the_weights_decided_before(bars):
    threshold, policy = 0.5, FakePolicy.reading(bars)
    ran = run(bars, policy=policy, decision="argmax", min_confidence=threshold)
    log = ran.decisions
    kept, expected = (0.0, 0.0), []
    for allocation, confidence in zip(
        log["allocation"], log["confidence"], strict=True
    ):
        if confidence >= threshold:
            kept = tuple(ALLOCATION_WEIGHTS[allocation][:2])
        expected.append(kept)
    assert 0 < (log["confidence"] < threshold).sum() < len(log)
    np.testing.assert_array_equal(log[["target_equity", "target_bond"]], expected)


def test_cash_is_held_while_the_policy_abstains(bars):
    policy = FakePolicy.reading(bars)
    policy.abstains = (bars.sessions[100], bars.sessions[200])
    ran = run(bars, coo=True, policy=policy)
    log = ran.decisions.set_index("session").loc[slice(*policy.abstains)]
    assert ran.n_abstained == len(log) == 101
    assert log["allocation"].isna().all()
    assert log["allocation_name"].isna().all()
    assert (log["target_cash"] == 1.0).all()
    held = ran.weights["cash"]
    assert held[bars.sessions[100]] < 0.5
    assert (held[bars.sessions[101] : bars.sessions[201]] == 1.0).all()
    assert held[bars.sessions[202]] < 0.5


def test_decisions_begin_where_they_are_asked_to(bars):
    policy = FakePolicy.reading(bars)
    ran = run(bars, policy=policy, decide_from=bars.sessions[300])
    assert ran.decisions["session"].iloc[0] == bars.sessions[300]
    assert policy.batches[0] == 100


@pytest.mark.parametrize("coo", [False, True], ids=["plain", "coo"])
def test_volatility_is_never_traded(bars, coo):
    ran = run(bars, coo=coo, policy=FakePolicy.reading(bars))
    traded = {data._name for data, held in ran.broker.positions.items() if held.size}
    assert traded == {"equity", "bond"}
    assert set(ran.orders["asset"]) == {"equity", "bond"}
    made = ran.orders.dropna(subset=["filled_on"])
    on_equity = made["asset"] == "equity"
    for asset, is_asset in (("equity", on_equity), ("bond", ~on_equity)):
        filled = made[is_asset]
        opens = getattr(bars, asset)["open"].loc[filled["filled_on"]]
        np.testing.assert_allclose(filled["price"], opens, rtol=1e-12)


@pytest.mark.parametrize(
    ("names", "params"),
    [
        pytest.param(
            {"equity": "SPY", "bond": "tlt", "volatility": "^VIX"}, {}, id="known"
        ),
        pytest.param({"equity": "", "bond": "", "volatility": ""}, {}, id="order"),
        pytest.param(
            {"equity": "QQQ", "bond": "IEF", "volatility": "VXN"},
            {"equity": "QQQ", "bond": "IEF", "volatility": "VXN"},
            id="params",
        ),
    ],
)
def test_feeds_are_found_by_name_or_order(bars, names, params):
    warned = pytest.warns(UniverseWarning, match="QQQ and IEF: on another pair")
    with warned if params else nullcontext():
        ran = run(bars, policy=FakePolicy.reading(bars), names=names, **params)
    np.testing.assert_array_equal(
        ran.decisions["allocation"].astype(int), expected_classes(bars)
    )


def test_members_and_put_call_are_read_by_name(full_bars):
    ran = run(full_bars, policy=FakePolicy.reading(full_bars))
    features = compute_features(full_bars).frame
    np.testing.assert_array_equal(ran.decisions[list(FEATURE_NAMES)], features)


def test_a_missing_member_is_asked_for_by_name(bars, full_bars):
    with pytest.raises(BarsError, match="reads a feed named 'M0', which must be in"):
        run(bars, policy=FakePolicy.reading(full_bars))


def test_estimated_inputs_are_refused_by_a_policy_of_observed_ones(bars):
    span = bars.sessions[0], bars.sessions[-1]
    estimated = {"volatility": Provenance("estimated", *span, status="proxy")}
    proxied = Bars(**vars(bars) | {"provenance": estimated})
    with pytest.raises(CheckpointError, match="vix_level observed against proxy"):
        run(proxied, policy=FakePolicy.reading(bars))
    assert len(run(proxied, policy=FakePolicy.reading(proxied)).decisions) == 341


@pytest.mark.parametrize(
    ("params", "message"),
    [
        pytest.param({}, "need a `checkpoint` folder or a `policy`", id="neither"),
        pytest.param({"decision": "best"}, "`decision`: .* got 'best'", id="decision"),
        pytest.param({"n_averaged": 0}, "`n_averaged`: .* got 0", id="averaged"),
        pytest.param({"min_confidence": 2}, "`min_confidence`: .* got 2", id="share"),
        pytest.param({"max_gap": -0.1}, "`max_gap`: .* got -0.1", id="gap"),
    ],
)
def test_a_wrong_param_is_named(bars, params, message):
    policy = FakePolicy.reading(bars) if params else None
    with pytest.raises(ConfigError, match=message):
        run(bars, policy=policy, **params)


class PeekingPolicy(FakePolicy):
    """Lean on the mean of all rows it is shown, as a whole-sample scaler would."""

    def decide(self, sessions, features):
        rows = features - features.mean(axis=0, keepdims=True)
        rows[:, VIX] = np.abs(rows[:, VIX]) + 1
        return super().decide(sessions, rows)


def test_a_policy_that_leans_on_later_rows_is_refused(bars):
    with pytest.raises(LookAheadError, match="PeekingPolicy must decide each row from"):
        run(bars, policy=PeekingPolicy.reading(bars))


def test_a_feed_that_is_no_volatility_index_is_refused(bars):
    cerebro = with_volatility(bars, bars.volatility * 50)
    with pytest.raises(BarsError, match="VIX: a volatility index must stay below 200"):
        cerebro.run()


def with_volatility(bars, volatility):
    """Set up the allocator over plain feeds, the volatility one replaced."""
    cerebro = bt.Cerebro(stdstats=False)
    frames = {"SPY": bars.equity, "TLT": bars.bond, "VIX": volatility}
    for name, frame in frames.items():
        cerebro.adddata(TRMPandasData(dataname=frame), name=name)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars))
    return cerebro


@pytest.mark.parametrize("kind", ["PandasData", "GenericCSVData", "YahooCSV"])
def test_the_users_own_feeds_give_the_same_decisions(bars, tmp_path, kind):
    in_shares = {role: getattr(bars, role).copy() for role in ("equity", "bond")}
    for frame in in_shares.values():
        frame["volume"] = frame["volume"].round()  # as that of Yahoo's files is read
    bars = replace(bars, **in_shares)
    expected = run(bars, policy=FakePolicy.reading(bars)).decisions
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.set_cash(1e6)
    cerebro.broker.addcommissioninfo(FractionalShares(commission=0.0005))
    for role, name in (("equity", "SPY"), ("bond", "TLT"), ("volatility", "VIX")):
        frame = getattr(bars, role)
        if kind == "PandasData":
            feed = bt.feeds.PandasData(dataname=frame)
        else:
            feed = written_feed(kind, frame, tmp_path / f"{name}.csv")
        cerebro.adddata(feed, name=name)
    cerebro.addstrategy(TRMAllocator, policy=FakePolicy.reading(bars), n_averaged=1)
    found = cerebro.run()[0].decisions
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def written_feed(kind, frame, path):
    """Write bars as a file, and read them with a stock feed of Backtrader."""
    table = frame.reindex(columns=["open", "high", "low", "close", "volume"])
    table = table.fillna(0.0).rename_axis("Date")
    if kind == "YahooCSV":
        table.insert(4, "adj close", table["close"])
        table.to_csv(path)
        return bt.feeds.YahooFinanceCSVData(dataname=str(path), round=False)
    table.to_csv(path)
    return bt.feeds.GenericCSVData(
        dataname=str(path), dtformat="%Y-%m-%d", openinterest=-1
    )


def test_the_volatility_feed_must_be_on_the_same_calendar(bars):
    gone = bars.sessions[100]
    cerebro = with_volatility(bars, bars.volatility.drop(index=gone))
    with pytest.raises(BarsError, match=f"'SPY' and 'VIX' .* first {gone.date()}"):
        cerebro.run()


def test_the_fake_policy_varies(bars):
    classes = expected_classes(bars)
    assert len(np.unique(classes)) == 8
    assert FEATURE_NAMES[VIX] == "vix_level"
    assert pd.Series(classes).diff().ne(0).mean() > 0.5


def test_a_checkpoint_decides_only_after_its_training_span(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    ran = run(bars, coo=True, checkpoint=str(folder))
    log = ran.decisions.set_index("session")
    # the last of 600 sessions is the one on which the last label was known
    assert log.index[log["allocation"].notna()][0] == bars.sessions[600]
    assert ran.n_abstained == 600 - 59
    assert set(log.loc[bars.sessions[600] :, "model"]) == {"tiny"}
    in_sample = run(bars, coo=True, checkpoint=folder, allow_in_sample=True)
    assert in_sample.n_abstained == 0


@pytest.mark.slow
def test_a_checkpoint_decides_alike_in_a_batch_and_bar_by_bar(tiny_checkpoint):
    bars, folder = tiny_checkpoint
    batched, one_by_one = (
        run(
            bars,
            checkpoint=folder,
            decide_from=bars.sessions[560],
            settings={"runonce": runonce},
        )
        for runonce in (True, False)
    )
    pd.testing.assert_frame_equal(
        batched.decisions, one_by_one.decisions, check_exact=True
    )
    pd.testing.assert_frame_equal(batched.closes, one_by_one.closes, check_exact=True)
