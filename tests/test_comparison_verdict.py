"""The verdict says what the numbers force, and no more."""

from dataclasses import replace

import pytest

from trm_bt.evaluation.assessment import (
    Assessment,
    ChanceTests,
    ComparedFigures,
    ComparedSpan,
    DeflatedSharpe,
    Overfitting,
    RandomStarts,
    SignificanceSettings,
    TrialsOverfitting,
)
from trm_bt.evaluation.metrics import CalibrationBin
from trm_bt.evaluation.regression import Alpha
from trm_bt.evaluation.statistics import Lead
from trm_bt.evaluation.verdict import p_text, verdict
from trm_bt.figures import signed

MINUS = "\N{MINUS SIGN}"
SHARPES = {
    "trm": 0.5,
    "exposure_matched": 0.48,
    "spy": 0.4,
    "sixty_forty": 0.55,
    "mean_variance": 0.47,
    "defensive": 0.56,
    "inverse_volatility": 0.68,
}


def lead(difference, p_value):
    return Lead(difference, difference - 0.1, difference + 0.1, p_value / 2, p_value)


def figures(sharpe, accuracy=0.49):
    return ComparedFigures(
        *(0.0, 0.0, 0.0, sharpe, 0.0, 0.0),
        kind="fixed",
        note="",
        sessions_waiting=0,
        regret=0.0,
        accuracy=accuracy,
        lost_to_costs=0.0,
        rejected_orders=0,
    )


TESTS = ChanceTests(
    block=5.0,
    sharpe_intervals={},
    leads={
        "exposure_matched": lead(0.02, 0.41),
        "spy": lead(0.1, 0.012),
        "sixty_forty": lead(-0.05, 0.9),
        "mean_variance": lead(0.03, 0.42),
        "defensive": lead(-0.06, 0.91),
        "inverse_volatility": lead(-0.18, 0.99),
    },
    tracking_error=0.03,
    alpha=Alpha(0.001, 1.0, t_value=0.31, p_value=0.38, n_lags=4),
    deflated=DeflatedSharpe(46, 0.44, 0.9, 0.62, 0.0, 3.0),
    random_starts=RandomStarts(1000, 0.1, 0.2, 0.3, 0.59, 0.59),
    superiority={"trm": 0.29},
    confidence_set={"trm": 0.9, "spy": 0.05, "defensive": 1.0},
    overfitting=Overfitting(0.42, 23, 12870, 0.1),
    overfitting_of_trials=TrialsOverfitting(0.63, 9, 12870, 0.1, n_trials=12),
)
ASSESSED = Assessment(
    span=ComparedSpan("2000-01-03", "2019-12-31", 5000),
    settings=SignificanceSettings(),
    strategies={name: figures(ratio) for name, ratio in SHARPES.items()},
    best_fixed="defensive",
    best_benchmark="inverse_volatility",
    tests=TESTS,
    costs=None,
    subperiods=[],
    regret_by_year={},
    calibration=[],
    confusion=[[200, 0], [0, 300]],
    weights_by_volatility=[],
    left_out={},
)


def said_with(**changes):
    """Return the verdict where some tests came out otherwise."""
    return verdict(replace(ASSESSED, tests=replace(TESTS, **changes)))


def one(sentences, words):
    (found,) = [sentence for sentence in sentences if words in sentence]
    return found


def test_the_first_sentence_is_of_the_exposure_matched_mix():
    assert verdict(ASSESSED)[0] == (
        "TRM does not beat the exposure-matched mix: Sharpe ratio 0.50 against 0.48, "
        "difference +0.02 (95% interval \N{MINUS SIGN}0.08 to +0.12), p = 0.20, "
        "corrected p = 0.41."
    )


@pytest.mark.parametrize(("p_value", "claim"), [(0.05, "beats"), (0.051, "does not")])
def test_only_a_small_p_beats(p_value, claim):
    leads = TESTS.leads | {"exposure_matched": lead(0.02, p_value)}
    assert said_with(leads=leads)[0].startswith(f"TRM {claim}")


def test_each_benchmark_has_its_sentence():
    said = verdict(ASSESSED)
    assert "beats SPY: Sharpe ratio 0.50 against 0.40" in one(said, "SPY")
    assert "p = 0.006, corrected p = 0.012" in one(said, "SPY")
    assert "does not beat 60/40" in one(said, "60/40")
    assert "does not beat" in one(said, "strongest benchmark in hindsight (inverse_vo")
    assert "does not beat" in one(said, "best fixed allocation in hindsight (defens")
    assert "is no more than chance gives: t = 0.31, p = 0.38" in one(said, "alpha")
    assert "0.62, not above 0.95, after 46 trials" in one(said, "deflated")
    assert "59% do as well, p = 0.59" in one(said, "No timing skill is shown")
    assert "p = 0.29" in one(said, "No benchmark is shown to be better")
    assert "in the 90% model confidence set, which holds 2 of 3" in one(said, "90%")
    assert "of the 23" in one(said, "probability of overfitting")
    assert one(said, "Of 12 trials in the log, 9 are known").endswith(
        "in 63% of the ways to halve them."
    )
    assert len(said) == 13


@pytest.mark.parametrize("strongest", ["mean_variance", "defensive", "spy"])
def test_the_strongest_benchmark_is_said_to_be_whatever_it_is(strongest):
    said = verdict(replace(ASSESSED, best_benchmark=strongest))
    assert f"({strongest})" in one(said, "the strongest benchmark in hindsight")
    assert len(said) == 12


def test_good_numbers_are_said_too():
    said = said_with(
        alpha=replace(TESTS.alpha, p_value=0.01),
        deflated=replace(TESTS.deflated, deflated=0.97),
        random_starts=replace(TESTS.random_starts, p_value=0.01),
        superiority={"trm": 0.03},
        confidence_set=TESTS.confidence_set | {"trm": 0.04},
    )
    assert "is more than chance" in one(said, "alpha")
    assert "0.97, above 0.95" in one(said, "deflated")
    assert one(said, "Timing skill is shown")
    assert one(said, "At least one benchmark is better than TRM")
    assert "not in the 90%" in one(said, "model confidence set")


def test_an_allocator_that_hardly_differs_is_said_to():
    assert said_with(tracking_error=0.0012)[1] == (
        "It hardly differs from that mix: 0.12% annual tracking error."
    )


@pytest.mark.parametrize("accuracy", [0.645, 0.655])
def test_an_accuracy_that_nobody_has_is_taken_for_a_leak(accuracy):
    strategies = ASSESSED.strategies | {"trm": figures(0.5, accuracy)}
    told = replace(ASSESSED, strategies=strategies)
    is_said = any("leak" in sentence for sentence in verdict(told))
    assert is_said == (accuracy > 0.65)
    few = replace(told, confusion=[[20, 0], [0, 30]])
    assert not any("leak" in sentence for sentence in verdict(few))


def test_a_short_span_proves_nothing():
    short = replace(
        ASSESSED, tests=None, span=ComparedSpan("2000-01-03", "2000-03-01", 41)
    )
    assert verdict(short) == [
        "The span has 41 sessions, too few to test against chance: 60 are needed."
    ]


def test_what_has_no_figure_is_left_out_or_said():
    without = dict.fromkeys(
        (
            "deflated",
            "random_starts",
            "superiority",
            "confidence_set",
            "overfitting",
            "overfitting_of_trials",
        )
    )
    said = said_with(**without, leads={})
    assert said[0] == (
        "Against the exposure-matched mix no test is possible: one of the two held "
        "cash almost throughout."
    )
    assert len(said) == 7


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0004, "p < 0.001"),
        (0.0124, "p = 0.012"),
        (0.0996, "p = 0.100"),
        (1, "p = 1.00"),
    ],
)
def test_p_values_have_the_digits_that_matter(value, text):
    assert p_text(value) == text


def test_a_rounded_zero_has_no_sign():
    found = [signed(v) for v in (-0.004, 0.004, -0.006)]
    assert found == ["0.00", "0.00", MINUS + "0.01"]


def test_how_sure_it_was_stands_beside_how_often_it_was_right():
    bins = [
        CalibrationBin(0.2, 0.3, 30, 0.25, 0.2),
        CalibrationBin(0.9, 1, 10, 0.95, 1),
    ]
    said = verdict(replace(ASSESSED, calibration=bins))
    # (30 * 0.25 + 10 * 0.95) / 40, and 16 of 40 right
    assert said[2] == (
        "Its mean confidence was 42.5%, and it was right on 40.0% of the 40 decisions "
        "whose outcome is known."
    )
