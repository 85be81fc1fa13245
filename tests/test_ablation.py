"""The comparison of variants: what changes, what may be learnt from, what is summed."""

import json
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.ablation.answers import Answers, known_log
from benchmarks.ablation.folds import (
    LAST_DAY,
    TEST_SPANS,
    load_folds,
    make_folds,
    mark_of,
)
from benchmarks.ablation.measures import (
    differences,
    fixed_allocations,
    measure,
    pool_folds,
    spread_over_seeds,
)
from benchmarks.ablation.table import render
from benchmarks.ablation.variants import NETWORKS, PAPER, VARIANTS, Variant
from tests.planted import naming
from trm_bt.config import LabelConfig, TRMConfig
from trm_bt.learning.dataset import Samples


def make_samples(sessions: pd.DatetimeIndex, n_ahead: int = 6) -> Samples:
    """Rows whose outcome is known `n_ahead` sessions later; class 0 always wins."""
    n_rows = len(sessions) - n_ahead
    returns = np.tile(np.linspace(0.05, -0.02, 8), (n_rows, 1))
    return Samples(
        sessions[:n_rows],
        sessions[n_ahead:],
        np.arange(10.0 * n_rows).reshape(n_rows, 10),
        returns,
        np.zeros(n_rows, np.int64),
    )


def result(variant: str, seed: int, fold: str, **figures: object) -> dict[str, object]:
    """One result with round figures."""
    return {
        "variant": variant,
        "seed": seed,
        "fold": fold,
        "n_rows": 4,
        "accuracy": 0.5,
        "log_loss": 1.0,
        "utility": 0.0002,
        "net_utility": 0.0001,
        "regret": 0.001,
        "mean_steps": None,
        "n_parameters": None,
        "cpu_seconds": 2.0,
        "n_decided": [2, 0, 0, 0, 0, 2, 0, 0],
    } | figures


class TestVariants:
    def test_names_are_unique(self):
        names = [variant.name for variant in VARIANTS]
        assert len(set(names)) == len(names)

    @pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
    def test_settings_differ_from_the_shipped_ones_in_the_changes_alone(self, variant):
        shipped = TRMConfig.preset("seed").model_dump() | {"seed": 3}
        settings = variant.config(3).model_dump()
        for section, values in shipped.items():
            if section == "seed":
                assert settings[section] == 3
                continue
            changed = {k: v for k, v in settings[section].items() if v != values[k]}
            assert changed == variant.changes.get(section, {})

    def test_networks_differ_from_each_other(self):
        configs = [variant.config(0).to_json() for variant in (*NETWORKS, PAPER)]
        assert len(set(configs)) == len(configs)

    def test_decisions_take_at_most_the_steps_of_the_training(self):
        for variant in NETWORKS:
            config = variant.config(0)
            steps = config.training.n_supervision_steps
            assert config.model.max_supervision_steps == steps


class TestFolds:
    @pytest.fixture
    def folds(self):
        sessions = pd.bdate_range("1998-01-01", LAST_DAY)
        samples = make_samples(sessions)
        return make_folds(samples, samples)

    def test_all_that_is_learnt_was_known_before_the_first_test_session(self, folds):
        for fold in folds:
            first = fold.test.sessions[0]
            assert max(fold.known.known_on) < first
            # The next row would have been known on the first test session.
            following = pd.bdate_range(fold.known.sessions[-1], periods=8)
            assert following[1 + 6] == first

    def test_test_rows_are_those_of_their_span_and_no_others(self, folds):
        every = make_samples(pd.bdate_range("1998-01-01", LAST_DAY)).sessions
        for fold, (start, end) in zip(folds, TEST_SPANS, strict=True):
            expected = [s for s in every if start <= str(s.date()) <= end]
            assert list(fold.test.sessions) == expected

    def test_nothing_is_known_after_the_last_day(self, folds):
        assert max(fold.test.known_on.max() for fold in folds) <= pd.Timestamp(LAST_DAY)

    def test_rows_are_learnt_and_judged_by_their_own_labels(self):
        judged = make_samples(pd.bdate_range("1998-01-01", LAST_DAY))
        learnt = Samples(
            judged.sessions,
            judged.known_on,
            judged.features,
            judged.returns,
            judged.winners + 5,
        )
        fold = make_folds(learnt, judged)[1]
        assert set(fold.known.winners) == {5}
        assert set(fold.test.winners) == {0}


class TestMeasure:
    def test_figures_are_those_of_a_plain_loop(self):
        samples = make_samples(pd.bdate_range("2000-01-03", periods=10))
        scores = np.zeros((4, 8))
        scores[[0, 1, 2, 3], [0, 1, 1, 0]] = 2.0  # defensive in the middle
        log_probabilities = scores - np.log(np.exp(2.0) + 7)
        figures = measure(Answers(log_probabilities), samples, horizon=5)

        earned = [0.05, 0.04, 0.04, 0.05]
        # 0.2 of equity and 0.2 of bond traded on the way there, and on the way back
        traded = [0.0, 0.4, 0.0, 0.4]
        utility = sum(earned) / 4 / 5
        assert figures["accuracy"] == 0.5
        assert figures["utility"] == pytest.approx(utility)
        cost = sum(traded) * 5e-4 / 4
        assert figures["net_utility"] == pytest.approx(utility - cost)
        assert figures["regret"] == pytest.approx(0.05 / 5 - utility)
        log_loss = (2 * (np.log(np.exp(2) + 7) - 2) + 2 * np.log(np.exp(2) + 7)) / 4
        assert figures["log_loss"] == pytest.approx(log_loss)
        assert figures["decisions"] == "0110"
        assert figures["n_decided"] == [2, 2, 0, 0, 0, 0, 0, 0]

    def test_a_frequency_of_zero_has_a_finite_loss(self):
        assert known_log(np.array([0.0, 1.0])).tolist() == [np.log(1e-6), 0.0]


class TestPooling:
    def test_folds_count_by_their_rows(self):
        pooled = pool_folds(
            [
                result(
                    "full",
                    0,
                    "a",
                    n_rows=4,
                    accuracy=0.5,
                    n_decided=[3, 0, 0, 0, 0, 1, 0, 0],
                ),
                result(
                    "full",
                    0,
                    "b",
                    n_rows=2,
                    accuracy=0.2,
                    n_decided=[0, 0, 0, 0, 0, 2, 0, 0],
                ),
            ],
            n_folds=2,
        )
        row = pooled.loc[("full", 0)]
        assert row["accuracy"] == pytest.approx((4 * 0.5 + 2 * 0.2) / 6)
        assert row["top_share"] == 0.5
        assert np.isnan(row["mean_steps"])

    def test_a_seed_that_lacks_a_fold_is_left_out(self):
        results = [result("full", seed, fold) for seed in (0, 1) for fold in "ab"]
        assert list(pool_folds(results[:3], 2).index) == [("full", 0)]

    def test_the_spread_is_that_of_the_seeds(self):
        accuracies = [0.4, 0.5, 0.9]
        results = [
            result("full", seed, "a", accuracy=value)
            for seed, value in enumerate(accuracies)
        ]
        row = spread_over_seeds(pool_folds(results, 1)).loc["full"]
        mean = sum(accuracies) / 3
        variance = sum((value - mean) ** 2 for value in accuracies) / 2
        assert row["accuracy", "mean"] == pytest.approx(mean)
        assert row["accuracy", "std"] == pytest.approx(variance**0.5)

    def test_differences_pair_the_seeds(self):
        pooled = pool_folds(
            [result("full", seed, "a", log_loss=1.0 + seed) for seed in (0, 1, 2)]
            + [result("other", seed, "a", log_loss=1.5 + seed) for seed in (1, 2, 3)],
            1,
        )
        apart = differences(pooled, Variant("other", ""), "full")["log_loss"]
        assert apart.to_dict() == {1: 0.5, 2: 0.5}

    def test_what_has_no_seed_is_held_against_each(self):
        pooled = pool_folds(
            [result("full", seed, "a", log_loss=1.0 + seed) for seed in (0, 1)]
            + [result("fixed", 0, "a", log_loss=2.0)],
            1,
        )
        fixed = Variant("fixed", "", is_random=False)
        apart = differences(pooled, fixed, "full")["log_loss"]
        assert apart.to_dict() == {0: 1.0, 1: 0.0}


def test_the_mark_tells_other_rows():
    samples = make_samples(pd.bdate_range("1998-01-01", LAST_DAY))
    mark = mark_of(make_folds(samples, samples))
    assert mark == mark_of(make_folds(samples, samples))
    samples.features[-1, 0] += 1e-9
    assert mark != mark_of(make_folds(samples, samples))


def test_the_error_of_a_fixed_allocation_is_that_of_its_blocks():
    rng = np.random.default_rng(0)
    first, second = (
        make_samples(pd.bdate_range(start, periods=56)) for start in ("2000", "2001")
    )
    for part in (first, second):
        part.returns[:] += rng.normal(0, 0.01, part.returns.shape)
    table = fixed_allocations([first, second], horizon=5)

    earned = [row[2] / 5 for part in (first, second) for row in part.returns]
    means = [sum(earned[k : k + 20]) / 20 for k in range(0, 100, 20)]
    error = statistics.stdev(means) / 5**0.5
    row = table.iloc[2]
    assert row["utility"] == pytest.approx(sum(earned) / 100)
    assert row["standard_error"] == pytest.approx(error)
    assert row[1] == pytest.approx(sum(earned[50:]) / 50)


def test_tables_show_means_and_spreads_in_their_units():
    folds = [f"{start[:4]}-{end[:4]}" for start, end in TEST_SPANS]
    results = [
        result(name, seed, fold, accuracy=accuracy + seed / 10)
        for name, accuracy in (("full", 0.4), ("supervision_1", 0.3))
        for seed in (0, 1)
        for fold in folds
    ]
    samples = make_samples(pd.bdate_range("1998-01-01", LAST_DAY))
    text = render(results, make_folds(samples, samples))
    shipped = next(line for line in text.splitlines() if "TRM, seed preset" in line)
    assert "| 2 | 45.0 ± 7.1 | 1.000 ± 0.000 | 2.00 ± 0.00 | 1.00 ± 0.00 |" in shipped
    apart = [line for line in text.splitlines() if "| -10.0 ± 0.0 |" in line]
    assert apart
    assert apart[0].startswith("| 1 supervision step | 2 |")
    assert "| 2000-2002 | 4 | network | 45.0 ± 7.1 |" in text
    # 5 % and 4 % over 5 sessions, the same on every row
    assert "| ultra_defensive | 100.0 | 100.00 ± 0.00 | 100.00 |" in text
    assert "| defensive | 0.0 | 80.00 ± 0.00 | 80.00 |" in text


def test_the_page_shows_the_tables_that_its_log_gives(market_dir):
    docs = Path(__file__).parents[1] / "docs"
    lines = (docs / "ablation.jsonl").read_text().splitlines()
    page = (docs / "ablation.md").read_text()
    tables = render(
        [json.loads(line) for line in lines], load_folds(str(market_dir))(LabelConfig())
    )
    for block in tables.strip().split("\n\n"):
        assert block in page


class TestRivals:
    @pytest.fixture
    def rivals(self):
        pytest.importorskip("lightgbm")
        pytest.importorskip("sklearn")
        from benchmarks.ablation import rivals

        return rivals

    @pytest.fixture
    def rows(self):
        """Features that tell class 5 from class 0, the only two that win."""
        rng = np.random.default_rng(0)
        samples = make_samples(pd.bdate_range("2000-01-03", periods=606))
        features = rng.normal(size=samples.features.shape)
        winners = np.where(features[:, 0] > 0, 5, 0)
        returns = np.zeros_like(samples.returns)
        returns[np.arange(600), winners] = 0.01
        return Samples(samples.sessions, samples.known_on, features, returns, winners)

    @pytest.mark.parametrize("name", ["logistic", "lightgbm", "mlp"])
    def test_a_plain_rule_is_learnt_on_rows_never_seen(self, rivals, rows, name):
        old, new, test = (rows.where(np.arange(600) // 200 == i) for i in (0, 1, 2))
        answer = getattr(rivals, f"answer_{name}")
        config = TRMConfig(training=naming(epochs=1, max_batches_per_epoch=5))
        answers = answer(old, new, test.features, config)
        probabilities = np.exp(answers.log_probabilities)
        assert probabilities.shape == (200, 8)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        is_right = probabilities.argmax(axis=1) == test.winners
        assert is_right.mean() > 0.85

    def test_the_prior_is_the_frequency_in_the_training_rows(self, rivals, rows):
        old, test = rows.where(np.arange(600) < 10), rows.where(np.arange(600) > 590)
        answers = rivals.answer_majority(old, test, test.features, TRMConfig())
        share = sum(winner == 5 for winner in old.winners) / 10
        expected = [np.log(1 - share), *[np.log(1e-6)] * 4, np.log(share)]
        assert answers.log_probabilities[3, :6].tolist() == expected

    def test_the_plain_net_is_as_large_as_the_network(self, rivals):
        net = rivals.plain_net(0.1)
        n_parameters = sum(one.numel() for one in net.parameters())
        assert abs(n_parameters / 1_981_449 - 1) < 0.001
