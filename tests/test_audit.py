"""The audit catches every planted leak, and raises no false alarm."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import make_bars
from tests.fakes import FakePolicy
from tests.leaks import (
    CLEAN_FEATURES,
    CLEAN_TRADES,
    FEATURE_LEAKS,
    POLICY_LEAKS,
    TRADE_LEAKS,
    TRAINING_LEAKS,
    MovingAverage,
    cerebro,
    close,
    fitted_on_known_labels,
    returns,
)
from trm_bt.audit.api import (
    AuditSettings,
    audit_cerebro,
    audit_features,
    audit_labels,
    audit_policy,
    audit_split,
    audit_training,
)
from trm_bt.errors import ConfigError
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels

EVERY_SESSION = AuditSettings(n_cuts=None)


@pytest.fixture(scope="module")
def short_bars():
    """Bars for audits of whole Cerebros: every session can be cut after."""
    return make_bars(60)


@pytest.mark.parametrize("leak", FEATURE_LEAKS, ids=lambda leak: leak.__name__)
def test_every_leak_of_a_feature_is_caught(bars, leak):
    found = audit_features(leak, bars).difference
    assert found is not None
    assert found.column != "(error)"


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEAN_FEATURES)
def test_no_clean_feature_raises_an_alarm(short_bars, name):
    result = audit_features(CLEAN_FEATURES[name], short_bars, EVERY_SESSION)
    assert result.difference is None
    assert result.n_cuts > 35
    # twice on all bars, once with another past, and twice a cut
    assert result.n_runs == 3 + 2 * result.n_cuts


@pytest.mark.parametrize("leak", POLICY_LEAKS)
def test_a_policy_that_leans_on_later_rows_or_bars_is_caught(bars, leak):
    assert audit_policy(leak, bars).difference is not None


@pytest.mark.slow
def test_a_policy_that_decides_row_by_row_raises_no_alarm(bars):
    few = AuditSettings(n_cuts=20)
    whole, windows = (
        audit_policy(FakePolicy.reading, bars, few, n_rows=n) for n in (None, 8)
    )
    assert whole.difference is windows.difference is None
    assert windows.n_values <= (341 + 20 * 2 * 8) * 12 < whole.n_values


@pytest.mark.parametrize("leak", TRAINING_LEAKS, ids=lambda leak: leak.__name__)
def test_every_leak_of_a_training_is_caught(bars, leak):
    assert audit_training(leak, bars).difference is not None


def test_a_training_on_known_labels_raises_no_alarm(bars):
    result = audit_training(fitted_on_known_labels, bars)
    assert result.difference is None
    assert (result.n_cuts, result.n_runs) == (2, 8)


@pytest.mark.parametrize(
    "shape",
    [
        lambda mean: {"nested": {"a": [1, 2.5, "x", None], "b": mean}},
        lambda mean: {"ragged": [np.ones(2), np.array([mean, 1.0, 2.0])]},
        lambda mean: {"tensor": torch.tensor([mean], requires_grad=True)},
        lambda mean: {"state": [{"weights": torch.tensor([1.0, mean])}]},
        lambda mean: {"table": pd.DataFrame({"a": [1.0, mean], "b": ["x", "y"]})},
        lambda mean: {"by name": pd.Series([1.0], [f"{mean:.9f}"])},
        lambda mean: {"objects": np.array(["x", mean], dtype=object)},
        lambda mean: {"length": [{}] * int(1e4 * mean % 97)},
    ],
    ids=range(8),
)
def test_what_was_learned_is_compared_however_it_is_nested(bars, shape):
    def of_the_past(bars, frozen_on):
        return shape(float(close(bars).loc[:frozen_on].mean()))

    def of_all(bars, frozen_on):
        return shape(float(close(bars).mean()))

    assert audit_training(of_the_past, bars).difference is None
    assert audit_training(of_all, bars).difference is not None


def test_an_object_that_cannot_be_compared_is_refused_by_its_name(bars):
    class Model:
        pass

    with pytest.raises(ConfigError, match=r"'best\.model\[0\]' must be .* got Model"):
        audit_training(lambda bars, freeze: {"best": {"model": [Model()]}}, bars)


def test_training_labels_still_open_at_validation_are_caught(bars):
    first = bars.sessions[300]
    for n_purged, is_leak in ((6, True), (7, False)):
        known_on = bars.sessions[6 : 300 - n_purged + 1 + 6]
        difference = audit_split(known_on, first).difference
        assert (difference is not None) == is_leak
    assert "known by" in str(audit_split(bars.sessions[:302], first).difference)


def labels_of(bars):
    return compute_labels(bars, compute_features(bars))


@pytest.mark.slow
def test_labels_lose_exactly_the_sessions_whose_outcome_is_not_known(bars):
    few = AuditSettings(n_cuts=40, rtol=0.0)
    assert audit_labels(labels_of, bars, few, n_ahead=6).difference is None
    found = audit_labels(labels_of, bars, few, n_ahead=5).difference
    assert "must be absent on the last 5 sessions" in str(found)


def test_labels_that_say_they_are_known_too_early_are_caught(bars):
    def hasty(bars):
        labels = labels_of(bars)
        known_on = bars.sessions.get_indexer(labels["known_on"])
        known_on[50:] -= 1
        return labels.assign(known_on=bars.sessions[known_on])

    def hasty_at_16(bars):
        known_on = hasty(bars)["known_on"] + pd.Timedelta(hours=16)
        return labels_of(bars).assign(known_on=known_on)

    for leak in (hasty, hasty_at_16):
        found = audit_labels(leak, bars, n_ahead=6).difference
        assert found.column == "(row)"
        assert (found.whole, found.other) == ("present", "absent")


@pytest.mark.parametrize(
    ("known_on", "start", "message"),
    [
        (["2024-01-09", pd.NaT], "2024-01-12", "known_on: .* one is missing"),
        (["2024-01-09"], pd.NaT, "validation_start: .* one is missing"),
        (
            pd.DatetimeIndex(["2024-01-09"], tz="UTC"),
            "2024-01-12",
            "but they are .*UTC",
        ),
        (["soon"], "2024-01-12", "known_on: must hold dates, but .*soon"),
    ],
)
def test_a_split_of_unclear_dates_is_refused(known_on, start, message):
    with pytest.raises(ConfigError, match=message):
        audit_split(known_on, start)


def test_a_label_known_later_on_the_first_day_of_validation_is_known_too_late():
    assert audit_split(["2024-01-10"], "2024-01-10 16:00").difference is not None
    assert audit_split(["2024-01-10 16:00"], "2024-01-11").difference is None


@pytest.mark.parametrize(
    "settings", [{"n_cuts": 0}, {"seed": -1}, {"rtol": np.nan}, {"rtol": -1.0}]
)
def test_settings_that_would_look_at_nothing_are_refused(settings):
    with pytest.raises(ConfigError, match=r"must be from|needs 1 cut"):
        AuditSettings(**settings)


def test_a_training_is_frozen_on_sessions_of_the_bars(bars):
    for freezes in (bars.sessions[:0], bars.sessions[-1:]):
        with pytest.raises(ConfigError, match="must be sessions of the bars, and not"):
            audit_training(lambda bars, freeze: {"x": 1}, bars, freezes=freezes)


@pytest.mark.parametrize("name", TRADE_LEAKS)
def test_every_leak_of_a_strategy_is_caught(bars, name):
    trades, _ = audit_cerebro(TRADE_LEAKS[name], bars)
    assert trades.difference is not None
    assert trades.difference.column != "(error)"


@pytest.mark.slow
def test_what_peeks_into_the_bar_at_its_open_is_caught_by_that_alone(bars):
    for name in ("close at the open", "percent at the open", "limit at today's low"):
        trades, _ = audit_cerebro(TRADE_LEAKS[name], bars)
        assert trades.difference.counterfactual == "opened"
        assert trades.difference.column.startswith("order at the open: ")


def test_a_fill_at_the_close_that_decided_it_is_caught(short_bars):
    def at_close(bars):
        return cerebro(bars, MovingAverage, at_close=True)

    few = AuditSettings(n_cuts=5)
    trades, fills = audit_cerebro(at_close, short_bars, few)
    assert trades.difference is None
    session = fills.difference.session
    assert fills.difference.whole == f"decided at the close of {session.date()}"
    price = short_bars.equity["close"][session]
    assert fills.difference.other == f"filled at {price:.8g} of {session.date()}"


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEAN_TRADES)
def test_no_clean_strategy_raises_an_alarm(name):
    trades, fills = audit_cerebro(CLEAN_TRADES[name], make_bars(46), EVERY_SESSION)
    assert trades.difference is None
    assert fills.difference is None
    assert fills.n_values > 0
    assert trades.n_cuts > 20


def test_a_function_that_draws_without_a_seed_is_refused(bars):
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="features: must give the same result"):
        audit_features(lambda bars: close(bars) * rng.normal(), bars)


def test_a_function_that_reads_other_bars_is_refused(bars):
    with pytest.raises(ConfigError, match="must read the bars that it is given"):
        audit_features(lambda _: close(bars), bars)
    with pytest.raises(ConfigError, match="trades: must read the bars"):
        audit_cerebro(lambda _: cerebro(bars, MovingAverage), bars)


def test_what_is_written_into_the_bars_is_seen_on_no_other_bars(bars):
    def written(bars):
        if "z" not in bars.equity:
            bars.equity["z"] = (close(bars) - close(bars).mean()) / close(bars).std()
        bars.bond["close"] = 1.0
        return bars.equity["z"]

    before = bars.sha256()
    assert audit_features(written, bars).difference is not None
    assert bars.sha256() == before


@pytest.mark.parametrize(
    "function",
    [
        lambda given, own: close(own).shift(-1).reindex(given.sessions),
        lambda given, own: pd.Series(np.nan, given.sessions),
        lambda given, own: pd.Series(given.sessions.day_of_week, given.sessions),
    ],
    ids=["other data", "nothing", "dates alone"],
)
def test_a_function_that_does_not_depend_on_the_bars_is_refused(bars, function):
    with pytest.raises(ConfigError, match="features: does not depend on the bars"):
        audit_features(lambda given: function(given, bars), bars, AuditSettings(5))


def test_what_seldom_shows_depends_on_the_bars(bars):
    def is_wild(bars):
        return (returns(bars) > returns(bars).expanding().max().shift()).cummax()

    assert audit_features(is_wild, bars, AuditSettings(n_cuts=5)).difference is None


def test_a_function_that_fails_on_all_bars_is_refused(bars):
    with pytest.raises(
        ConfigError, match=r"features: must work .* raises KeyError: 'x'"
    ):
        audit_features(lambda bars: bars.equity["x"], bars)


def test_an_error_on_fewer_bars_is_a_difference(bars):
    def demanding(bars):
        if len(bars.sessions) < 400:
            raise ValueError("I want 400 sessions")
        return close(bars)

    found = audit_features(demanding, bars).difference
    assert found.column == "(error)"
    assert found.other == "ValueError: I want 400 sessions"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda bars: 1.0, "must be a DataFrame or Series by session, got float"),
        (
            lambda bars: close(bars).reset_index(drop=True),
            "must hold tz-naive sessions",
        ),
        (lambda bars: pd.concat([close(bars)] * 2), "sessions, each once"),
        (lambda bars: pd.concat([close(bars)] * 2, axis=1), "'close' is repeated"),
    ],
)
def test_what_is_not_by_session_is_refused(bars, result, message):
    with pytest.raises(ConfigError, match=message):
        audit_features(result, bars)


def test_what_cannot_be_run_is_refused(bars):
    def optimised(bars):
        built = cerebro(bars, MovingAverage)
        built.optstrategy(MovingAverage)
        return built

    def too_slow(bars):
        built = cerebro(bars, MovingAverage, period=401)
        built.p.runonce = False
        return built

    for build, message in (
        (lambda bars: "no", "A Cerebro is needed, got str"),
        (optimised, "got one for optstrategy"),
        (too_slow, "first `next`, but one never does"),
    ):
        with pytest.raises(ConfigError, match=message):
            audit_cerebro(build, bars)
