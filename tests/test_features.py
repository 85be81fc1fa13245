"""Features against a plain-loop derivation, truncation and properties."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tests.conftest import make_bars
from trm_bt.config import FeatureConfig
from trm_bt.errors import BarsError
from trm_bt.market import features as features_module
from trm_bt.market.bars import Bars, Provenance
from trm_bt.market.features import (
    FEATURE_NAMES,
    FeatureSchema,
    compute_features,
    feature_rows,
    input_arrays,
    schema_for,
    with_inputs_of,
)


def plain_features(bars: Bars, t: int) -> dict[str, float]:
    """Derive the ten features of session t with plain Python loops."""
    spy = bars.equity["close"].tolist()
    tlt = bars.bond["close"].tolist()
    vix = bars.volatility["close"].tolist()
    volume = bars.equity["volume"].tolist()
    r = [spy[i] / spy[i - 1] - 1 for i in range(t - 19, t + 1)]
    b = [tlt[i] / tlt[i - 1] - 1 for i in range(t - 19, t + 1)]

    def mean(values):
        return math.fsum(values) / len(values)

    def gini(values):
        n = len(values)
        pairs = math.fsum(abs(x - y) for x in values for y in values)
        return pairs / (2 * n * n * mean(values))

    def student_2(x):
        return 0.5 + x / (2 * math.sqrt(2 + x * x))

    def std(values):
        m = mean(values)
        return math.sqrt(mean([(x - m) ** 2 for x in values]))

    covariance = mean(
        [(x - mean(r)) * (y - mean(b)) for x, y in zip(r, b, strict=True)]
    )
    expected = {
        "vix_level": vix[t],
        "spy_returns_5d": spy[t] / spy[t - 5] - 1,
        "spy_returns_20d": spy[t] / spy[t - 20] - 1,
        "volume_ratio": volume[t] / mean(volume[t - 19 : t + 1]),
        "correlation": covariance / (std(r) * std(b)),
        "signal_quality_score": abs(math.fsum(r)) / math.fsum(abs(x) for x in r),
    }
    if bars.members is None:
        expected |= {
            "market_breadth": student_2(
                math.sqrt(2)
                * (spy[t] / mean(spy[t - 49 : t + 1]) - 1)
                / (vix[t] / 100 * math.sqrt(50 / 3 / 252))
            ),
            "gini_coefficient": gini([abs(x) for x in r]),
            "sector_dispersion": math.hypot(
                spy[t] / spy[t - 20] - 1, vix[t] / 100 * math.sqrt(20 / 252)
            ),
        }
    else:
        members = [bars.members[name].tolist() for name in bars.members]
        expected |= {
            "market_breadth": mean(
                [float(m[t] > mean(m[t - 49 : t + 1])) for m in members]
            ),
            "gini_coefficient": gini(
                [
                    math.fsum(abs(m[i] / m[i - 1] - 1) for i in range(t - 19, t + 1))
                    for m in members
                ]
            ),
            "sector_dispersion": std([m[t] / m[t - 20] - 1 for m in members]),
        }
    if bars.put_call is None:
        expected["put_call_ratio"] = mean(vix[t - 4 : t + 1]) / mean(
            vix[t - 59 : t + 1]
        )
    else:
        ratio = bars.put_call.tolist()
        expected["put_call_ratio"] = mean(ratio[t - 4 : t + 1]) / mean(
            ratio[t - 251 : t + 1]
        )
    return expected


@pytest.mark.parametrize(("fixture", "n_lookback"), [("bars", 60), ("full_bars", 252)])
def test_features_equal_plain_loops(fixture, n_lookback, request):
    bars = request.getfixturevalue(fixture)
    features = compute_features(bars)
    assert features.schema.n_lookback == n_lookback
    assert features.frame.index[0] == bars.sessions[n_lookback - 1]
    assert features.frame.index[-1] == bars.sessions[-1]
    for t in range(n_lookback - 1, len(bars.sessions), 13):
        row = features.frame.loc[bars.sessions[t]]
        expected = plain_features(bars, t)
        assert set(expected) == set(FEATURE_NAMES)
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["bars", "full_bars"])
def test_features_do_not_change_when_the_future_is_cut(fixture, request):
    bars = request.getfixturevalue(fixture)
    whole = compute_features(bars).frame
    n_lookback = schema_for(bars).n_lookback
    cuts = bars.sessions[n_lookback - 1 :: 2]
    assert len(cuts) >= 50
    for session in cuts:
        cut = compute_features(bars.between(end=session)).frame
        pd.testing.assert_series_equal(
            cut.iloc[-1], whole.loc[session], check_exact=True
        )


def test_one_row_has_the_bits_of_the_whole_history(real_bars):
    arrays, schema = input_arrays(real_bars), schema_for(real_bars)
    whole, _ = feature_rows(arrays, schema)
    n_lookback = schema.n_lookback
    for end in range(n_lookback, len(real_bars.sessions), 41):
        window = {k: v[end - n_lookback : end] for k, v in arrays.items()}
        row, _ = feature_rows(window, schema)
        assert row[0].tobytes() == whole[end - n_lookback].tobytes()


def test_one_row_has_these_bits_whatever_the_layout_of_members():
    # numpy adds columns in another order where an array runs column by column.
    bars = make_bars(90, has_options=False)
    rng = np.random.default_rng(7)
    closes = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (90, 19)), axis=0))
    frame = pd.DataFrame(closes, bars.sessions, [f"M{i}" for i in range(19)])
    arrays = input_arrays(replace(bars, members=frame))
    schema = schema_for(replace(bars, members=frame))
    rows = []
    for order in ("C", "F"):
        whole, _ = feature_rows(
            arrays | {"members": np.asarray(closes, order=order)}, schema
        )
        for i, row in enumerate(whole):
            window = {k: v[i : i + schema.n_lookback] for k, v in arrays.items()}
            one, _ = feature_rows(window, schema)
            assert one[0].tobytes() == row.tobytes()
        rows.append(whole)
    assert rows[0].tobytes() == rows[1].tobytes()


def test_rows_have_the_same_bits_in_parts_and_together(monkeypatch):
    bars = make_bars(900, has_options=True)
    together = compute_features(bars)
    monkeypatch.setattr("trm_bt.market.features._MAX_VALUES", 1)

    in_parts = compute_features(bars)

    assert len(together.frame) > 2 * together.schema.n_lookback
    pd.testing.assert_frame_equal(in_parts.frame, together.frame, check_exact=True)


def test_flat_prices_give_zero_and_are_counted(bars):
    flat = bars.equity.assign(
        open=100.0, high=100.0, low=100.0, close=100.0, volume=0.0
    )
    features = compute_features(replace(bars, equity=flat))
    n_rows = len(features.frame)
    assert (features.frame["signal_quality_score"] == 0).all()
    assert (features.frame["volume_ratio"] == 0).all()
    assert features.n_zero_denominators == {
        "volume_ratio": n_rows,
        "correlation": n_rows,
        "gini_coefficient": n_rows,
        "signal_quality_score": n_rows,
    }


def test_schema_says_what_is_proxy(bars, full_bars):
    proxies = dict(zip(FEATURE_NAMES, schema_for(bars).status, strict=True))
    assert [name for name, status in proxies.items() if status == "proxy"] == [
        "market_breadth",
        "put_call_ratio",
        "gini_coefficient",
        "sector_dispersion",
    ]
    assert set(schema_for(full_bars).status) == {"observed"}
    estimated = replace(
        full_bars,
        provenance={
            "volatility": Provenance(
                "an estimate", bars.sessions[0], bars.sessions[-1], "proxy"
            )
        },
    )
    assert schema_for(estimated).status == ("proxy", *["observed"] * 9)
    index = replace(
        full_bars,
        provenance={
            "bond": Provenance("yields", bars.sessions[0], bars.sessions[-1], "proxy")
        },
    )
    status = dict(zip(FEATURE_NAMES, schema_for(index).status, strict=True))
    assert [n for n, value in status.items() if value == "proxy"] == ["correlation"]


def test_schema_and_provenance_travel_with_the_rows(full_bars, tmp_path):
    spans = {"start": full_bars.sessions[0], "end": full_bars.sessions[-1]}
    given = replace(
        full_bars,
        source="a test",
        provenance={
            "bond": Provenance(
                "yields", **spans, status="proxy", notes=("short", "old")
            )
        },
    )
    features = compute_features(given)
    assert features.schema.provenance == {
        "bars": "a test",
        "bond": "yields; short; old",
    }
    assert features.schema.difference(schema_for(full_bars)) == (
        "feature correlation proxy against observed"
    )
    features.frame.to_parquet(tmp_path / "features.parquet")
    read = pd.read_parquet(tmp_path / "features.parquet")
    assert FeatureSchema.model_validate(read.attrs["feature_schema"]) == features.schema
    renamed = features.schema.model_copy(update={"provenance": {"bars": "another"}})
    assert features.schema.difference(renamed) is None


def test_schema_difference_names_the_first_difference(bars, full_bars):
    schema, full = schema_for(bars), schema_for(full_bars)
    assert schema.difference(schema_for(bars)) is None
    assert "members [] against ['M0'" in schema.difference(full)
    shorter = schema_for(bars, FeatureConfig(gini_lookback=10))
    assert schema.difference(shorter) == "`gini_lookback` 20 against 10"


def test_too_few_bars_are_refused(bars):
    short = bars.between(end=bars.sessions[58])
    with pytest.raises(BarsError, match="need 60 sessions of bars, got 59"):
        compute_features(short)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"formula_version": 3}, "formula version 2 against 3"),
        ({"members": ("A",)}, "members ['M'] against ['A']"),
        ({"members": ("Z",)}, "members ['M'] against ['Z']"),
        ({"has_put_call": True}, "put/call input absent against present"),
        ({"status": ("proxy",) * 10}, "feature vix_level observed against proxy"),
        ({"lookbacks": FeatureConfig(gini_lookback=9)}, "`gini_lookback` 20 against 9"),
    ],
)
def test_schemas_differ_either_way_round(changes, said):
    schema = FeatureSchema(members=("M",))
    other = schema.model_copy(update=changes)
    assert schema.difference(other) == said
    mine = said.split(" against ")[0].split()[-1]
    assert other.difference(schema).endswith(f" against {mine}")
    assert other.difference(other.model_copy()) is None


def test_closes_of_members_are_computed_with_in_parts_of_two_mebibytes(monkeypatch):
    n_members, shapes = 70, []
    n_at_once = 2**18 // n_members

    def recorded(inputs, *others, compute=features_module._rows_of):
        shapes.append(inputs["members"].shape)
        return compute(inputs, *others)

    monkeypatch.setattr(features_module, "_rows_of", recorded)
    schema = FeatureSchema(members=tuple(map(str, range(n_members))))
    n_sessions = 2 * n_at_once + schema.n_lookback - 1
    draw = np.random.default_rng(0).uniform
    inputs = {
        name: draw(1.0, 2.0, n_sessions)
        for name in ("equity", "volume", "bond", "volatility")
    }
    inputs["members"] = draw(1.0, 2.0, (n_sessions, n_members))
    rows, _ = feature_rows(inputs, schema)
    assert len(rows) == 2 * n_at_once
    assert shapes == [(n_at_once + schema.n_lookback - 1, n_members)] * 2


def test_a_schema_names_its_allocations_only_where_they_are_its_own():
    assert "allocations" not in FeatureSchema().model_dump()
    own = {"calm": (0.2, 0.5), "bold": (0.9, 0.1)}
    schema = FeatureSchema(allocations=own)
    read = FeatureSchema.model_validate(schema.model_dump(mode="json"))
    assert read == schema
    assert list(read.table.names) == ["calm", "bold"]


def test_features_and_their_schema_cannot_be_changed(bars):
    features = compute_features(bars)
    with pytest.raises(ValidationError, match="frozen"):
        features.schema.members = ("M",)
    with pytest.raises(FrozenInstanceError):
        features.schema = FeatureSchema()


def test_the_inputs_of_a_schema_are_told():
    assert FeatureSchema().inputs.startswith("core: SPY, TLT and VIX, with proxies")
    schema = FeatureSchema(members=("A", "B"), has_put_call=True)
    assert schema.inputs == "SPY, TLT and VIX, and A, B, put_call"


def test_bars_are_cut_to_the_inputs_of_a_schema(full_bars):
    schema = FeatureSchema(members=("M3", "M1"))
    kept = with_inputs_of(full_bars, schema)
    pd.testing.assert_frame_equal(kept.members, full_bars.members[["M3", "M1"]])
    assert kept.put_call is None
    assert kept.equity is full_bars.equity
    core = with_inputs_of(full_bars, FeatureSchema())
    assert core.members is core.put_call is None
    whole = with_inputs_of(full_bars, FeatureSchema(has_put_call=True))
    assert whole.put_call is full_bars.put_call
    with pytest.raises(BarsError, match="the bars have no 'QQQ'"):
        with_inputs_of(full_bars, FeatureSchema(members=("QQQ",)))


def test_bars_without_options_lack_them_by_name(bars):
    assert with_inputs_of(bars, FeatureSchema()).members is None
    with pytest.raises(BarsError, match="the bars have no 'put_call'"):
        with_inputs_of(bars, FeatureSchema(has_put_call=True))
